//! What a head on features has to know of the rows that it is trained on.

use nalgebra::{DMatrix, DMatrixViewMut};
use rayon::prelude::*;

use crate::{EngineError, Features};

/// Rows whose products are added at once: they and their transpose stay in a cache.
const BLOCK: usize = 512;

/// Columns of the products that are one piece of work.
const COLUMNS: usize = 64;

/// Mean, deviation and, if wanted, covariance of rows of features, which are added block by block.
///
/// Sums are of what is left of a row without the mean of the first rows, in double precision, so numbers far
/// from zero lose nothing. The same blocks in the same order give the same bits, whatever the threads.
///
/// ```
/// use recall_engine::FeatureStatistics;
///
/// # fn main() -> Result<(), recall_engine::EngineError> {
/// let mut statistics = FeatureStatistics::new(2, false);
/// statistics.add(&[1.0, 10.0, 3.0, 10.0])?;
/// statistics.add(&[5.0, 10.0])?;
/// assert_eq!((statistics.rows(), statistics.mean()), (3, vec![3.0, 10.0]));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureStatistics {
    dim: usize,
    rows: usize,
    /// `[dim]`: what is taken off each row, the mean of the first.
    shift: Vec<f64>,
    /// `[dim]`: the sum of what is left.
    sum: Vec<f64>,
    /// `[dim]`: the sum of its squares.
    squares: Vec<f64>,
    /// `[dim, dim]`: the sum of its products, of which those in the upper triangle may be missing.
    products: Option<Vec<f64>>,
}

impl FeatureStatistics {
    /// Of no rows yet, of `dim` numbers each; the covariance, which is `[dim, dim]`, only if it is wanted, see
    /// [`Start::wants_covariance`](crate::Start::wants_covariance).
    pub fn new(dim: usize, covariance: bool) -> Self {
        Self {
            dim,
            rows: 0,
            shift: vec![0.0; dim],
            sum: vec![0.0; dim],
            squares: vec![0.0; dim],
            products: covariance.then(|| vec![0.0; dim * dim]),
        }
    }

    /// Numbers of a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// How many rows there were.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Adds rows, `[n, dim]` one behind the other.
    ///
    /// # Errors
    ///
    /// [`EngineError::Batch`] if the numbers fill no whole rows, or if one is not finite; then none is added.
    pub fn add(&mut self, rows: &[f32]) -> Result<(), EngineError> {
        let dim = self.dim;
        Features { values: rows, dim }.check()?;
        if let Some(at) = rows.iter().position(|number| !number.is_finite()) {
            let (row, column) = (self.rows + at / dim, at % dim);
            return Err(EngineError::Batch(format!(
                "number {column} of row {row} of the features is {}: they have to be finite",
                rows[at]
            )));
        }
        if self.rows == 0 {
            self.shift = mean(rows, dim);
        }
        for block in rows.chunks(BLOCK * dim) {
            self.add_block(block);
        }
        Ok(())
    }

    fn add_block(&mut self, rows: &[f32]) {
        let dim = self.dim;
        let mut left = Vec::with_capacity(rows.len());
        for row in rows.chunks_exact(dim) {
            left.extend(row.iter().zip(&self.shift).map(|(x, m)| f64::from(*x) - m));
        }
        for row in left.chunks_exact(dim) {
            for ((x, sum), squares) in row.iter().zip(&mut self.sum).zip(&mut self.squares) {
                *sum += x;
                *squares += x * x;
            }
        }
        self.rows += left.len() / dim;
        if let Some(products) = &mut self.products {
            add_products(products, left, dim);
        }
    }

    /// `[dim]`: the mean of each number; 0 of no rows.
    pub fn mean(&self) -> Vec<f64> {
        let mean = self.shift.iter().zip(self.left());
        mean.map(|(shift, left)| shift + left).collect()
    }

    /// `[dim]`: the standard deviation of each number, by the mean of squares over all rows; 0 of no rows.
    pub fn deviation(&self) -> Vec<f64> {
        self.variance().map(f64::sqrt).collect()
    }

    /// The mean square of all numbers of all rows; 0 of no rows.
    pub fn mean_square(&self) -> f64 {
        let squares = self.mean().into_iter().zip(self.variance());
        squares.map(|(m, v)| m * m + v).sum::<f64>() / self.dim.max(1) as f64
    }

    /// `[dim, dim]`, symmetric: the mean of the products of any two numbers' distances from their means; none
    /// if it was not wanted.
    pub fn covariance(&self) -> Option<Vec<f64>> {
        let products = self.products.as_ref()?;
        let (dim, count) = (self.dim, self.count());
        let left: Vec<f64> = self.left().collect();
        let entry = |i: usize, j: usize| {
            // Column by column, and what is below the diagonal is there.
            let (row, column) = (i.max(j), i.min(j));
            products[column * dim + row] / count - left[row] * left[column]
        };
        let entries = (0..dim).flat_map(|i| (0..dim).map(move |j| (i, j)));
        Some(entries.map(|(i, j)| entry(i, j)).collect())
    }

    fn count(&self) -> f64 {
        self.rows.max(1) as f64
    }

    /// The mean of what is left without the shift.
    fn left(&self) -> impl Iterator<Item = f64> {
        let count = self.count();
        self.sum.iter().map(move |sum| sum / count)
    }

    fn variance(&self) -> impl Iterator<Item = f64> {
        let squares = self.squares.iter().zip(self.left());
        let count = self.count();
        squares.map(move |(squares, left)| (squares / count - left * left).max(0.0))
    }
}

fn mean(rows: &[f32], dim: usize) -> Vec<f64> {
    let count = (rows.len() / dim) as f64;
    let mut mean = vec![0.0; dim];
    for row in rows.chunks_exact(dim) {
        for (sum, x) in mean.iter_mut().zip(row) {
            *sum += f64::from(*x);
        }
    }
    mean.iter().map(|sum| sum / count).collect()
}

/// Adds the products of any two numbers of each row, column by column, those below the diagonal at least.
fn add_products(products: &mut [f64], rows: Vec<f64>, dim: usize) {
    // Row by row is column by column of the transpose.
    let rows = DMatrix::from_vec(dim, rows.len() / dim, rows);
    let transposed = rows.transpose();
    let pieces = products.par_chunks_mut(dim * COLUMNS).enumerate();
    pieces.for_each(|(at, piece)| {
        let (first, columns) = (at * COLUMNS, piece.len() / dim);
        let mut piece = DMatrixViewMut::from_slice(piece, dim, columns);
        let below = dim - first;
        piece.rows_mut(first, below).gemm(
            1.0,
            &rows.rows(first, below),
            &transposed.columns(first, columns),
            1.0,
        );
    });
}

#[cfg(test)]
mod tests;
