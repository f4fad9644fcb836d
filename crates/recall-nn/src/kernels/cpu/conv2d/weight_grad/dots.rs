use pulp::Simd;

/// Rows of pixels that stay in the first cache while the rows of the gradient go by: whole tiles.
const NEAR: usize = 12;

/// Adds the dot product of each row of `grad` with each row of `pixels` to `sums`, `[tall, wide]`,
/// which are the numbers of rows in `size`. Rows are `pitch` apart, and `len` long, whole vectors;
/// there are as many as fill whole tiles of `TALL × WIDE`.
#[inline(always)]
pub(super) fn add_dots<S: Simd, const TALL: usize, const WIDE: usize>(
    simd: S,
    grad: &[f32],
    pixels: &[f32],
    [pitch, len]: [usize; 2],
    size: [usize; 2],
    sums: &mut [f32],
) {
    const { assert!(NEAR.is_multiple_of(WIDE)) }
    let [tall, wide] = size;
    for near in (0..wide).step_by(NEAR) {
        for top in (0..tall).step_by(TALL) {
            for left in (near..wide.min(near + NEAR)).step_by(WIDE) {
                let dots = tile::<S, TALL, WIDE>(
                    simd,
                    rows::<S, TALL>(&grad[top * pitch..], pitch, len),
                    rows::<S, WIDE>(&pixels[left * pitch..], pitch, len),
                );
                for (i, dots) in dots.iter().enumerate().take(tall - top) {
                    let sums = &mut sums[(top + i) * wide..][left..wide];
                    for (sum, &dot) in sums.iter_mut().zip(dots) {
                        *sum += simd.reduce_sum_f32s(dot);
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn rows<S: Simd, const COUNT: usize>(
    values: &[f32],
    pitch: usize,
    len: usize,
) -> [&[S::f32s]; COUNT] {
    std::array::from_fn(|row| S::as_simd_f32s(&values[row * pitch..][..len]).0)
}

/// For each pair of rows the products of their vectors, summed by lane.
#[inline(always)]
fn tile<S: Simd, const TALL: usize, const WIDE: usize>(
    simd: S,
    left: [&[S::f32s]; TALL],
    right: [&[S::f32s]; WIDE],
) -> [[S::f32s; WIDE]; TALL] {
    let mut sums = [[simd.splat_f32s(0.0); WIDE]; TALL];
    let steps = left[0].len();
    // For the compiler: no other check of bounds in the loop.
    let left = left.map(|row| &row[..steps]);
    let right = right.map(|row| &row[..steps]);
    for step in 0..steps {
        let right: [S::f32s; WIDE] = std::array::from_fn(|column| right[column][step]);
        for (sums, row) in sums.iter_mut().zip(&left) {
            for (sum, &right) in sums.iter_mut().zip(&right) {
                *sum = simd.mul_add_e_f32s(row[step], right, *sum);
            }
        }
    }
    sums
}
