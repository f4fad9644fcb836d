//! Rows whose dot products the range of f32 does not hold: copies of them, multiplied by powers of
//! two, rank alike.

use crate::Embeddings;

/// Products of the lengths of rows, between which nothing is lost: those of the longest rows bound
/// every partial sum, and of the shortest ones many digits are left above the smallest f32.
const SAFE: std::ops::Range<f64> = 1.0 / (1_u64 << 60) as f64..f32::MAX as f64 / 4.0;

/// The binary exponent of the length of the longest item of a scaled gallery: as large as products
/// with rows of a length below 2 allow, so that items 2^180 times shorter keep their digits.
const GALLERY: i32 = 120;

/// The powers of two to multiply rows with, as exponents.
#[derive(Clone, Debug)]
pub(crate) struct Powers {
    /// One for each query, which changes nothing in its ranking.
    pub of_queries: Vec<i32>,
    /// One for all items.
    pub of_gallery: i32,
}

impl Powers {
    /// Those whose similarities f32 holds, or `None` if it holds those of the rows as they are.
    /// `of_gallery`: the range of the items' lengths.
    pub fn needed(queries: &Embeddings, of_gallery: LengthsBut0) -> Option<Self> {
        let of_queries = LengthsBut0::of(queries);
        let (shortest, longest) = (
            of_queries.shortest * of_gallery.shortest,
            of_queries.longest * of_gallery.longest,
        );
        // A side that is all zero has no range, and no similarity but 0.
        if SAFE.contains(&shortest) && SAFE.contains(&longest) || shortest.is_infinite() {
            return None;
        }
        Some(Self {
            of_queries: (queries.lengths().map(|length| -exponent(length))).collect(),
            of_gallery: GALLERY - exponent(of_gallery.longest),
        })
    }

    /// What similarities are to be multiplied with: one for each query.
    pub fn back(&self) -> Vec<i32> {
        let back = self.of_queries.iter().map(|power| -power - self.of_gallery);
        back.collect()
    }

    pub fn queries(&self, queries: &Embeddings) -> Embeddings {
        multiplied(queries, self.of_queries.iter().copied())
    }

    pub fn gallery(&self, gallery: &Embeddings) -> Embeddings {
        multiplied(gallery, std::iter::repeat(self.of_gallery))
    }
}

/// The shortest and the longest length of rows, without those of zero rows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LengthsBut0 {
    /// Infinite if there are only zero rows.
    pub shortest: f64,
    pub longest: f64,
}

impl LengthsBut0 {
    pub const NONE: Self = Self {
        shortest: f64::INFINITY,
        longest: 0.0,
    };

    pub fn of(rows: &Embeddings) -> Self {
        rows.lengths().map(Self::of_one).fold(Self::NONE, Self::and)
    }

    pub fn of_one(length: f64) -> Self {
        match length > 0.0 {
            true => Self {
                shortest: length,
                longest: length,
            },
            false => Self::NONE,
        }
    }

    pub fn and(self, other: Self) -> Self {
        Self {
            shortest: self.shortest.min(other.shortest),
            longest: self.longest.max(other.longest),
        }
    }
}

/// The largest power of two that is not above a length, as its exponent; 0 for a zero row.
fn exponent(length: f64) -> i32 {
    match length > 0.0 {
        true => length.log2().floor() as i32,
        false => 0,
    }
}

/// Multiplies each row by a power of two.
fn multiplied(rows: &Embeddings, powers: impl Iterator<Item = i32>) -> Embeddings {
    let mut values = rows.as_slice().to_vec();
    for (row, power) in values.chunks_exact_mut(rows.dim()).zip(powers) {
        multiply(row, power);
    }
    Embeddings::of_finite(values, rows.dim())
}

/// In f64, whose range holds them all.
pub(crate) fn multiply(row: &mut [f32], power: i32) {
    let factor = f64::from(power).exp2();
    for value in row {
        *value = (f64::from(*value) * factor) as f32;
    }
}
