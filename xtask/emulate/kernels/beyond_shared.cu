// As reversed.cu, but a part is larger than the shared memory that it was given.
SUBJECT {
    extern __shared__ __align__(16) uint8 dynamic_shared_mem[];
    float *tile = reinterpret_cast<float *>(&dynamic_shared_mem[0]);
    const uint32 at = blockIdx.x * blockDim.x + threadIdx.x;
    tile[threadIdx.x] = input[at];
    __syncthreads();
    output[at] = tile[blockDim.x - threadIdx.x];
}
