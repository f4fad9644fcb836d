//! From products of rows to squared distances.

use burn::tensor::{Tensor, backend::Backend};

use super::host::host_values;
use super::places::Place;

/// Rows on the host, for distances: their values and squared lengths.
pub(super) struct OnHost {
    queries: Vec<f32>,
    references: Vec<f32>,
    dim: usize,
    query_squares: Vec<f64>,
    reference_squares: Vec<f64>,
}

impl OnHost {
    /// Queries `[n, d]` and references `[m, d]`, in the order of their places.
    pub fn new<B: Backend>(queries: &Tensor<B, 2>, references: &Tensor<B, 2>) -> Self {
        let [_, dim] = queries.dims();
        let squares = |rows: &[f32]| -> Vec<f64> {
            let rows = rows.chunks(dim.max(1));
            rows.map(|row| row.iter().map(|&x| f64::from(x) * f64::from(x)).sum())
                .collect()
        };
        let queries = host_values(queries.clone());
        let references = host_values(references.clone());
        Self {
            query_squares: squares(&queries),
            reference_squares: squares(&references),
            queries,
            references,
            dim,
        }
    }

    /// Turns products into squared distances. Within a class, where they may be small, they are those of the
    /// differences.
    pub fn distances(&self, index: usize, place: &Place, row: &mut [f32]) {
        let square = self.query_squares[index];
        for (value, &other) in row.iter_mut().zip(&self.reference_squares) {
            *value = ((square + other) - 2.0 * f64::from(*value)).max(0.0) as f32;
        }
        let query = &self.queries[index * self.dim..(index + 1) * self.dim];
        for column in place.class.clone() {
            let other = &self.references[column * self.dim..(column + 1) * self.dim];
            let squares = query.iter().zip(other).map(|(&a, &b)| {
                let difference = f64::from(a) - f64::from(b);
                difference * difference
            });
            row[column] = squares.sum::<f64>() as f32;
        }
    }
}
