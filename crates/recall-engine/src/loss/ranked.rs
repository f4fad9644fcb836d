//! Losses over soft ranks, with similarity mixup: Recall@k and Smooth-AP.

use burn::tensor::{Int, Tensor, TensorData};
use recall_loss::{LossError, Mixup, Objective, RecallBackend};

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
        let mixup = self.mixup.then(|| Mixup::all_pairs(labels, seed));
        let device = embeddings.device();
        let rows = labels.len();
        let labels = TensorData::new(labels.to_vec(), [rows]);
        let labels = Tensor::<B, 1, Int>::from_data(labels, &device);
        let found = self.loss.value_and_grad(embeddings, labels, mixup.as_ref());
        let found = found.map_err(|error| match error {
            LossError::NonFinite { .. } => LossFault::NonFinite,
            refused => LossFault::Refused(Box::new(refused)),
        })?;
        // The queries that are images, not mixtures: they come first.
        let real = found.queries.iter().take_while(|&&query| query < rows);
        let recall = match (&self.loss, real.count()) {
            (Objective::RecallAtK(_), count @ 1..) => Some(found.recall.slice(0..count)),
            _ => None,
        };
        Ok(LossValue {
            loss: found.loss,
            grad: found.grad,
            recall,
        })
    }
}
