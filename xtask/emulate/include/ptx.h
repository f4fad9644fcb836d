// The PTX instructions that CubeCL writes as inline assembly. The driver turns
//     asm volatile("mma.sync.aligned.m16n8k8 ..." : outputs : inputs)
// into a call ptx_mma_sync_aligned_m16n8k8_...(outputs, inputs), and finds here which ones there are.
#pragma once
#include <string.h>

#include "emulate.h"
#include "small_float.h"

// An address within shared memory is a number of 32 bits to these instructions.
static inline size_t __cvta_generic_to_shared(const void *address) {
    return size_t(static_cast<const unsigned char *>(address) - dynamic_shared_mem);
}
static inline unsigned char *emulate_shared(uint32_t address) { return dynamic_shared_mem + address; }

// ---- arithmetic

static inline int emulate_saturated(long long a) {
    return int(a < INT32_MIN ? INT32_MIN : a > INT32_MAX ? INT32_MAX : a);
}
static inline void ptx_add_sat_s32(int &result, int a, int b) { result = emulate_saturated((long long)a + b); }
static inline void ptx_sub_sat_s32(int &result, int a, int b) { result = emulate_saturated((long long)a - b); }
static inline void ptx_tanh_approx_f32(float &result, float a) { result = tanhf(a); }

// One lane of the warp: the first of those that are left.
static inline void ptx_elect_sync(uint32_t &elected) {
    emulate_warp_barrier(false);
    elected = emulate_lane() == unsigned(__builtin_ctz(emulate_active()));
}

// ---- copies from global to shared memory

// Done at once. That a thread reads what it has not waited for is not found; that another one does, is.
EMULATE_UNCHECKED static inline void emulate_copy(uint32_t to, uint64_t from, int size, int present) {
    unsigned char *target = emulate_shared(to);
    const void *source = reinterpret_cast<const void *>(from);
    if (present > 0) emulate_load(source, size_t(present));
    emulate_store(target, size_t(size));
    memcpy(target, source, size_t(present));
    memset(target + present, 0, size_t(size - present));
}
#define EMULATE_COPY(name)                                                                                  \
    static inline void name(uint32_t to, uint64_t from, int size) { emulate_copy(to, from, size, size); }   \
    static inline void name(uint32_t to, uint64_t from, int size, int present) {                            \
        emulate_copy(to, from, size, present);                                                              \
    }
EMULATE_COPY(ptx_cp_async_ca_shared__cta_global)
EMULATE_COPY(ptx_cp_async_cg_shared__cta_global)
#undef EMULATE_COPY
static inline void ptx_cp_async_commit_group() {}
static inline void ptx_cp_async_wait_group(int) {}
static inline void ptx_cp_async_wait_all() {}
// Announces one arrival more and arrives when the copies are done, which they are.
static inline void ptx_cp_async_mbarrier_arrive_shared__cta_b64(uint32_t) {}

// ---- matrices of 8 x 8 numbers of 16 bits between shared memory and a warp's registers

// Lane 8 i + r gives the address of row r of matrix i; lane l holds numbers 2 (l % 4) and the next of row l / 4.
template <int COUNT, bool TRANSPOSED>
EMULATE_UNCHECKED static inline void emulate_ldmatrix(uint32_t *(&registers)[COUNT], uint32_t address) {
    if (emulate_lane() < COUNT * 8) emulate_load(emulate_shared(address), 16);
    emulate_give(address);
    emulate_warp_barrier(false);
    const unsigned lane = emulate_lane();
    uint16_t numbers[COUNT][2];
    for (unsigned matrix = 0; matrix < COUNT; matrix++)
        for (unsigned half = 0; half < 2; half++) {
            const unsigned row = TRANSPOSED ? lane % 4 * 2 + half : lane / 4;
            const unsigned column = TRANSPOSED ? lane / 4 : lane % 4 * 2 + half;
            const unsigned char *start = emulate_shared(uint32_t(emulate_take(8 * matrix + row)));
            memcpy(&numbers[matrix][half], start + 2 * column, 2);
        }
    for (int matrix = 0; matrix < COUNT; matrix++)
        *registers[matrix] = numbers[matrix][0] | uint32_t(numbers[matrix][1]) << 16;
    emulate_warp_barrier(false);
}

