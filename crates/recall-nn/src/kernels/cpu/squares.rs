//! The sum of squares, in an order that depends on no number of threads.

use pulp::Arch;
use rayon::prelude::*;

/// Numbers that a thread takes at once.
const CHUNK: usize = 1 << 14;

/// Sums that run side by side: enough to hide how long an addition takes.
const LANES: usize = 64;

/// The sum of the squares of all `values`: of a few hundred at a time in f32, of their sums in f64.
pub(in crate::kernels) fn sum_of_squares(values: &[f32]) -> f64 {
    let chunks: Vec<f64> = values.par_chunks(CHUNK).map(of_chunk).collect();
    chunks.into_iter().sum()
}

fn of_chunk(values: &[f32]) -> f64 {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            let mut sums = [0.0_f32; LANES];
            let (blocks, rest) = values.as_chunks::<LANES>();
            for block in blocks {
                for (sum, value) in sums.iter_mut().zip(block) {
                    *sum += value * value;
                }
            }
            for (sum, value) in sums.iter_mut().zip(rest) {
                *sum += value * value;
            }
            sums.into_iter().map(f64::from).sum()
        },
    )
}
