// The sum of each warp by shuffles, and of all by an atomic.
SUBJECT {
    extern __shared__ __align__(16) uint8 dynamic_shared_mem[];
    float *total = reinterpret_cast<float *>(&dynamic_shared_mem[0]);
    if (threadIdx.x == 0) total[0] = 0;
    __syncthreads();
    float sum = input[threadIdx.x];
    for (uint32 offset = 1; offset < 32; offset *= 2) sum += __shfl_xor_sync(-1, sum, offset);
    if (threadIdx.x % 32 == 0) atomicAdd(total, sum);
    __syncthreads();
    output[threadIdx.x] = total[0];
}
