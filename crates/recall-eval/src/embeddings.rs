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
        Ok(Self {
            data,
            rows: values / dim,
            dim,
        })
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
        Ok(Self {
            data,
            rows: rows.len(),
            dim: self.dim,
        })
    }

    /// Whether every row has Euclidean length 1, within 1e-4.
    ///
    /// The similarity of [`Retrieval`](crate::Retrieval) is the dot product: of unit rows it is the
    /// cosine, and ranks as the Euclidean distance does.
    pub fn is_normalised(&self) -> bool {
        self.lengths()
            .all(|length| (length - 1.0).abs() <= UNIT_TOLERANCE)
    }

    /// Divides every row by its Euclidean length.
    ///
    /// # Errors
    ///
    /// If a row is zero (the first is named).
    pub fn normalised(mut self) -> Result<Self, EvalError> {
        for (row, values) in self.data.chunks_exact_mut(self.dim).enumerate() {
            let length = length(values);
            if length == 0.0 {
                return Err(EvalError::ZeroRow { row });
            }
            for value in values {
                *value = (f64::from(*value) / length) as f32;
            }
        }
        Ok(self)
    }

    /// Multiplies everything by one power of two, such that the longest row has a length from 1 to
    /// below 2. Dot products then rank as before, but products of tiny rows do not vanish in f32, where
    /// all would be equal. Rows that are all zero stay.
    ///
    /// No digit is lost, except of values that are 2^125 times smaller than the longest row.
    pub fn rescaled(mut self) -> Self {
        let longest = self.longest();
        if longest > 0.0 {
            // Between the powers of the smallest and of the largest f32, with their squares in f64.
            let factor = (-longest.log2().floor()).exp2();
            for value in &mut self.data {
                *value = (f64::from(*value) * factor) as f32;
            }
        }
        self
    }

    /// The Euclidean lengths of the shortest and of the longest row.
    pub fn length_range(&self) -> [f64; 2] {
        self.lengths()
            .fold([f64::INFINITY, 0.0], |[low, high], length| {
                [low.min(length), high.max(length)]
            })
    }

    /// The length of the longest row.
    pub(crate) fn longest(&self) -> f64 {
        self.lengths().fold(0.0, f64::max)
    }

    fn lengths(&self) -> impl Iterator<Item = f64> {
        self.data.chunks_exact(self.dim).map(length)
    }
}

/// In f64, where the square of no f32 overflows or vanishes.
fn length(row: &[f32]) -> f64 {
    row.iter()
        .map(|&value| f64::from(value).powi(2))
        .sum::<f64>()
        .sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rescaling_keeps_every_digit_and_the_order() {
        let rows = [0.3_f32, -0.7, 0.11, 0.9, 1e-3, 0.5];
        let plain = Embeddings::new(rows.to_vec(), 2).unwrap();
        let unit = plain.clone().rescaled();
        let longest = unit.length_range()[1];
        assert!((1.0..2.0).contains(&longest), "{longest}");
        for power in [-100_i32, -40, 0, 40, 100] {
            let factor = 2.0_f32.powi(power);
            let scaled = rows.map(|value| value * factor).to_vec();
            let scaled = Embeddings::new(scaled, 2).unwrap();
            assert_eq!(scaled.rescaled(), unit, "2^{power}");
        }
        let zero = Embeddings::new(vec![0.0; 4], 2).unwrap();
        assert_eq!(zero.clone().rescaled(), zero);
    }
}
