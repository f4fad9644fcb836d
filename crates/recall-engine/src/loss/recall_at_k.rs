//! The surrogate of Recall@k, with similarity mixup.

use burn::tensor::{Int, Tensor, TensorData};
use recall_loss::{LossError, Mixup, RecallAtKLoss, RecallBackend};

use super::config::LossConfig;
use super::embedding_loss::{EmbeddingLoss, LossFault, LossValue};

pub(super) struct RecallAtK {
    loss: RecallAtKLoss,
    mixup: bool,
}

impl RecallAtK {
    pub fn new(config: &LossConfig) -> Result<Self, LossError> {
        Ok(Self {
            loss: config.surrogate().init()?,
            mixup: config.mixup,
        })
    }
}

impl<B: RecallBackend> EmbeddingLoss<B> for RecallAtK {
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
        let found = self
            .loss
            .value_and_grad(embeddings, labels, mixup.as_ref())
            .map_err(|error| match error {
                LossError::NonFinite { .. } => LossFault::NonFinite,
                refused => LossFault::Refused(Box::new(refused)),
            })?;
        // The queries that are images, not mixtures: they come first.
        let real = found.queries.iter().take_while(|&&query| query < rows);
        let recall = match real.count() {
            0 => None,
            count => Some(found.recall.slice(0..count)),
        };
        Ok(LossValue {
            loss: found.loss,
            grad: found.grad,
            recall,
        })
    }
}
