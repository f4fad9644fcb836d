//! Between numbers of 16 bits and `f32`, in which everything is computed.

use half::f16;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use pulp::Arch;
use rayon::prelude::*;

use super::TASK;

/// What 16 bits mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Half {
    /// IEEE's binary16: 11 bits of a number from 2⁻²⁴ to 65,504.
    F16,
    /// The upper half of an `f32`: 8 bits, and its range.
    Bf16,
}

impl Half {
    /// The same numbers in `f32`, exactly.
    pub(crate) fn widen(self, halves: &[u16]) -> Vec<f32> {
        let mut wide = vec![0.0; halves.len()];
        let arch = Arch::new();
        let tasks = wide.par_chunks_mut(TASK).zip(halves.par_chunks(TASK));
        tasks.for_each(|(wide, halves)| match self {
            // By the processor's own instruction, where it has one.
            Self::F16 => halves.reinterpret_cast::<f16>().convert_to_f32_slice(wide),
            Self::Bf16 => arch.dispatch(
                #[inline(always)]
                || {
                    for (wide, &half) in wide.iter_mut().zip(halves) {
                        *wide = f32::from_bits(u32::from(half) << 16);
                    }
                },
            ),
        });
        wide
    }

    /// Rounds to the nearest number of 16 bits, in the middle to the even one; too large ones become infinite.
    /// `halves` has as many places.
    pub(crate) fn narrow(self, wide: &[f32], halves: &mut [u16]) {
        assert_eq!(wide.len(), halves.len());
        let arch = Arch::new();
        let tasks = halves.par_chunks_mut(TASK).zip(wide.par_chunks(TASK));
        tasks.for_each(|(halves, wide)| match self {
            Self::F16 => halves
                .reinterpret_cast_mut::<f16>()
                .convert_from_f32_slice(wide),
            Self::Bf16 => arch.dispatch(
                #[inline(always)]
                || {
                    for (half, &wide) in halves.iter_mut().zip(wide) {
                        *half = to_bf16(wide);
                    }
                },
            ),
        });
    }

    /// Numbers as they are after a rounding to 16 bits.
    pub(crate) fn rounded(self, wide: &[f32]) -> Vec<f32> {
        let mut halves = vec![0; wide.len()];
        self.narrow(wide, &mut halves);
        self.widen(&halves)
    }
}

#[inline(always)]
fn to_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    // Half of the last place that is kept, and one more where that is odd: the carry rounds.
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    // A NaN could be rounded to infinity, or over it to a zero.
    let quiet = bits >> 16 | 0x40;
    (if x.is_nan() { quiet } else { rounded }) as u16
}

#[cfg(test)]
mod tests {
    use half::bf16;

    use super::super::oracle::random;
    use super::*;

    #[test]
    fn every_half_comes_back_as_it_was() {
        let all: Vec<u16> = (0..=u16::MAX).collect();
        for half in [Half::F16, Half::Bf16] {
            let wide = half.widen(&all);
            let mut back = vec![0; all.len()];
            half.narrow(&wide, &mut back);
            for ((&bits, &back), wide) in all.iter().zip(&back).zip(wide) {
                let exact = match half {
                    Half::F16 => f16::from_bits(bits).to_f32(),
                    Half::Bf16 => bf16::from_bits(bits).to_f32(),
                };
                match exact.is_nan() {
                    true => assert!(wide.is_nan() && half.widen(&[back])[0].is_nan()),
                    false => assert_eq!((wide.to_bits(), back), (exact.to_bits(), bits)),
                }
            }
        }
    }

    #[test]
    fn rounding_is_to_the_nearest_and_to_even() {
        let mut numbers = random(1, 5000);
        // The middles between neighbours, what is next to them, and numbers of every size.
        for bits in (0..u32::from(u16::MAX)).step_by(37) {
            for below in [0x7fff, 0x8000, 0x8001] {
                numbers.push(f32::from_bits(bits << 16 | below));
            }
            let [low, high] = [bits, bits + 1].map(|bits| f16::from_bits(bits as u16).to_f32());
            numbers.push(low + (high - low) / 2.0);
        }
        numbers.extend([f32::INFINITY, -f32::INFINITY, 65_519.0, 65_520.0, f32::MAX]);
        for half in [Half::F16, Half::Bf16] {
            let mut halves = vec![0; numbers.len()];
            half.narrow(&numbers, &mut halves);
            for (&x, &bits) in numbers.iter().zip(&halves) {
                let expected = match half {
                    Half::F16 => f16::from_f32(x).to_bits(),
                    Half::Bf16 => bf16::from_f32(x).to_bits(),
                };
                match x.is_nan() {
                    true => assert!(half.widen(&[bits])[0].is_nan()),
                    false => assert_eq!(bits, expected, "{x}"),
                }
            }
        }
    }
}
