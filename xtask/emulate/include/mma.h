// nvcuda::wmma: matrices that a warp holds together. Which lane holds which number is nobody's business, so
// here number e, counted by rows, is number e / 32 of lane e % 32.
#pragma once
#include <string.h>

#include "cuda_runtime.h"
#include "small_float.h"

namespace nvcuda {
namespace wmma {

struct matrix_a {};
struct matrix_b {};
struct accumulator {};
struct row_major {};
struct col_major {};
enum layout_t { mem_row_major, mem_col_major };
namespace precision {
struct tf32 {};
}

// Ten digits, to the nearest, and halves away from zero.
static inline float __float_to_tf32(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7f800000) != 0x7f800000) bits = (bits + 0x1000) & ~uint32_t(0x1fff);
    memcpy(&value, &bits, sizeof bits);
    return value;
}

template <class T> struct emulate_storage {
    typedef T type;
};
template <> struct emulate_storage<precision::tf32> {
    typedef float type;
};

template <class Use, int M, int N, int K> struct emulate_shape;
template <int M, int N, int K> struct emulate_shape<matrix_a, M, N, K> {
    static const int rows = M, columns = K;
};
template <int M, int N, int K> struct emulate_shape<matrix_b, M, N, K> {
    static const int rows = K, columns = N;
};
template <int M, int N, int K> struct emulate_shape<accumulator, M, N, K> {
    static const int rows = M, columns = N;
};

template <class Use, int M, int N, int K, class T, class Layout = void> struct fragment {
    typedef typename emulate_storage<T>::type Element;
    static const int rows = emulate_shape<Use, M, N, K>::rows;
    static const int columns = emulate_shape<Use, M, N, K>::columns;
    static const int num_elements = rows * columns / 32;
    Element x[num_elements];
};

template <class Use, int M, int N, int K, class T, class Layout, class V>
static inline void fill_fragment(fragment<Use, M, N, K, T, Layout> &into, V value) {
    typedef typename fragment<Use, M, N, K, T, Layout>::Element Element;
    for (auto &element : into.x) element = Element(value);
}

// Where in memory number `index` of this lane lies.
template <class F> static inline size_t emulate_place(int index, unsigned stride, bool by_rows) {
    const unsigned element = unsigned(index) * 32 + emulate_lane();
    const unsigned row = element / F::columns, column = element % F::columns;
    return by_rows ? size_t(row) * stride + column : size_t(column) * stride + row;
}

template <class F, class E> static inline void emulate_load_fragment(F &into, const E *from, unsigned stride, bool by_rows) {
    for (int i = 0; i < F::num_elements; i++) into.x[i] = from[emulate_place<F>(i, stride, by_rows)];
    emulate_warp_barrier(false);
}
template <class Use, int M, int N, int K, class T, class E>
static inline void load_matrix_sync(fragment<Use, M, N, K, T, row_major> &into, const E *from, unsigned stride) {
    emulate_load_fragment(into, from, stride, true);
}
template <class Use, int M, int N, int K, class T, class E>
static inline void load_matrix_sync(fragment<Use, M, N, K, T, col_major> &into, const E *from, unsigned stride) {
    emulate_load_fragment(into, from, stride, false);
}
template <int M, int N, int K, class T, class E>
static inline void load_matrix_sync(
    fragment<accumulator, M, N, K, T> &into, const E *from, unsigned stride, layout_t layout) {
    emulate_load_fragment(into, from, stride, layout == mem_row_major);
}
template <int M, int N, int K, class T, class E>
static inline void store_matrix_sync(
    E *into, const fragment<accumulator, M, N, K, T> &from, unsigned stride, layout_t layout) {
    typedef fragment<accumulator, M, N, K, T> F;
    for (int i = 0; i < F::num_elements; i++)
        into[emulate_place<F>(i, stride, layout == mem_row_major)] = from.x[i];
    emulate_warp_barrier(false);
}

// A product adds up in float, or in int for numbers of eight bits.
template <class T> struct emulate_sum {
    typedef float type;
};
template <> struct emulate_sum<int> {
    typedef int type;
};
// Numbers that are not rounded to TF32 are cut to it.
template <class T> struct emulate_factor {
    template <class S> static S of(S value) { return value; }
};
template <> struct emulate_factor<precision::tf32> {
    static float of(float value) {
        uint32_t bits;
        memcpy(&bits, &value, sizeof bits);
        bits &= ~uint32_t(0x1fff);
        memcpy(&value, &bits, sizeof bits);
        return value;
    }
};

template <int M, int N, int K, class T, class LayoutA, class LayoutB, class C, class D>
EMULATE_UNCHECKED static inline void mma_sync(
    fragment<accumulator, M, N, K, D> &d, const fragment<matrix_a, M, N, K, T, LayoutA> &a,
    const fragment<matrix_b, M, N, K, T, LayoutB> &b, const fragment<accumulator, M, N, K, C> &c) {
    typedef typename emulate_sum<C>::type Sum;
    typedef typename fragment<accumulator, M, N, K, D>::Element Result;
    struct Both {
        const decltype(a.x) *left;
        const decltype(b.x) *right;
    };
    const Both mine = {&a.x, &b.x};
    emulate_give(reinterpret_cast<uint64_t>(&mine));
    emulate_warp_barrier(false);
    const Both *lanes[32];
    for (unsigned lane = 0; lane < 32; lane++) lanes[lane] = reinterpret_cast<const Both *>(emulate_take(lane));
    for (int i = 0; i < d.num_elements; i++) {
        const int element = i * 32 + int(emulate_lane());
        const int row = element / N, column = element % N;
        Sum sum = Sum(c.x[i]);
        for (int k = 0; k < K; k++) {
            const int left = row * K + k, right = k * N + column;
            sum += Sum(emulate_factor<T>::of((*lanes[left % 32]->left)[left / 32])) *
                   Sum(emulate_factor<T>::of((*lanes[right % 32]->right)[right / 32]));
        }
        d.x[i] = Result(sum);
    }
    emulate_warp_barrier(false);
}

}  // namespace wmma
}  // namespace nvcuda
