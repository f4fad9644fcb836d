//! The embeddings of some rows side by side, as matrix products read them.

use super::setting::Setting;
use crate::kernels::product::Matrix;

/// The rows of one side of a tile, or of a class. Those of a whole batch were put in the order of classes
/// once and are read where they lie. A share has no such copy and takes its rows together a tile at a time: few
/// numbers beside the product of a tile, and not another batch in memory.
#[derive(Default)]
pub(super) struct Side {
    taken: Vec<f32>,
}

impl Side {
    /// Makes the embeddings of some rows, neighbours unless it is for a share, ready to be read.
    pub(super) fn take(&mut self, setting: &Setting<'_>, rows: &[usize]) {
        let Some(order) = setting.order else { return };
        let dim = setting.dim;
        self.taken.clear();
        for &row in rows {
            let start = order[row] * dim;
            self.taken
                .extend_from_slice(&setting.embeddings[start..start + dim]);
        }
    }

    /// `[rows, dim]`: those that were taken last.
    pub(super) fn values<'a>(&'a self, setting: &Setting<'a>, rows: &[usize]) -> &'a [f32] {
        match (setting.order, rows.first()) {
            (None, Some(first)) => {
                &setting.embeddings[first * setting.dim..][..rows.len() * setting.dim]
            }
            _ => &self.taken,
        }
    }
    /// The same as a matrix.
    pub(super) fn matrix<'a>(&'a self, setting: &Setting<'a>, rows: &[usize]) -> Matrix<'a> {
        let (values, dim) = (self.values(setting, rows), setting.dim);
        Matrix::new(values, rows.len(), dim, dim)
    }
}
