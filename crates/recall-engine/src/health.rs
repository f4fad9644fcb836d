//! Whether embeddings came out well: finite, and different from each other.

use burn::tensor::{Tensor, backend::Backend};

/// The mean similarity of any two rows of `[n, d]`, each with itself included: the squared length of
/// their mean.
pub(crate) fn mean_similarity<B: Backend>(embeddings: Tensor<B, 2>) -> f64 {
    let mean = embeddings.mean_dim(0);
    let squared = (mean.clone() * mean).sum().into_data();
    squared.iter::<f64>().sum()
}

/// The rows with a number that is not finite.
pub(crate) fn broken_rows<B: Backend>(embeddings: Tensor<B, 2>) -> Vec<usize> {
    let [_, dim] = embeddings.dims();
    let values: Vec<f32> = embeddings.into_data().iter::<f32>().collect();
    let rows = values.chunks_exact(dim).enumerate();
    rows.filter(|(_, row)| row.iter().any(|x| !x.is_finite()))
        .map(|(at, _)| at)
        .collect()
}
