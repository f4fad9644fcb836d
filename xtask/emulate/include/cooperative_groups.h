// The threads of a block as a group.
#pragma once
#include "cuda_runtime.h"

namespace cooperative_groups {

struct thread_block {
    unsigned thread_rank() const {
        return (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    }
    void sync() const { __syncthreads(); }
};
static inline thread_block this_thread_block() { return {}; }

}  // namespace cooperative_groups
