//! A loss whose gradient Burn works out.

use std::marker::PhantomData;

use burn::tensor::Tensor;
use burn::tensor::backend::AutodiffBackend;
use recall_step::value_and_grad;

use super::embedding_loss::{EmbeddingLoss, LossFault, LossValue};

/// A loss as a function of embeddings `[n, d]` and their labels.
pub(crate) struct AutodiffLoss<B, F> {
    loss: F,
    backend: PhantomData<B>,
}

impl<B, F> AutodiffLoss<B, F>
where
    B: AutodiffBackend,
    F: Fn(Tensor<B, 2>, &[i64]) -> Tensor<B, 1>,
{
    pub fn new(loss: F) -> Self {
        Self {
            loss,
            backend: PhantomData,
        }
    }
}

impl<B, F> EmbeddingLoss<B::InnerBackend> for AutodiffLoss<B, F>
where
    B: AutodiffBackend,
    F: Fn(Tensor<B, 2>, &[i64]) -> Tensor<B, 1>,
{
    fn value_and_grad(
        &self,
        embeddings: Tensor<B::InnerBackend, 2>,
        labels: &[i64],
        _seed: u64,
    ) -> Result<LossValue<B::InnerBackend>, LossFault> {
        let (loss, grad) =
            value_and_grad::<B>(embeddings, |embeddings| (self.loss)(embeddings, labels));
        Ok(LossValue {
            loss,
            grad,
            recall: None,
        })
    }
}
