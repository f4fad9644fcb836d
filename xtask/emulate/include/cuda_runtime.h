// The part of CUDA C++ that CubeCL writes, as plain C++: a thread is a fiber, and device memory is memory.
#pragma once
#include <math.h>
#include <string.h>

#include <type_traits>
#include <utility>

#include "emulate.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
// CubeCL declares its shared memory `extern`, and the driver defines it.
#define __shared__
#define __constant__
#define __grid_constant__
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))

#define threadIdx emulate_thread()
#define blockIdx emulate_block()
#define blockDim emulate_block_size()
#define gridDim emulate_grid_size()

static const unsigned warpSize = 32;

struct dim3 {
    unsigned x, y, z;
};
static inline uint3 make_uint3(unsigned x, unsigned y, unsigned z) { return {x, y, z}; }

static inline void __syncthreads() { emulate_block_barrier(); }
static inline void __syncwarp(unsigned = ~0u) { emulate_warp_barrier(true); }
// Threads take turns, so memory is always seen in order.
static inline void __threadfence() {}
static inline void __threadfence_block() {}

// ---- between the lanes of a warp

// A lane that has returned has nothing to give. Then a lane keeps its own: hardware promises no value.
template <class T> static inline T emulate_shuffle(T value, unsigned lane) {
    static_assert(sizeof(T) <= 8, "a shuffle moves at most eight bytes");
    uint64_t word = 0;
    memcpy(&word, &value, sizeof value);
    emulate_give(word);
    emulate_warp_barrier(false);
    T result = value;
    if (lane < 32 && (emulate_active() >> lane & 1)) {
        word = emulate_take(lane);
        memcpy(&result, &word, sizeof result);
    }
    emulate_warp_barrier(false);
    return result;
}

template <class T> static inline T __shfl_sync(unsigned, T value, int lane, int = 32) {
    return emulate_shuffle(value, unsigned(lane) % 32);
}
template <class T> static inline T __shfl_xor_sync(unsigned, T value, int mask, int = 32) {
    return emulate_shuffle(value, emulate_lane() ^ unsigned(mask));
}
template <class T> static inline T __shfl_down_sync(unsigned, T value, unsigned distance, int = 32) {
    const unsigned lane = emulate_lane() + distance;
    return emulate_shuffle(value, lane < 32 ? lane : emulate_lane());
}
template <class T> static inline T __shfl_up_sync(unsigned, T value, unsigned distance, int = 32) {
    const unsigned lane = emulate_lane();
    return emulate_shuffle(value, lane < distance ? lane : lane - distance);
}

static inline unsigned __ballot_sync(unsigned, int vote) {
    emulate_give(vote != 0);
    emulate_warp_barrier(false);
    unsigned result = 0;
    const unsigned active = emulate_active();
    for (unsigned lane = 0; lane < 32; lane++)
        if ((active >> lane & 1) && emulate_take(lane)) result |= 1u << lane;
    emulate_warp_barrier(false);
    return result;
}
static inline int __all_sync(unsigned mask, int vote) { return __ballot_sync(mask, !vote) == 0; }
static inline int __any_sync(unsigned mask, int vote) { return __ballot_sync(mask, vote) != 0; }
static inline unsigned __activemask() { return emulate_active(); }

// ---- atomics: a thread is only interrupted where it waits, so plain code is atomic

template <class T, class Change>
EMULATE_UNCHECKED static inline T emulate_exchange(T *place, Change change) {
    emulate_atomic(place, sizeof(T));
    const T old = *place;
    *place = change(old);
    return old;
}

#define EMULATE_ATOMIC(name, expression)                                     \
    template <class T, class U> static inline T name(T *place, U by) {       \
        const T value = T(by);                                               \
        return emulate_exchange(place, [&](T old) -> T { return expression; }); \
    }
