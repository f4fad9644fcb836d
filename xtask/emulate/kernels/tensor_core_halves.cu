// A product of 16 x 16 and 16 x 8 halves, as CubeCL multiplies: ldmatrix and mma.sync.
inline __device__ void __mma(
    uint32 const &reg_a_0, uint32 const &reg_a_1, uint32 const &reg_a_2, uint32 const &reg_a_3, uint32 const &reg_b_0,
    uint32 const &reg_b_1, float &reg_d_0, float &reg_d_1, float &reg_d_2, float &reg_d_3) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32"
                 " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %11, %12, %13};"
                 : "=f"(reg_d_0), "=f"(reg_d_1), "=f"(reg_d_2), "=f"(reg_d_3)
                 : "r"(reg_a_0), "r"(reg_a_1), "r"(reg_a_2), "r"(reg_a_3), "r"(reg_b_0), "r"(reg_b_1), "f"(reg_d_0),
                   "f"(reg_d_1), "f"(reg_d_2), "f"(reg_d_3));
}
inline __device__ void __ldmatrix_4x(uint32 &reg_0, uint32 &reg_1, uint32 &reg_2, uint32 &reg_3, void const *row_addr) {
    uint32 addr = static_cast<uint32>(__cvta_generic_to_shared(row_addr));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared::cta.b16"
                 " {%0, %1, %2, %3}, [%4];"
                 : "=r"(reg_0), "=r"(reg_1), "=r"(reg_2), "=r"(reg_3)
                 : "r"(addr));
}
inline __device__ void __ldmatrix_2x_trans(uint32 &reg_0, uint32 &reg_1, void const *row_addr) {
    uint32 addr = static_cast<uint32>(__cvta_generic_to_shared(row_addr));
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared::cta.b16"
                 " {%0, %1}, [%2];"
                 : "=r"(reg_0), "=r"(reg_1)
                 : "r"(addr));
}
SUBJECT {
    extern __shared__ __align__(16) uint8 dynamic_shared_mem[];
    __half *left = reinterpret_cast<__half *>(&dynamic_shared_mem[0]), *right = left + 256;
    const uint32 lane = threadIdx.x;
    for (uint32 i = lane; i < 256; i += 32) left[i] = __half(float(i / 16 * 3 + i % 16 * 5) - 60.0f);
    for (uint32 i = lane; i < 128; i += 32) right[i] = __half(float(i / 8 * 2 + i % 8 * 7) - 40.0f);
    __syncwarp();
    uint32 a[4], b[2];
    __ldmatrix_4x(a[0], a[1], a[2], a[3], left + (lane % 16) * 16 + lane / 16 * 8);
    __ldmatrix_2x_trans(b[0], b[1], right + (lane % 16) * 8);
    float d[4] = {1, 1, 1, 1};
    __mma(a[0], a[1], a[2], a[3], b[0], b[1], d[0], d[1], d[2], d[3]);
    for (uint32 i = 0; i < 4; i++) output[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = d[i];
}
