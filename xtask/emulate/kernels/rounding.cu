// Floats of 16 bits, rounded: to the nearest, halves to even, to infinity, to subnormal numbers and to zero.
SUBJECT {
    const float values[8] = {2049.0f, 2051.0f, 65519.0f, 65520.0f, 6.0e-8f, 2.0e-8f, 0.1f, -1.0f / 3.0f};
    const float value = values[threadIdx.x % 8];
    output[threadIdx.x] = threadIdx.x < 8 ? float(__half(value)) : float(__nv_bfloat16(value));
}
