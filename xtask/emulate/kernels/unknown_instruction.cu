// An instruction of Blackwell.
SUBJECT {
    uint32 result = 0;
    asm volatile("tcgen05.relinquish_alloc_permit.cta_group::1.sync.aligned %0;" : "=r"(result));
    output[threadIdx.x] = result;
}
