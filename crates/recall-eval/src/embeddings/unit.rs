//! Unit length for many rows, to the last bit as a row by itself gets it.
//!
//! [`length`] adds up the squares one after the other, and [`divide`] divides every value: both wait for the processor most
//! of the time. Here squares are added in several sums, which gives a length that is off by a known part of it at most. Each
//! value is multiplied with the two ends of the range in which the inverse of the exact length lies. Rounding keeps the
//! order, so where both ends give one f32, division by the exact length gives it, too. A row with a value for which they
//! differ, about one in a thousand, is measured and divided in the plain way.

use pulp::{Simd, WithSimd};

use super::{divide, length};
use crate::kernel::Kernel;

/// Sums of squares that do not wait for each other.
const ABREAST: usize = 4;

/// The shortest and the longest row that were met, exactly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Extremes {
    pub shortest: f64,
    pub longest: f64,
}

/// Brings rows `[rows, dim]` to unit length and the extremes of their lengths into `met`. `Err`: the place of the first row
/// that has no direction, as its length is 0 or not finite; it stays as it is, as all after it do.
pub(crate) fn to_unit_lengths(
    rows: &mut [f32],
    dim: usize,
    met: &mut Extremes,
    scratch: &mut Vec<f64>,
) -> Result<(), usize> {
    scratch.resize(dim, 0.0);
    Kernel::detect().dispatch(ToUnitLengths {
        rows,
        dim,
        met,
        scratch,
    })
}

struct ToUnitLengths<'a> {
    rows: &'a mut [f32],
    dim: usize,
    met: &'a mut Extremes,
    /// A row in f64.
    scratch: &'a mut [f64],
}

impl WithSimd for ToUnitLengths<'_> {
    type Output = Result<(), usize>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        let Self {
            rows,
            dim,
            met,
            scratch,
        } = self;
        // Two orders of summation differ by at most 2·dim roundings of the sum, so half of that of the length; the root, the
        // inverse, the product and the plain quotient are one rounding each. This is twice as much.
        let off = (dim + 8) as f64 * f64::EPSILON;
        for (at, row) in rows.chunks_exact_mut(dim).enumerate() {
            for (wide, value) in scratch.iter_mut().zip(&*row) {
                *wide = f64::from(*value);
            }
            let about = sum_of_squares(simd, scratch).sqrt();
            // The exact length is asked for where it could be a new extreme, too.
            let between = met.shortest * (1.0 + off) < about && about * (1.0 + off) < met.longest;
            if between {
                if divide_between(scratch, row, about, off) {
                    continue;
                }
                for (value, wide) in row.iter_mut().zip(&*scratch) {
                    *value = *wide as f32;
                }
            }
            let exact = length(row);
            if !(exact > 0.0 && exact.is_finite()) {
                return Err(at);
            }
            met.shortest = met.shortest.min(exact);
            met.longest = met.longest.max(exact);
            divide(row, exact);
        }
        Ok(())
    }
}

#[inline(always)]
fn sum_of_squares<S: Simd>(simd: S, row: &[f64]) -> f64 {
    let (vectors, rest) = S::as_simd_f64s(row);
    let (groups, few) = vectors.as_chunks::<ABREAST>();
    let mut sums = [simd.splat_f64s(0.0); ABREAST];
    for group in groups {
        for (sum, &values) in sums.iter_mut().zip(group) {
            *sum = simd.mul_add_e_f64s(values, values, *sum);
        }
    }
    for (sum, &values) in sums.iter_mut().zip(few) {
        *sum = simd.mul_add_e_f64s(values, values, *sum);
    }
    let [a, b, c, d] = sums;
    let sum = simd.add_f64s(simd.add_f64s(a, b), simd.add_f64s(c, d));
    let rest: f64 = rest.iter().map(|value| value * value).sum();
    simd.reduce_sum_f64s(sum) + rest
}

/// Divides a row by its length, of which is known what it is `about`; whether that leaves no doubt.
#[inline(always)]
fn divide_between(from: &[f64], to: &mut [f32], about: f64, off: f64) -> bool {
    let inverse = 1.0 / about;
    let (low_end, high_end) = (inverse * (1.0 - off), inverse * (1.0 + off));
    let mut doubt = 0;
    for (value, to) in from.iter().zip(to) {
        let (low, high) = ((value * low_end) as f32, (value * high_end) as f32);
        doubt |= low.to_bits() ^ high.to_bits();
        *to = low;
    }
    doubt == 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain(rows: &mut [f32], dim: usize, met: &mut Extremes) -> Result<(), usize> {
        for (at, row) in rows.chunks_exact_mut(dim).enumerate() {
            let length = length(row);
            if !(length > 0.0 && length.is_finite()) {
                return Err(at);
            }
            met.shortest = met.shortest.min(length);
            met.longest = met.longest.max(length);
            divide(row, length);
        }
        Ok(())
    }

    fn bits(rows: &[f32]) -> Vec<u32> {
        rows.iter().map(|value| value.to_bits()).collect()
    }

    fn compare(rows: &[f32], dim: usize) {
        let none = Extremes {
            shortest: f64::INFINITY,
            longest: 0.0,
        };
        let (mut fast, mut slow) = (rows.to_vec(), rows.to_vec());
        let (mut met, mut wanted) = (none, none);
        let scratch = &mut Vec::new();
        let found = to_unit_lengths(&mut fast, dim, &mut met, scratch);
        let want = plain(&mut slow, dim, &mut wanted);
        assert_eq!(found, want);
        assert_eq!(bits(&fast), bits(&slow));
        assert_eq!(met, wanted);
    }

    proptest! {
        #[test]
        fn as_rows_by_themselves(
            values in prop::collection::vec(prop_oneof![
                8 => -1.0f32..1.0,
                2 => (-3i8..3).prop_map(f32::from),
                1 => prop::num::f32::NORMAL | prop::num::f32::SUBNORMAL | prop::num::f32::ZERO,
            ], 1..600),
            dim in 1usize..70,
            scale in prop::sample::select(vec![1.0f32, 1e-30, 1e-42, 1e30]),
        ) {
            let values: Vec<f32> = values.iter().map(|value| value * scale).collect();
            let dim = dim.min(values.len());
            compare(&values[..values.len() / dim * dim], dim);
        }
    }

    #[test]
    fn many_rows_of_halves_and_of_values() {
        let mut state = 1_u64;
        let mut value = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        for dim in [1, 16, 37, 256] {
            let mut rows: Vec<f32> = (0..3_000 * dim).map(|_| value()).collect();
            compare(&rows, dim);
            for value in &mut rows {
                *value = half::f16::from_f32(*value).to_f32();
            }
            compare(&rows, dim);
            let at = 1_234 * dim + dim / 2;
            for wrong in [f32::NAN, f32::NEG_INFINITY] {
                let mut rows = rows.clone();
                rows[at] = wrong;
                compare(&rows, dim);
            }
            rows[2_000 * dim..2_001 * dim].fill(0.0);
            compare(&rows, dim);
        }
    }
}
