// Lanes read what their neighbours wrote. A warp no longer runs in lockstep, so they have to wait for it.
SUBJECT {
    extern __shared__ __align__(16) uint8 dynamic_shared_mem[];
    float *tile = reinterpret_cast<float *>(&dynamic_shared_mem[0]);
    tile[threadIdx.x] = input[threadIdx.x];
    output[threadIdx.x] = tile[threadIdx.x ^ 1];
}
