//! Exponential and logarithm in a form that the compiler turns into vector instructions.
//!
//! The polynomials are those of Cephes (Moshier, 1992), right to about two units in the last place.
//! No fused multiply-add: without hardware for it, each would be a call.

use std::f32::consts::{FRAC_1_SQRT_2, LOG2_E};

/// ln 2 in two parts; a small integer times the first is exact.
const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];

/// `eˣ`: zero below −87.3, where the numbers are no longer normal, and infinite above 88.3; NaN for NaN.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    // Adding this number leaves no place for a fraction, and the integer in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    const LEAST: f32 = -87.3;
    let clamped = x.clamp(LEAST, 88.7);
    let shifted = clamped * LOG2_E + ROUND;
    let power = shifted - ROUND;
    let rest = clamped - power * LN_2[0] - power * LN_2[1];
    let mut series = 1.987_569_1e-4;
    for coefficient in [
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_5e-1,
        0.5,
    ] {
        series = series * rest + coefficient;
    }
    series = series * (rest * rest) + (rest + 1.0);
    // The exponent of 2^power; that of 2^128 is the one of infinity.
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    if x < LEAST { 0.0 } else { series * scale }
}

/// `ln x` of a normal positive number, of infinity or of NaN.
#[inline(always)]
pub(super) fn ln(x: f32) -> f32 {
    // x = mantissa · 2^power with a mantissa between √½ and √2.
    let bits = x.to_bits() as i32;
    let power = bits.wrapping_sub(FRAC_1_SQRT_2.to_bits() as i32) >> 23;
    let rest = f32::from_bits(bits.wrapping_sub(power << 23) as u32) - 1.0;
    let power = power as f32;
    let mut series = 7.037_683_6e-2;
    for coefficient in [
        -1.151_461e-1,
        1.167_699_9e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_8e-1,
        2.000_071_5e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ] {
        series = series * rest + coefficient;
    }
    let square = rest * rest;
    let small = series * (rest * square) + power * LN_2[1] - 0.5 * square;
    let logarithm = rest + small + power * LN_2[0];
    if x < f32::INFINITY { logarithm } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_right_to_a_few_units_in_the_last_place() {
        for step in -87_000..=88_000 {
            let x = step as f32 * 1e-3;
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error < 3e-7, "{x}: {error}");
        }
    }

    #[test]
    fn exp_ends_at_zero_and_infinity() {
        assert_eq!(exp(0.0), 1.0);
        for x in [-88.0, -1e30, f32::NEG_INFINITY] {
            assert_eq!(exp(x), 0.0);
        }
        for x in [88.5, 1e30, f32::INFINITY] {
            assert_eq!(exp(x), f32::INFINITY);
        }
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn ln_is_right_to_a_few_units_in_the_last_place() {
        let mut x = 1e-37f32;
        while x < 1e38 {
            let exact = f64::from(x).ln();
            let error = (f64::from(ln(x)) - exact).abs();
            assert!(error < 1.5e-7 * exact.abs().max(1e-2), "{x}: {error}");
            x *= 1.000_37;
        }
        assert_eq!(ln(1.0), 0.0);
        assert_eq!(ln(f32::INFINITY), f32::INFINITY);
        assert!(ln(f32::NAN).is_nan());
    }
}
