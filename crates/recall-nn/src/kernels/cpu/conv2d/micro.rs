use pulp::{Simd, WithSimd};

/// Vectors of positions in a tile.
pub(super) const VECTORS: usize = 2;

/// The most positions in a tile, with vectors of 16 numbers.
pub(super) const MOST_WIDTH: usize = VECTORS * 16;

/// Output channels in a tile: as many as the registers hold sums of, with vectors of `lanes`
/// numbers.
pub(super) const fn height(lanes: usize) -> usize {
    // AVX-512 and NEON have 32 registers, the others 16.
    match lanes {
        16 => 12,
        4 if cfg!(target_arch = "aarch64") => 12,
        _ => 6,
    }
}

/// Numbers in a vector.
pub(super) struct Lanes;

impl WithSimd for Lanes {
    type Output = usize;

    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}

/// The sums of a tile: `Σ weights[d][row] · pixels[d][vector]` over the depth `d`.
#[inline(always)]
pub(super) fn multiply<S: Simd, const HEIGHT: usize>(
    simd: S,
    weights: &[f32],
    pixels: &[S::f32s],
) -> [[S::f32s; VECTORS]; HEIGHT] {
    let mut sums = [[simd.splat_f32s(0.0); VECTORS]; HEIGHT];
    let (weights, _) = weights.as_chunks::<HEIGHT>();
    let (pixels, _) = pixels.as_chunks::<VECTORS>();
    for (weights, pixels) in weights.iter().zip(pixels) {
        for (sums, &weight) in sums.iter_mut().zip(weights) {
            let weight = simd.splat_f32s(weight);
            for (sum, &pixels) in sums.iter_mut().zip(pixels) {
                *sum = simd.mul_add_e_f32s(weight, pixels, *sum);
            }
        }
    }
    sums
}
