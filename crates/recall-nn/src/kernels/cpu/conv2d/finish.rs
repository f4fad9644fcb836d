use pulp::Simd;

use super::micro::VECTORS;
use super::target::Target;

/// What is done to each sum of products before it is stored, in this order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Finish<'a> {
    /// Added to each output of a channel: `[cout]`.
    pub shift: Option<&'a [f32]>,
    /// Added to each output: of the output's shape.
    pub residual: Option<&'a [f32]>,
    /// Whether negative outputs become zero.
    pub relu: bool,
}

/// Where sums go, with the sums of a part of the depth.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    pub(super) target: Target,
    /// Whether an earlier part has stored its sums, to which these are added.
    pub(super) added: bool,
    /// What is done after the last part.
    pub(super) finish: Option<Finish<'a>>,
}

impl Part<'_> {
    /// Stores the sums of positions whose outputs are next to each other, from `offset` on.
    ///
    /// # Safety
    ///
    /// As for [`Target::store`] of [`VECTORS`] vectors; and if sums are added, then these were
    /// stored.
    #[expect(unsafe_code, reason = "the output is shared by threads")]
    #[inline(always)]
    pub(super) unsafe fn store<S: Simd>(
        &self,
        simd: S,
        channel: usize,
        offset: usize,
        sums: [S::f32s; VECTORS],
    ) {
        for (vector, sum) in sums.into_iter().enumerate() {
            let offset = offset + vector * S::F32_LANES;
            let mut sum = sum;
            if self.added {
                // SAFETY: stored before by this thread, as the caller vouches.
                sum = simd.add_f32s(sum, unsafe { self.target.load::<S::f32s>(offset) });
            }
            if let Some(finish) = self.finish {
                if let Some(shift) = finish.shift {
                    sum = simd.add_f32s(sum, simd.splat_f32s(shift[channel]));
                }
                if let Some(residual) = finish.residual {
                    let residual = &residual[offset..offset + S::F32_LANES];
                    sum = simd.add_f32s(sum, S::as_simd_f32s(residual).0[0]);
                }
                if finish.relu {
                    // Not the larger one of the two: it hides a NaN on some processors.
                    let zero = simd.splat_f32s(0.0);
                    sum = simd.select_f32s(simd.less_than_f32s(sum, zero), zero, sum);
                }
            }
            // SAFETY: in bounds and of this thread alone, as the caller vouches.
            unsafe { self.target.store(offset, sum) };
        }
    }

    /// Stores one sum.
    ///
    /// # Safety
    ///
    /// As for [`Target::store`] of a number; and if sums are added, then one was stored there.
    #[expect(unsafe_code, reason = "the output is shared by threads")]
    #[inline(always)]
    pub(super) unsafe fn store_one(&self, channel: usize, offset: usize, sum: f32) {
        let mut sum = sum;
        if self.added {
            // SAFETY: stored before by this thread, as the caller vouches.
            sum += unsafe { self.target.load::<f32>(offset) };
        }
        if let Some(finish) = self.finish {
            if let Some(shift) = finish.shift {
                sum += shift[channel];
            }
            if let Some(residual) = finish.residual {
                sum += residual[offset];
            }
            if finish.relu && sum < 0.0 {
                sum = 0.0;
            }
        }
        // SAFETY: in bounds and of this thread alone, as the caller vouches.
        unsafe { self.target.store(offset, sum) };
    }
}
