use burn::tensor::{Tensor, backend::Backend};

use super::{comparisons::Comparisons, interpolation::Interpolation, products::products};
use crate::{Mixup, RecallBatch, backend::loss_of};

/// The loss of a batch, differentiable by Burn's autodiff.
///
/// Autodiff keeps every comparison: memory grows with n² times the class size. Of a
/// [`share`](RecallBatch::share) of a batch, its part of the loss; where no query has a positive, that is a
/// constant.
///
/// # Shapes
///
/// - embeddings: `[n, d]`
/// - output: `[1]`
pub fn loss<B: Backend>(embeddings: Tensor<B, 2>, batch: &RecallBatch) -> Tensor<B, 1> {
    let (device, dtype) = (embeddings.device(), embeddings.dtype());
    let mut similarities = products(embeddings.clone(), embeddings);
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

    let objective = batch.objective();
    let mut values = Vec::new();
    for block in batch.blocks(usize::MAX) {
        let block = block.to_device::<B>(&device, dtype);
        let own = block.own.clone().flatten(0, 1);
        let rows = similarities.clone().select(0, own);
        let ranks = Comparisons::new(rows, &block, objective).ranks();
        values.push(objective.value(ranks, &block));
    }
    let lonely = batch.counted_lonely().count();
    if lonely > 0 {
        values.push(Tensor::ones([lonely, 1], (&device, dtype)));
    }
    if values.is_empty() {
        return Tensor::zeros([1], (&device, dtype));
    }
    loss_of(Tensor::cat(values, 0).flatten(0, 1), batch)
}
