// As missing_warp_barrier.cu, with the barrier.
SUBJECT {
    extern __shared__ __align__(16) uint8 dynamic_shared_mem[];
    float *tile = reinterpret_cast<float *>(&dynamic_shared_mem[0]);
    tile[threadIdx.x] = input[threadIdx.x];
    __syncwarp();
    output[threadIdx.x] = tile[threadIdx.x ^ 1];
}
