//! Sigmoids of many differences at once.
//!
//! `σ((s_z − s_x)/τ) = 1 / (1 + 2^((s_x − c)κ) · 2^((c − s_z)κ))` with `κ = log₂(e)/τ` and any centre
//! `c`: one exponential for each similarity `s_z` and one for each positive `s_x`, and for a pair of
//! them a product and a reciprocal.

use pulp::Simd;

/// Beyond this many powers of two a sigmoid is 0 or 1: 2⁻³⁶ < 1.5·10⁻¹¹.
pub(super) const SATURATED: f32 = 36.0;

/// Most powers of two between the similarity of a positive and its centre.
pub(super) const REACH: f32 = 12.0;

/// Exponents are cut off here, beyond saturation for every positive in reach. So no `t` exceeds 2⁶²,
/// and the product of two does not overflow.
const LAST: f32 = 50.0;

const _: () = assert!(LAST >= SATURATED + REACH);

/// `(2^f − 1) / f` for `|f| ≤ ½`: interpolated at Chebyshev nodes, `2^f` right to 5·10⁻⁹ and exact
/// at 0.
const POLYNOMIAL: [f32; 6] = [
    std::f32::consts::LN_2,
    2.402_265e-1,
    5.550_357e-2,
    9.618_083e-3,
    1.339_086e-3,
    1.545_315e-4,
];

/// Added to a small number, leaves it rounded to an integer in the low bits.
const ROUND: f32 = 12_582_912.0;

/// `2^x`, exponents beyond ±50 cut off.
#[inline(always)]
pub(super) fn exp2<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let x = simd.min_f32s(
        simd.max_f32s(x, simd.splat_f32s(-LAST)),
        simd.splat_f32s(LAST),
    );
    let round = simd.splat_f32s(ROUND);
    let shifted = simd.add_f32s(x, round);
    let fraction = simd.sub_f32s(x, simd.sub_f32s(shifted, round));
    let mut series = simd.splat_f32s(POLYNOMIAL[5]);
    for coefficient in POLYNOMIAL[..5].iter().rev() {
        series = simd.mul_add_e_f32s(series, fraction, simd.splat_f32s(*coefficient));
    }
    let power = simd.mul_add_e_f32s(series, fraction, simd.splat_f32s(1.0));
    // The integer part goes to the exponent.
    let exponent = simd.wrapping_dyn_shl_u32s(
        simd.transmute_u32s_f32s(shifted),
        simd.splat_u32s(f32::MANTISSA_DIGITS - 1),
    );
    simd.transmute_f32s_u32s(simd.add_u32s(simd.transmute_u32s_f32s(power), exponent))
}

/// `1 / (1 + t)`
#[inline(always)]
pub(super) fn sigmoid<S: Simd>(simd: S, t: S::f32s) -> S::f32s {
    let one = simd.splat_f32s(1.0);
    simd.div_f32s(one, simd.add_f32s(t, one))
}

/// `1 / (1 + t)` of several `t`, two of them by one division.
#[inline(always)]
pub(super) fn sigmoids<S: Simd, const N: usize>(simd: S, t: [S::f32s; N]) -> [S::f32s; N] {
    let one = simd.splat_f32s(1.0);
    let mut result = t.map(|t| simd.add_f32s(t, one));
    let (pairs, last) = result.as_chunks_mut::<2>();
    for [a, b] in pairs {
        let both = simd.div_f32s(one, simd.mul_f32s(*a, *b));
        (*a, *b) = (simd.mul_f32s(both, *b), simd.mul_f32s(both, *a));
    }
    for single in last {
        *single = simd.div_f32s(one, *single);
    }
    result
}

/// Whether a mask holds anywhere.
#[inline(always)]
pub(super) fn any<S: Simd>(simd: S, mask: S::m32s) -> bool {
    simd.first_true_m32s(mask) < S::F32_LANES
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulp::{Arch, WithSimd};

    struct Exp2(Vec<f32>);

    impl WithSimd for Exp2 {
        type Output = Vec<f32>;

        #[inline(always)]
        fn with_simd<S: Simd>(mut self, simd: S) -> Vec<f32> {
            let (head, _) = S::as_mut_simd_f32s(&mut self.0);
            for x in head {
                *x = exp2(simd, *x);
            }
            self.0
        }
    }

    #[test]
    fn powers_of_two_are_right_and_end_at_the_cutoff() {
        let exponents: Vec<f32> = (-4096..4096).map(|i| i as f32 * 0.03).collect();
        let scalar = pulp::Scalar::new().vectorize(Exp2(exponents.clone()));
        let native = Arch::new().dispatch(Exp2(exponents.clone()));
        for ((x, a), b) in exponents.into_iter().zip(scalar).zip(native) {
            let exact = f64::from(x.clamp(-50.0, 50.0)).exp2();
            for power in [a, b] {
                assert!(
                    (f64::from(power) / exact - 1.0).abs() < 2e-7,
                    "2^{x} = {power}"
                );
            }
            assert!(x != 0.0 || (a == 1.0 && b == 1.0));
        }
    }
}
