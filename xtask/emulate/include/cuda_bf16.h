// __nv_bfloat16: eight bits of exponent, as float has.
#pragma once
#include "small_float.h"

typedef EmulateBfloat __nv_bfloat16;
typedef EmulatePair<EmulateBfloat> __nv_bfloat162;

static inline __nv_bfloat16 __float2bfloat16(float a) { return __nv_bfloat16(a); }
static inline __nv_bfloat16 __float2bfloat16_rn(float a) { return __nv_bfloat16(a); }
static inline float __bfloat162float(__nv_bfloat16 a) { return a; }
