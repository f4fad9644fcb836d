//! Rows whose dot products the range of f32 does not hold: copies of them, multiplied by powers of
//! two, rank alike.

use crate::Embeddings;

/// Products of the lengths of rows, between which nothing is lost: those of the longest rows bound
/// every partial sum, and of the shortest ones many digits are left above the smallest f32.
const SAFE: std::ops::Range<f64> = 1.0 / (1_u64 << 60) as f64..f32::MAX as f64 / 4.0;

/// The binary exponent of the length of the longest item of a scaled gallery: as large as products
/// with rows of a length below 2 allow, so that items 2^180 times shorter keep their digits.
const GALLERY: i32 = 120;

/// Queries and gallery, multiplied by powers of two.
#[derive(Clone, Debug)]
pub(super) struct Scaled {
    /// Each query by a power of its own, which changes nothing in its ranking.
    pub queries: Embeddings,
    /// All items by one power.
    pub gallery: Embeddings,
    /// What their similarities are to be multiplied with, as exponents of 2: one for each query.
    pub back: Vec<i32>,
}

/// Copies whose similarities f32 holds, or `None` if it holds those of the rows as they are.
pub(super) fn scaled(queries: &Embeddings, gallery: &Embeddings) -> Option<Scaled> {
    let [of_queries, of_gallery] = [queries, gallery].map(lengths_but_0);
    let (shortest, longest) = (of_queries[0] * of_gallery[0], of_queries[1] * of_gallery[1]);
    // A side that is all zero has no range, and no similarity but 0.
    if SAFE.contains(&shortest) && SAFE.contains(&longest) || shortest.is_infinite() {
        return None;
    }
    let of_gallery = GALLERY - exponent(of_gallery[1]);
    let of_queries: Vec<i32> = (queries.lengths().map(|length| -exponent(length))).collect();
    Some(Scaled {
        back: of_queries.iter().map(|power| -power - of_gallery).collect(),
        gallery: multiplied(gallery, std::iter::repeat(of_gallery)),
        queries: multiplied(queries, of_queries.into_iter()),
    })
}

/// The shortest and the longest length, without those of zero rows.
fn lengths_but_0(rows: &Embeddings) -> [f64; 2] {
    rows.lengths()
        .filter(|&length| length > 0.0)
        .fold([f64::INFINITY, 0.0], |[low, high], length| {
            [low.min(length), high.max(length)]
        })
}

/// The largest power of two that is not above a length, as its exponent; 0 for a zero row.
fn exponent(length: f64) -> i32 {
    match length > 0.0 {
        true => length.log2().floor() as i32,
        false => 0,
    }
}

/// Multiplies each row by a power of two. In f64, whose range holds them all.
fn multiplied(rows: &Embeddings, powers: impl Iterator<Item = i32>) -> Embeddings {
    let values = (rows.as_slice().chunks_exact(rows.dim()).zip(powers)).flat_map(|(row, power)| {
        let factor = f64::from(power).exp2();
        row.iter()
            .map(move |&value| (f64::from(value) * factor) as f32)
    });
    Embeddings::of_finite(values.collect(), rows.dim())
}
