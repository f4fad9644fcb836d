// What CubeCL writes above each of its kernels, and what the kernels here share.
#include <cuda_runtime.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <mma.h>
typedef unsigned char uint8;
typedef unsigned short uint16;
typedef unsigned int uint32;
typedef unsigned long long int uint64;
typedef signed int int32;
struct info_st {
    uint32 static_meta[4];
};
#define SUBJECT \
    extern "C" __global__ void __launch_bounds__(1024) subject( \
        const float *__restrict__ input, float *output, const __grid_constant__ info_st info)
