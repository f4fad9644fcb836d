//! Losses over soft ranks, with similarity mixup: Recall@k and Smooth-AP.

use std::ops::Range;

use burn::tensor::{Int, Tensor, TensorData};
use recall_loss::{LossAndGrad, LossError, Mixup, Objective, RecallBackend};

use super::embedding_loss::{EmbeddingLoss, LossFault, LossValue};

pub(super) struct Ranked {
    pub loss: Objective,
    pub mixup: bool,
}

impl<B: RecallBackend> EmbeddingLoss<B> for Ranked {
    fn value_and_grad(
        &self,
        embeddings: Tensor<B, 2>,
        labels: &[i64],
        seed: u64,
    ) -> Result<LossValue<B>, LossFault> {
        let mixup = self.mixup(labels, seed);
        let classes = classes(labels, &embeddings);
        let found = self
            .loss
            .value_and_grad(embeddings, classes, mixup.as_ref());
        self.value(found, labels.len())
    }

    fn value_and_grad_of(
        &self,
        queries: Range<usize>,
        embeddings: Tensor<B, 2>,
        labels: &[i64],
        seed: u64,
    ) -> Option<Result<LossValue<B>, LossFault>> {
        let mixup = self.mixup(labels, seed);
        let classes = classes(labels, &embeddings);
        let found = (self.loss).value_and_grad_of(queries, embeddings, classes, mixup.as_ref());
        Some(self.value(found, labels.len()))
    }
}

impl Ranked {
    fn mixup(&self, labels: &[i64], seed: u64) -> Option<Mixup> {
        self.mixup.then(|| Mixup::all_pairs(labels, seed))
    }

    /// What was found of a batch of so many rows, or of some of them.
    fn value<B: RecallBackend>(
        &self,
        found: Result<LossAndGrad<B>, LossError>,
        rows: usize,
    ) -> Result<LossValue<B>, LossFault> {
        let found = found.map_err(|error| match error {
            LossError::NonFinite { .. } => LossFault::NonFinite,
            refused => LossFault::Refused(Box::new(refused)),
        })?;
        let recall = matches!(self.loss, Objective::RecallAtK(_)).then(|| {
            // The queries that are images, not mixtures: they come first. A share may have none.
            let real = found.queries.iter().take_while(|&&query| query < rows);
            match real.count() {
                count if count == found.queries.len() => found.recall,
                0 => {
                    let options = (&found.recall.device(), found.recall.dtype());
                    Tensor::from_data(TensorData::new(Vec::<f32>::new(), [0]), options)
                }
                count => found.recall.slice(0..count),
            }
        });
        Ok(LossValue {
            loss: found.loss,
            grad: found.grad,
            recall,
        })
    }
}

/// Labels beside the embeddings.
fn classes<B: RecallBackend>(labels: &[i64], embeddings: &Tensor<B, 2>) -> Tensor<B, 1, Int> {
    let labels = TensorData::new(labels.to_vec(), [labels.len()]);
    Tensor::from_data(labels, &embeddings.device())
}
