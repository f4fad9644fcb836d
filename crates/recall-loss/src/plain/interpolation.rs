use burn::tensor::{DType, IndexingUpdateOp, Int, Tensor, backend::Backend};

use super::blocks::{floats, ints};

/// Mixtures `α · a + (1 − α) · b` of rows (`dim` 0) or columns (`dim` 1) of a matrix, and the
/// transposed map that carries a gradient of the mixtures back to what was mixed.
#[derive(Debug, Clone)]
pub(crate) struct Interpolation<B: Backend> {
    dim: usize,
    first: Tensor<B, 1, Int>,
    second: Tensor<B, 1, Int>,
    alpha: Tensor<B, 2>,
}

impl<B: Backend> Interpolation<B> {
    pub(crate) fn new(
        dim: usize,
        first: &[usize],
        second: &[usize],
        alpha: Vec<f64>,
        device: &B::Device,
        dtype: DType,
    ) -> Self {
        let mut shape = [1, 1];
        shape[dim] = alpha.len();
        Self {
            dim,
            first: ints(first, device),
            second: ints(second, device),
            alpha: floats(alpha, device, dtype).reshape(shape),
        }
    }

    /// The mixtures of `matrix`.
    pub(crate) fn mix(&self, matrix: Tensor<B, 2>) -> Tensor<B, 2> {
        let first = matrix.clone().select(self.dim, self.first.clone());
        let second = matrix.select(self.dim, self.second.clone());
        first * self.alpha.clone() + second * self.rest()
    }

    /// Adds to `target` what a gradient of the mixtures means for the matrix that was mixed.
    pub(crate) fn add_transposed(
        &self,
        target: Tensor<B, 2>,
        gradient: Tensor<B, 2>,
    ) -> Tensor<B, 2> {
        let first = gradient.clone() * self.alpha.clone();
        let second = gradient * self.rest();
        target
            .select_assign(self.dim, self.first.clone(), first, IndexingUpdateOp::Add)
            .select_assign(self.dim, self.second.clone(), second, IndexingUpdateOp::Add)
    }

    fn rest(&self) -> Tensor<B, 2> {
        self.alpha.clone().neg().add_scalar(1.0)
    }
}