template <int COUNT, bool TRANSPOSED>
EMULATE_UNCHECKED static inline void emulate_stmatrix(uint32_t address, const uint32_t (&registers)[COUNT]) {
    if (emulate_lane() < COUNT * 8) emulate_store(emulate_shared(address), 16);
    emulate_give(address);
    emulate_warp_barrier(false);
    const unsigned lane = emulate_lane();
    for (unsigned matrix = 0; matrix < COUNT; matrix++)
        for (unsigned half = 0; half < 2; half++) {
            const unsigned row = TRANSPOSED ? lane % 4 * 2 + half : lane / 4;
            const unsigned column = TRANSPOSED ? lane / 4 : lane % 4 * 2 + half;
            const uint16_t number = uint16_t(registers[matrix] >> 16 * half);
            memcpy(emulate_shared(uint32_t(emulate_take(8 * matrix + row))) + 2 * column, &number, 2);
        }
    emulate_warp_barrier(false);
}

#define EMULATE_LDMATRIX_1(name, transposed)                                                              \
    static inline void name(uint32_t &a, uint32_t address) {                                              \
        uint32_t *registers[] = {&a};                                                                     \
        emulate_ldmatrix<1, transposed>(registers, address);                                              \
    }
#define EMULATE_LDMATRIX_2(name, transposed)                                                              \
    static inline void name(uint32_t &a, uint32_t &b, uint32_t address) {                                 \
        uint32_t *registers[] = {&a, &b};                                                                 \
        emulate_ldmatrix<2, transposed>(registers, address);                                              \
    }
#define EMULATE_LDMATRIX_4(name, transposed)                                                              \
    static inline void name(uint32_t &a, uint32_t &b, uint32_t &c, uint32_t &d, uint32_t address) {       \
        uint32_t *registers[] = {&a, &b, &c, &d};                                                         \
        emulate_ldmatrix<4, transposed>(registers, address);                                              \
    }
EMULATE_LDMATRIX_1(ptx_ldmatrix_sync_aligned_m8n8_x1_shared__cta_b16, false)
EMULATE_LDMATRIX_2(ptx_ldmatrix_sync_aligned_m8n8_x2_shared__cta_b16, false)
EMULATE_LDMATRIX_4(ptx_ldmatrix_sync_aligned_m8n8_x4_shared__cta_b16, false)
EMULATE_LDMATRIX_1(ptx_ldmatrix_sync_aligned_m8n8_x1_trans_shared__cta_b16, true)
EMULATE_LDMATRIX_2(ptx_ldmatrix_sync_aligned_m8n8_x2_trans_shared__cta_b16, true)
EMULATE_LDMATRIX_4(ptx_ldmatrix_sync_aligned_m8n8_x4_trans_shared__cta_b16, true)

#define EMULATE_STMATRIX_1(name, transposed)                                                              \
    static inline void name(uint32_t address, uint32_t a) { emulate_stmatrix<1, transposed>(address, {a}); }
#define EMULATE_STMATRIX_2(name, transposed)                                                              \
    static inline void name(uint32_t address, uint32_t a, uint32_t b) {                                   \
        emulate_stmatrix<2, transposed>(address, {a, b});                                                 \
    }
