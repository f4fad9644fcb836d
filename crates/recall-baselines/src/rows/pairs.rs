//! Given pairs of rows.

/// Rows `[n, dim]`, one behind the other, and pairs of them: anchor and positive.
#[derive(Clone, Copy)]
pub(crate) struct RowPairs<'a> {
    pub rows: &'a [f32],
    pub dim: usize,
    pub pairs: &'a [[usize; 2]],
}

impl<'a> RowPairs<'a> {
    pub fn row(&self, row: usize) -> &'a [f32] {
        &self.rows[row * self.dim..(row + 1) * self.dim]
    }

    /// The numbers of each pair.
    pub fn each(&self) -> impl Iterator<Item = [&'a [f32]; 2]> {
        let own = *self;
        self.pairs
            .iter()
            .map(move |pair| pair.map(|row| own.row(row)))
    }

    /// Adds to the gradient of a row `factor` times a vector.
    pub fn add(&self, gradient: &mut [f32], row: usize, factor: f32, vector: &[f32]) {
        let gradient = &mut gradient[row * self.dim..(row + 1) * self.dim];
        for (sum, &x) in gradient.iter_mut().zip(vector) {
            *sum += factor * x;
        }
    }
}
