// As reversed.cu, but each thread reads the number behind its own.
SUBJECT {
    extern __shared__ __align__(16) uint8 dynamic_shared_mem[];
    float *tile = reinterpret_cast<float *>(&dynamic_shared_mem[0]);
    const uint32 at = blockIdx.x * blockDim.x + threadIdx.x;
    tile[threadIdx.x] = input[at + 1];
    __syncthreads();
    output[at] = tile[blockDim.x - 1 - threadIdx.x];
}
