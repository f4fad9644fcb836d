// Floats of 16 bits: `EXPONENT` bits of exponent, the rest of mantissa.
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>

#include <type_traits>

template <int EXPONENT> struct EmulateSmall {
    uint16_t bits;

    static const int MANTISSA = 15 - EXPONENT;
    static const int BIAS = (1 << (EXPONENT - 1)) - 1;
    static const uint16_t INFINITE = ((1 << EXPONENT) - 1) << MANTISSA;

    EmulateSmall() = default;
    template <class T, class = typename std::enable_if<std::is_arithmetic<T>::value>::type>
    EmulateSmall(T value) : bits(round(double(value))) {}
    // From the other kind, by way of `float`, which holds both.
    template <int OTHER, class = typename std::enable_if<OTHER != EXPONENT>::type>
    explicit EmulateSmall(EmulateSmall<OTHER> value) : bits(round(double(float(value)))) {}

    // To the nearest, and of two as near to the even one.
    static uint16_t round(double value) {
        const uint16_t sign = signbit(value) ? 0x8000 : 0;
        if (value != value) return sign | INFINITE | (1 << (MANTISSA - 1));
        const double size = fabs(value);
        if (size == 0) return sign;
        int exponent;
        if (isinf(size)) return sign | INFINITE;
        frexp(size, &exponent); // size = [0.5, 1) * 2^exponent
        // The weight of the last digit; below the least exponent it no longer shrinks.
        int last = exponent - 1 - MANTISSA;
        const int least = 1 - BIAS - MANTISSA;
        if (last < least) last = least;
        // Exact: a double has digits to spare. `nearbyint` rounds halves to even.
        const uint32_t digits = uint32_t(nearbyint(ldexp(size, -last)));
        // Digits that carry into the next power of two add one to the exponent by themselves.
        const uint32_t result = digits + (uint32_t(last - least) << MANTISSA);
        return sign | uint16_t(result < INFINITE ? result : INFINITE);
    }

    operator float() const {
        const int exponent = (bits >> MANTISSA) & ((1 << EXPONENT) - 1);
        const int digits = bits & ((1 << MANTISSA) - 1);
        float size;
        if (exponent == (1 << EXPONENT) - 1)
            size = digits ? NAN : INFINITY;
        else if (exponent == 0)
            size = ldexpf(float(digits), 1 - BIAS - MANTISSA);
        else
            size = ldexpf(float(digits | 1 << MANTISSA), exponent - BIAS - MANTISSA);
        return bits & 0x8000 ? -size : size;
    }

    // A float has more than twice the digits, so rounding its result once more gives what rounding once would.
    friend EmulateSmall operator+(EmulateSmall a, EmulateSmall b) { return EmulateSmall(float(a) + float(b)); }
    friend EmulateSmall operator-(EmulateSmall a, EmulateSmall b) { return EmulateSmall(float(a) - float(b)); }
    friend EmulateSmall operator*(EmulateSmall a, EmulateSmall b) { return EmulateSmall(float(a) * float(b)); }
    friend EmulateSmall operator/(EmulateSmall a, EmulateSmall b) { return EmulateSmall(float(a) / float(b)); }
    EmulateSmall operator-() const {
        EmulateSmall result;
        result.bits = bits ^ 0x8000;
        return result;
    }
    EmulateSmall &operator+=(EmulateSmall b) { return *this = *this + b; }
    EmulateSmall &operator-=(EmulateSmall b) { return *this = *this - b; }
    EmulateSmall &operator*=(EmulateSmall b) { return *this = *this * b; }
    EmulateSmall &operator/=(EmulateSmall b) { return *this = *this / b; }
    friend bool operator==(EmulateSmall a, EmulateSmall b) { return float(a) == float(b); }
    friend bool operator!=(EmulateSmall a, EmulateSmall b) { return float(a) != float(b); }
    friend bool operator<(EmulateSmall a, EmulateSmall b) { return float(a) < float(b); }
    friend bool operator<=(EmulateSmall a, EmulateSmall b) { return float(a) <= float(b); }
    friend bool operator>(EmulateSmall a, EmulateSmall b) { return float(a) > float(b); }
    friend bool operator>=(EmulateSmall a, EmulateSmall b) { return float(a) >= float(b); }
};