#define EMULATE_STMATRIX_4(name, transposed)                                                              \
    static inline void name(uint32_t address, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {           \
        emulate_stmatrix<4, transposed>(address, {a, b, c, d});                                           \
    }
EMULATE_STMATRIX_1(ptx_stmatrix_sync_aligned_m8n8_x1_shared__cta_b16, false)
EMULATE_STMATRIX_2(ptx_stmatrix_sync_aligned_m8n8_x2_shared__cta_b16, false)
EMULATE_STMATRIX_4(ptx_stmatrix_sync_aligned_m8n8_x4_shared__cta_b16, false)
EMULATE_STMATRIX_1(ptx_stmatrix_sync_aligned_m8n8_x1_trans_shared__cta_b16, true)
EMULATE_STMATRIX_2(ptx_stmatrix_sync_aligned_m8n8_x2_trans_shared__cta_b16, true)
EMULATE_STMATRIX_4(ptx_stmatrix_sync_aligned_m8n8_x4_trans_shared__cta_b16, true)

// ---- products of matrices of 16 x K and K x 8 numbers, whose parts lie in a warp's registers

// A number of 16 bits, two to a register.
template <class Small> struct EmulatePacked {
    static const int EACH = 2;
    EMULATE_UNCHECKED static float get(const uint32_t *registers, int index) {
        Small small;
        small.bits = uint16_t(registers[index / 2] >> 16 * (index % 2));
        return small;
    }
};
// A float of which the instruction reads no more than ten digits.
struct EmulateTf32 {
    static const int EACH = 1;
    EMULATE_UNCHECKED static float get(const uint32_t *registers, int index) {
        const uint32_t bits = registers[index] & ~uint32_t(0x1fff);
        float result;
        memcpy(&result, &bits, sizeof result);
        return result;
    }
};

template <int A, int B> struct EmulateOperands {
    uint32_t a[A], b[B];
};

// The four numbers of the result that are this lane's: rows l / 4 and 8 more, columns 2 (l % 4) and the next.
// Sums are rounded to float after each product; how the device rounds in between is not documented.
template <class Number, int K, int A, int B>
EMULATE_UNCHECKED static inline void emulate_mma(
    const EmulateOperands<A, B> &mine, const float (&c)[4], float (&d)[4]) {
    emulate_give(reinterpret_cast<uint64_t>(&mine));
    emulate_warp_barrier(false);
    const unsigned lane = emulate_lane();
    const int each = Number::EACH, span = 4 * each;
    for (int i = 0; i < 4; i++) {
        const int row = int(lane) / 4 + 8 * (i / 2), column = int(lane) % 4 * 2 + i % 2;
        float sum = c[i];
        for (int k = 0; k < K; k++) {
            // Which lane holds the number, and as which of its numbers.
            const int place = k % span / each;
            const auto *left = reinterpret_cast<const EmulateOperands<A, B> *>(emulate_take(row % 8 * 4 + place));
            const auto *right = reinterpret_cast<const EmulateOperands<A, B> *>(emulate_take(column * 4 + place));
            const int left_index = k % each + each * (row / 8) + 2 * each * (k / span);
            const int right_index = k % each + each * (k / span);
            sum += Number::get(left->a, left_index) * Number::get(right->b, right_index);
        }
        d[i] = sum;
    }
    emulate_warp_barrier(false);
}

#define EMULATE_MMA_LONG(name, number, k)                                                                      \
    static inline void name(                                                                                   \
        float &d0, float &d1, float &d2, float &d3, uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,        \
        uint32_t b0, uint32_t b1, float c0, float c1, float c2, float c3) {                                    \
        const EmulateOperands<4, 2> operands = {{a0, a1, a2, a3}, {b0, b1}};                                   \
        float d[4];                                                                                            \
        emulate_mma<number, k>(operands, {c0, c1, c2, c3}, d);                                                 \
        d0 = d[0], d1 = d[1], d2 = d[2], d3 = d[3];                                                            \
    }
EMULATE_MMA_LONG(ptx_mma_sync_aligned_m16n8k16_row_col_f32_f16_f16_f32, EmulatePacked<EmulateHalf>, 16)
EMULATE_MMA_LONG(ptx_mma_sync_aligned_m16n8k16_row_col_f32_bf16_bf16_f32, EmulatePacked<EmulateBfloat>, 16)
EMULATE_MMA_LONG(ptx_mma_sync_aligned_m16n8k8_row_col_f32_tf32_tf32_f32, EmulateTf32, 8)
#undef EMULATE_MMA_LONG

#define EMULATE_MMA_SHORT(name, number)                                                                        \
    static inline void name(                                                                                   \
        float &d0, float &d1, float &d2, float &d3, uint32_t a0, uint32_t a1, uint32_t b0, float c0, float c1, \
        float c2, float c3) {                                                                                  \
        const EmulateOperands<2, 1> operands = {{a0, a1}, {b0}};                                               \
        float d[4];                                                                                            \
        emulate_mma<number, 8>(operands, {c0, c1, c2, c3}, d);                                                 \
        d0 = d[0], d1 = d[1], d2 = d[2], d3 = d[3];                                                            \
    }
EMULATE_MMA_SHORT(ptx_mma_sync_aligned_m16n8k8_row_col_f32_f16_f16_f32, EmulatePacked<EmulateHalf>)
EMULATE_MMA_SHORT(ptx_mma_sync_aligned_m16n8k8_row_col_f32_bf16_bf16_f32, EmulatePacked<EmulateBfloat>)
#undef EMULATE_MMA_SHORT

// With sums of 16 bits, two to a register. They are kept in float until they are stored.
static inline void ptx_mma_sync_aligned_m16n8k16_row_col_f16_f16_f16_f16(
    uint32_t &d0, uint32_t &d1, uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint32_t b0, uint32_t b1,
    uint32_t c0, uint32_t c1) {
    typedef EmulatePacked<EmulateHalf> Number;
    const EmulateOperands<4, 2> operands = {{a0, a1, a2, a3}, {b0, b1}};
    const uint32_t c[2] = {c0, c1};
    float d[4];
    emulate_mma<Number, 16>(
        operands, {Number::get(c, 0), Number::get(c, 1), Number::get(c, 2), Number::get(c, 3)}, d);
    d0 = EmulateHalf(d[0]).bits | uint32_t(EmulateHalf(d[1]).bits) << 16;
    d1 = EmulateHalf(d[2]).bits | uint32_t(EmulateHalf(d[3]).bits) << 16;
}
