// A product of 16 x 16 and 16 x 16 numbers by nvcuda::wmma, in bfloat16.
SUBJECT {
    using namespace nvcuda;
    extern __shared__ __align__(16) uint8 dynamic_shared_mem[];
    __nv_bfloat16 *left = reinterpret_cast<__nv_bfloat16 *>(&dynamic_shared_mem[0]), *right = left + 256;
    for (uint32 i = threadIdx.x; i < 256; i += 32) {
        left[i] = __nv_bfloat16(float(i / 16 * 3 + i % 16 * 5) - 60.0f);
        // By columns.
        right[i] = __nv_bfloat16(float(i % 16 * 2 + i / 16 * 7) - 40.0f);
    }
    __syncwarp();
    wmma::fragment<wmma::matrix_a, 16, 16, 16, __nv_bfloat16, wmma::row_major> a;
    wmma::fragment<wmma::matrix_b, 16, 16, 16, __nv_bfloat16, wmma::col_major> b;
    wmma::fragment<wmma::accumulator, 16, 16, 16, float> c;
    wmma::fill_fragment(c, 1.0f);
    wmma::load_matrix_sync(a, left, 16);
    wmma::load_matrix_sync(b, right, 16);
    wmma::mma_sync(c, a, b, c);
    wmma::store_matrix_sync(output, c, 16, wmma::mem_row_major);
}
