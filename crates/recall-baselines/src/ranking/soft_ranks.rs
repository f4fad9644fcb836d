//! The losses of `recall-loss`, the Recall@k surrogate and Smooth-AP, as two of the losses of this crate.

use burn::tensor::{Int, Tensor, TensorData, backend::Backend};
use recall_loss::{RecallAtKLoss, RecallBackend, SmoothAp};

use crate::{Batch, LossError, MetricLoss};

impl<B: RecallBackend> MetricLoss<B> for RecallAtKLoss {
    fn compares_similarities(&self) -> bool {
        true
    }

    fn evaluate(&self, batch: Batch<'_, B>) -> Result<Tensor<B, 1>, LossError> {
        let labels = labels(&batch)?;
        Ok(RecallAtKLoss::forward(self, batch.embeddings, labels)?)
    }
}

impl<B: RecallBackend> MetricLoss<B> for SmoothAp {
    fn compares_similarities(&self) -> bool {
        true
    }

    fn evaluate(&self, batch: Batch<'_, B>) -> Result<Tensor<B, 1>, LossError> {
        let labels = labels(&batch)?;
        Ok(SmoothAp::forward(self, batch.embeddings, labels)?)
    }
}

fn labels<B: Backend>(batch: &Batch<'_, B>) -> Result<Tensor<B, 1, Int>, LossError> {
    let [count, _] = batch.dims()?;
    let labels = TensorData::new(batch.labels.to_vec(), [count]);
    Ok(Tensor::from_data(labels, &batch.embeddings.device()))
}
