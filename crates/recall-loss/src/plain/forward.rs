use burn::tensor::{Tensor, backend::Backend};

use super::interpolation::Interpolation;
use crate::{Mixup, RecallBatch};

/// The loss of a batch, differentiable by Burn's autodiff.
///
/// Autodiff keeps every comparison: memory grows with n² times the class size.
///
/// # Shapes
///
/// - embeddings: `[n, d]`
/// - output: `[1]`
pub fn loss<B: Backend>(embeddings: Tensor<B, 2>, batch: &RecallBatch) -> Tensor<B, 1> {
    let (device, dtype) = (embeddings.device(), embeddings.dtype());
    let mut similarities = embeddings.clone().matmul(embeddings.transpose());
    if let Some(Mixup {
        first,
        second,
        alpha,
    }) = batch.mixup()
    {
        for dim in [0, 1] {
            let mixed = Interpolation::new(dim, first, second, alpha.clone(), &device, dtype)
                .mix(similarities.clone());
            similarities = Tensor::cat(vec![similarities, mixed], dim);
        }
    }

    let mut recalls = Vec::new();
    for block in batch.blocks(usize::MAX) {
        let block = block.to_device::<B>(&device, dtype);
        let own = block.own.clone().flatten(0, 1);
        let rows = batch
            .loss()
            .exclude_query(similarities.clone().select(0, own), &block);
        let ranks = batch.loss().soft_ranks(rows, &block);
        recalls.push(batch.loss().soft_recall(ranks, &block));
    }
    Tensor::cat(recalls, 0).mean().neg().add_scalar(1.0)
}