EMULATE_ATOMIC(atomicAdd, old + value)
EMULATE_ATOMIC(atomicSub, old - value)
EMULATE_ATOMIC(atomicMax, value > old ? value : old)
EMULATE_ATOMIC(atomicMin, value < old ? value : old)
EMULATE_ATOMIC(atomicAnd, old & value)
EMULATE_ATOMIC(atomicOr, old | value)
EMULATE_ATOMIC(atomicXor, old ^ value)
EMULATE_ATOMIC(atomicExch, value)
#undef EMULATE_ATOMIC

template <class T, class U, class V> static inline T atomicCAS(T *place, U expected, V value) {
    return emulate_exchange(place, [&](T old) -> T { return old == T(expected) ? T(value) : old; });
}

// ---- mathematics

#define EMULATE_SMALLER(name, order)                                                         \
    template <class A, class B>                                                              \
    static inline typename std::enable_if<                                                   \
        std::is_arithmetic<A>::value && std::is_arithmetic<B>::value,                        \
        typename std::common_type<A, B>::type>::type                                         \
    name(A a, B b) {                                                                         \
        typedef typename std::common_type<A, B>::type C;                                     \
        /* A number beats NaN, as on the device. */                                          \
        if (a != a) return C(b);                                                             \
        if (b != b) return C(a);                                                             \
        return C(a) order C(b) ? C(a) : C(b);                                                \
    }
EMULATE_SMALLER(min, <)
EMULATE_SMALLER(max, >)
#undef EMULATE_SMALLER

// The fast forms of the device are less exact than these: what is only true within their error is not checked.
#define __expf expf
#define __logf logf
#define __log2f log2f
#define __sinf sinf
#define __cosf cosf
#define __tanf tanf
#define __tanhf tanhf
#define __powf powf
static inline float __fdividef(float a, float b) { return a / b; }
static inline float __frcp_rn(float a) { return 1 / a; }
static inline float __frsqrt_rn(float a) { return float(1 / sqrt(double(a))); }
static inline float __fsqrt_rn(float a) { return sqrtf(a); }
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float rsqrt(float a) { return float(1 / sqrt(double(a))); }
static inline double rsqrt(double a) { return 1 / sqrt(a); }
static inline float rsqrtf(float a) { return rsqrt(a); }
static inline float rhypotf(float a, float b) { return 1 / hypotf(a, b); }
static inline float __saturatef(float a) { return a > 0 ? (a < 1 ? a : 1) : 0; }

// ---- bits

static inline int __clz(int a) { return a ? __builtin_clz(a) : 32; }
static inline int __clzll(long long a) { return a ? __builtin_clzll(a) : 64; }
static inline int __ffs(int a) { return __builtin_ffs(a); }
static inline int __ffsll(long long a) { return __builtin_ffsll(a); }
static inline int __popc(unsigned a) { return __builtin_popcount(a); }
static inline int __popcll(unsigned long long a) { return __builtin_popcountll(a); }
static inline unsigned __brev(unsigned a) {
    unsigned result = 0;
    for (int bit = 0; bit < 32; bit++) result = result << 1 | (a >> bit & 1);
    return result;
}
static inline unsigned long long __brevll(unsigned long long a) {
    return (unsigned long long)(__brev(unsigned(a))) << 32 | __brev(unsigned(a >> 32));
}
static inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned((unsigned long long)a * b >> 32); }
static inline int __mulhi(int a, int b) { return int((long long)a * b >> 32); }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}
static inline long long __mul64hi(long long a, long long b) { return (long long)((__int128)a * b >> 64); }

template <class To, class From> static inline To emulate_bits(From from) {
    static_assert(sizeof(To) == sizeof(From), "bits of another size");
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}
static inline unsigned __float_as_uint(float a) { return emulate_bits<unsigned>(a); }
static inline int __float_as_int(float a) { return emulate_bits<int>(a); }
static inline float __uint_as_float(unsigned a) { return emulate_bits<float>(a); }
static inline float __int_as_float(int a) { return emulate_bits<float>(a); }

#include "kernel_entry.h"
#include "ptx.h"
