//! Embeddings of another length than 1.

use burn::tensor::Tensor;
use recall_baselines::{Batch, LossError, MetricLoss, Parameters};
use recall_loss::RecallBackend;

/// A loss of rows that are not normalised, of embeddings that are: they are brought to one length, which takes the
/// place of the lengths that a model without the last normalisation would have.
pub(super) struct Longer<L> {
    pub loss: L,
    pub length: f64,
}

impl<B: RecallBackend, L: MetricLoss<B>> MetricLoss<B> for Longer<L> {
    fn parameters(&self, classes: usize, dim: usize) -> Option<Parameters> {
        self.loss.parameters(classes, dim)
    }

    fn evaluate(&self, batch: Batch<'_, B>) -> Result<Tensor<B, 1>, LossError> {
        self.loss.evaluate(Batch {
            embeddings: batch.embeddings.mul_scalar(self.length),
            ..batch
        })
    }
}
