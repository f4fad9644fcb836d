// Four numbers at a time from global to shared memory by cp.async, of which the last ones are left out.
SUBJECT {
    extern __shared__ __align__(16) uint8 dynamic_shared_mem[];
    float *tile = reinterpret_cast<float *>(&dynamic_shared_mem[0]);
    const uint64 from = reinterpret_cast<uint64>(input + 4 * threadIdx.x);
    const uint32 to = static_cast<uint32>(__cvta_generic_to_shared(tile + 4 * threadIdx.x));
    const int32 present = threadIdx.x + 1 < blockDim.x ? 16 : 8;
    asm volatile("cp.async.cg.shared::cta.global [%0], [%1], %2, %3;\n"
                 :: "r"(to), "l"(from), "n"(16), "r"(present) : "memory");
    asm volatile("cp.async.wait_all;" ::: "memory");
    __syncthreads();
    for (uint32 i = threadIdx.x; i < 4 * blockDim.x; i += blockDim.x) output[i] = tile[i];
}
