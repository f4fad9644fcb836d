// As reversed.cu, with a barrier in memory in the place of that of the block.
#include <cooperative_groups.h>
#include <cuda/barrier>
SUBJECT {
    extern __shared__ __align__(16) uint8 dynamic_shared_mem[];
    float *tile = reinterpret_cast<float *>(&dynamic_shared_mem[16]);
    cuda::barrier<cuda::thread_scope_block> &barrier =
        reinterpret_cast<cuda::barrier<cuda::thread_scope_block> &>(dynamic_shared_mem[0]);
    const uint32 at = blockIdx.x * blockDim.x + threadIdx.x;
    if (threadIdx.x == 0) init(&barrier, blockDim.x);
    __syncthreads();
    tile[threadIdx.x] = input[at];
    cuda::barrier<cuda::thread_scope_block>::arrival_token token = barrier.arrive();
    barrier.wait(std::move(token));
    output[at] = tile[blockDim.x - 1 - threadIdx.x];
}