// Two of them, as CUDA packs them into a word.
template <class T> struct alignas(4) EmulatePair {
    T x, y;
    EmulatePair() = default;
    EmulatePair(T x, T y) : x(x), y(y) {}
    // The same in both.
    explicit EmulatePair(T value) : x(value), y(value) {}
    friend EmulatePair operator+(EmulatePair a, EmulatePair b) { return {a.x + b.x, a.y + b.y}; }
    friend EmulatePair operator-(EmulatePair a, EmulatePair b) { return {a.x - b.x, a.y - b.y}; }
    friend EmulatePair operator*(EmulatePair a, EmulatePair b) { return {a.x * b.x, a.y * b.y}; }
    friend EmulatePair operator/(EmulatePair a, EmulatePair b) { return {a.x / b.x, a.y / b.y}; }
    EmulatePair operator-() const { return {-x, -y}; }
};

typedef EmulateSmall<5> EmulateHalf;
typedef EmulateSmall<8> EmulateBfloat;

// The functions that CUDA has for either type. Each is computed in float, and rounded once more.
#define EMULATE_SMALL_FUNCTION(name, expression)                                                            \
    template <int E> static inline EmulateSmall<E> h##name(EmulateSmall<E> small) {                         \
        const float a = small;                                                                              \
        return EmulateSmall<E>(expression);                                                                 \
    }                                                                                                       \
    template <int E> static inline EmulatePair<EmulateSmall<E>> h2##name(EmulatePair<EmulateSmall<E>> pair) { \
        return {h##name(pair.x), h##name(pair.y)};                                                          \
    }
EMULATE_SMALL_FUNCTION(exp, expf(a))
EMULATE_SMALL_FUNCTION(log, logf(a))
EMULATE_SMALL_FUNCTION(sin, sinf(a))
EMULATE_SMALL_FUNCTION(cos, cosf(a))
EMULATE_SMALL_FUNCTION(sqrt, sqrtf(a))
EMULATE_SMALL_FUNCTION(rsqrt, float(1 / ::sqrt(double(a))))
EMULATE_SMALL_FUNCTION(rcp, 1 / a)
EMULATE_SMALL_FUNCTION(ceil, ceilf(a))
EMULATE_SMALL_FUNCTION(floor, floorf(a))
EMULATE_SMALL_FUNCTION(trunc, truncf(a))
EMULATE_SMALL_FUNCTION(rint, rintf(a))
#undef EMULATE_SMALL_FUNCTION

#define EMULATE_SMALL_BINARY(name, expression)                                                             \
    template <int E> static inline EmulateSmall<E> name(EmulateSmall<E> a, EmulateSmall<E> b) {            \
        return expression;                                                                                 \
    }                                                                                                      \
    template <int E>                                                                                       \
    static inline EmulatePair<EmulateSmall<E>> name##2(                                                    \
        EmulatePair<EmulateSmall<E>> a, EmulatePair<EmulateSmall<E>> b) {                                  \
        return {name(a.x, b.x), name(a.y, b.y)};                                                           \
    }
EMULATE_SMALL_BINARY(__hmax, float(a) != float(a) ? b : float(b) != float(b) ? a : a > b ? a : b)
EMULATE_SMALL_BINARY(__hmin, float(a) != float(a) ? b : float(b) != float(b) ? a : a < b ? a : b)
#undef EMULATE_SMALL_BINARY

// Product and sum are exact in double for all but numbers very far apart.
template <int E>
static inline EmulateSmall<E> __hfma(EmulateSmall<E> a, EmulateSmall<E> b, EmulateSmall<E> c) {
    return EmulateSmall<E>(::fma(double(float(a)), double(float(b)), double(float(c))));
}
template <int E>
static inline EmulatePair<EmulateSmall<E>> __hfma2(
    EmulatePair<EmulateSmall<E>> a, EmulatePair<EmulateSmall<E>> b, EmulatePair<EmulateSmall<E>> c) {
    return {__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)};
}
template <int E> static inline EmulateSmall<E> __habs(EmulateSmall<E> a) { return EmulateSmall<E>(fabsf(a)); }
template <int E> static inline bool __hisnan(EmulateSmall<E> a) { return isnan(float(a)); }
template <int E> static inline int __hisinf(EmulateSmall<E> a) {
    return isinf(float(a)) ? (float(a) < 0 ? -1 : 1) : 0;
}
