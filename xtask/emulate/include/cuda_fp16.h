// __half: five bits of exponent.
#pragma once
#include "small_float.h"

typedef EmulateHalf __half;
typedef EmulatePair<EmulateHalf> __half2;

static inline __half __float2half(float a) { return __half(a); }
static inline __half __float2half_rn(float a) { return __half(a); }
static inline float __half2float(__half a) { return a; }
