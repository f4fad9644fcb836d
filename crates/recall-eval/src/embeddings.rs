pub(crate) mod unit;

use crate::EvalError;

/// How far from 1 the length of a row may be for it to count as normalised.
///
/// Rows normalised in f32 by any framework are within 1e-5. Rows that were rounded to half precision
/// afterwards may be, too, and yet rank otherwise by dot product than by cosine. So this is for what is
/// said of rows, never a reason to leave them as they are.
const UNIT_TOLERANCE: f64 = 1e-4;

/// A matrix of embeddings, `[rows, dim]` row-major in f32, with at least one row, one column, and
/// finite values only.
///
/// ```
/// use recall_eval::Embeddings;
///
/// let embeddings = Embeddings::new(vec![3.0, 4.0, 0.0, 2.0], 2)?;
/// assert!(!embeddings.is_normalised());
/// assert_eq!(embeddings.normalised()?.row(0), [0.6, 0.8]);
/// # Ok::<(), recall_eval::EvalError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Embeddings {
    data: Vec<f32>,
    rows: usize,
    dim: usize,
}

impl Embeddings {
    /// Takes `data`, `[rows, dim]` row-major.
    ///
    /// # Errors
    ///
    /// If there is no value, if the values do not fill whole rows, or if one is NaN or infinite
    /// (the first is named).
    pub fn new(data: Vec<f32>, dim: usize) -> Result<Self, EvalError> {
        let values = data.len();
        if values == 0 || dim == 0 {
            return Err(EvalError::Empty { values, dim });
        }
        if !values.is_multiple_of(dim) {
            return Err(EvalError::Ragged { values, dim });
        }
        if let Some(at) = data.iter().position(|value| !value.is_finite()) {
            return Err(EvalError::NotFinite {
                row: at / dim,
                column: at % dim,
                value: data[at],
            });
        }
        Ok(Self::of_finite(data, dim))
    }

    /// Takes `data` that is known to be finite and to fill whole rows.
    pub(crate) fn of_finite(data: Vec<f32>, dim: usize) -> Self {
        let rows = data.len() / dim;
        Self { data, rows, dim }
    }

    /// Number of embeddings.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of values of one embedding.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// All values, `[rows, dim]` row-major.
    pub fn as_slice(&self) -> &[f32] {
        &self.data
    }

    /// The embedding of item `i`, `[dim]`.
    ///
    /// # Panics
    ///
    /// If `i` is not below [`rows`](Self::rows), as indexing a slice does.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.data[i * self.dim..][..self.dim]
    }

    /// The rows of the given numbers, in their order.
    ///
    /// # Errors
    ///
    /// If no row is asked for.
    ///
    /// # Panics
    ///
    /// If there is no such row, as indexing a slice does.
    pub fn select(&self, rows: &[usize]) -> Result<Self, EvalError> {
        if rows.is_empty() {
            return Err(EvalError::Empty {
                values: 0,
                dim: self.dim,
            });
        }
        let mut data = Vec::with_capacity(rows.len() * self.dim);
        for &row in rows {
            data.extend_from_slice(self.row(row));
        }
        Ok(Self::of_finite(data, self.dim))
    }

    /// Whether every row has Euclidean length 1, within 1e-4.
    ///
    /// The similarity of [`Retrieval`](crate::Retrieval) is the dot product: of unit rows it is the
    /// cosine, and ranks as the Euclidean distance does.
    pub fn is_normalised(&self) -> bool {
        self.lengths().all(is_unit_length)
    }

    /// Divides every row by its Euclidean length.
    ///
    /// # Errors
    ///
    /// If a row is zero (the first is named).
    pub fn normalised(mut self) -> Result<Self, EvalError> {
        for (row, values) in self.data.chunks_exact_mut(self.dim).enumerate() {
            if to_unit_length(values) == 0.0 {
                return Err(EvalError::ZeroRow { row });
            }
        }
        Ok(self)
    }

    /// The Euclidean lengths of the shortest and of the longest row.
    pub fn length_range(&self) -> [f64; 2] {
        self.lengths()
            .fold([f64::INFINITY, 0.0], |[low, high], length| {
                [low.min(length), high.max(length)]
            })
    }

    /// The Euclidean length of each row.
    pub(crate) fn lengths(&self) -> impl Iterator<Item = f64> {
        self.data.chunks_exact(self.dim).map(length)
    }
}

pub(crate) fn is_unit_length(length: f64) -> bool {
    (length - 1.0).abs() <= UNIT_TOLERANCE
}

/// Divides a row by its length, which is returned. If that is 0, its values are of no use.
pub(crate) fn to_unit_length(row: &mut [f32]) -> f64 {
    let length = length(row);
    divide(row, length);
    length
}

/// Rows that are measured at a time: one sum waits for each of its additions, several do not wait for each other.
const ABREAST: usize = 8;

/// The [`length`] of each of the rows `[rows, dim]`, to the last bit.
pub(crate) fn lengths(rows: &[f32], dim: usize, lengths: &mut Vec<f64>) {
    lengths.clear();
    let mut blocks = rows.chunks_exact(ABREAST * dim);
    for block in &mut blocks {
        let rows: [&[f32]; ABREAST] = std::array::from_fn(|at| &block[at * dim..][..dim]);
        let mut sums = [0.0; ABREAST];
        for k in 0..dim {
            for (sum, row) in sums.iter_mut().zip(rows) {
                let value = f64::from(row[k]);
                *sum += value * value;
            }
        }
        lengths.extend(sums.map(f64::sqrt));
    }
    lengths.extend(blocks.remainder().chunks_exact(dim).map(length));
}

/// Divides a row by its length.
pub(crate) fn divide(row: &mut [f32], length: f64) {
    for value in row {
        *value = (f64::from(*value) / length) as f32;
    }
}

/// In f64, where the square of no f32 overflows or vanishes.
pub(crate) fn length(row: &[f32]) -> f64 {
    row.iter()
        .map(|&value| f64::from(value).powi(2))
        .sum::<f64>()
        .sqrt()
}
