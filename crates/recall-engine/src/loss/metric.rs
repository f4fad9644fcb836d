//! The losses of `recall-baselines`, which Burn differentiates, in graphs of their own.

use burn::tensor::Tensor;
use recall_baselines::{Batch, LossError, check_finite};

use super::embedding_loss::{LossFault, LossValue};
use crate::EngineBackend;

/// A value with its gradients with respect to embeddings and parameters.
pub(super) type WithGradients<B> = (LossValue<B>, Option<Tensor<B, 2>>);

/// The loss of a batch, its gradient with respect to the embeddings, and that with respect to what the loss
/// trains.
pub(super) fn value_and_grad<B: EngineBackend>(
    evaluate: impl FnOnce(Batch<'_, B>) -> Result<Tensor<B, 1>, LossError>,
    embeddings: Tensor<B::InnerBackend, 2>,
    labels: &[i64],
    parameters: Option<Tensor<B::InnerBackend, 2>>,
    seed: u64,
) -> Result<WithGradients<B::InnerBackend>, LossFault> {
    check_finite(&embeddings).map_err(fault)?;
    let leaf =
        |values: Tensor<B::InnerBackend, 2>| Tensor::<B, 2>::from_inner(values).require_grad();
    let (embeddings, parameters) = (leaf(embeddings), parameters.map(leaf));
    let value = evaluate(Batch {
        embeddings: embeddings.clone(),
        labels,
        parameters: parameters.clone(),
        seed,
    })
    .map_err(fault)?;
    // Burn's backward pass panics for a value that is in no graph. This puts it there.
    let zero = embeddings.clone().slice([0..1, 0..1]).mul_scalar(0.0);
    let mut gradients = (value.clone() + zero.reshape([1])).backward();
    let mut gradient = |of: &Tensor<B, 2>| {
        let found = of.grad_remove(&mut gradients);
        found.unwrap_or_else(|| of.clone().inner().zeros_like())
    };
    let found = LossValue {
        loss: value.inner(),
        grad: gradient(&embeddings),
        recall: None,
    };
    Ok((found, parameters.as_ref().map(gradient)))
}

/// What an engine makes of a refusal.
fn fault(error: LossError) -> LossFault {
    match error {
        LossError::NonFinite { .. }
        | LossError::Ranking(recall_loss::LossError::NonFinite { .. }) => LossFault::NonFinite,
        refused => LossFault::Refused(Box::new(refused)),
    }
}
