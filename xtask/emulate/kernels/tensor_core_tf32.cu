// A product of 16 x 8 and 8 x 8 floats, cut to TF32.
SUBJECT {
    const uint32 lane = threadIdx.x, row = lane / 4, column = lane % 4;
    const auto left = [](uint32 i, uint32 k) { return __float_as_uint(float(i * 3 + k * 5) - 30.0f); };
    const auto right = [](uint32 k, uint32 j) { return __float_as_uint(float(k * 2 + j * 7) - 40.0f); };
    const uint32 a[4] = {left(row, column), left(row + 8, column), left(row, column + 4), left(row + 8, column + 4)};
    const uint32 b[2] = {right(column, row), right(column + 4, row)};
    float d[4] = {1, 1, 1, 1};
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32"
                 " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%10, %11, %12, %13};"
                 : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(d[0]), "f"(d[1]), "f"(d[2]),
                   "f"(d[3]));
    for (uint32 i = 0; i < 4; i++) output[(row + i / 2 * 8) * 8 + column * 2 + i % 2] = d[i];
}
