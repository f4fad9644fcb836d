//! Losses that an engine trains with.

mod autodiff;
mod recall_at_k;

use std::error::Error;
use std::fmt;

use burn::tensor::{Tensor, backend::Backend};
use recall_loss::{LossError, RecallAtKLossConfig, RecallBackend};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use autodiff::AutodiffLoss;

/// A loss over the embeddings of a whole batch. It brings its gradient along, so that it need not be
/// one that Burn can differentiate; for one that is, see
/// [`OnDevice::with_autodiff_loss`](crate::OnDevice::with_autodiff_loss).
pub trait EmbeddingLoss<B: Backend> {
    /// The loss of embeddings `[n, d]` and its gradient with respect to them. `labels` are the classes of
    /// the rows; whatever is random is drawn from `seed`.
    ///
    /// # Errors
    ///
    /// [`LossFault`].
    fn value_and_grad(
        &self,
        embeddings: Tensor<B, 2>,
        labels: &[i64],
        seed: u64,
    ) -> Result<LossValue<B>, LossFault>;
}

/// What a loss comes to on a batch.
#[derive(Debug, Clone)]
pub struct LossValue<B: Backend> {
    /// The loss, `[1]`.
    pub loss: Tensor<B, 1>,
    /// Its gradient with respect to the embeddings, `[n, d]`.
    pub grad: Tensor<B, 2>,
    /// The soft recall of each item of the batch that has a positive, `[queries]`, if the loss is a
    /// surrogate of recall.
    pub recall: Option<Tensor<B, 1>>,
}

/// Why a loss has no value.
#[derive(Debug)]
pub enum LossFault {
    /// Embeddings or their similarities are not finite.
    NonFinite,
    /// It refuses the batch.
    Refused(Box<dyn Error + Send + Sync>),
}

impl fmt::Display for LossFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NonFinite => f.write_str("the embeddings are not finite"),
            Self::Refused(why) => why.fmt(f),
        }
    }
}

impl Error for LossFault {}

/// The Recall@k surrogate; see `recall_loss::RecallAtKLossConfig`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LossConfig {
    /// The values of k whose recall is averaged.
    #[schemars(inner(range(min = 1)))]
    pub ks: Vec<usize>,
    /// Temperature of the soft count, one for all k or one for each.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub tau_k: Vec<f64>,
    /// Temperature of the soft rank.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub tau_rank: f64,
    /// Whether a query's similarity to itself takes part in its ranks, as in the released code.
    pub query_in_rank: bool,
    /// Whether the soft count is capped at k.
    pub cap_at_k: bool,
    /// Queries handled at once.
    #[schemars(range(min = 1))]
    pub block_size: usize,
    /// Whether all pairs within a class are mixed into virtual items (SiMix).
    pub mixup: bool,
}

impl LossConfig {
    /// The loss on the backend `B`.
    ///
    /// # Errors
    ///
    /// [`LossError`] if the settings make no sense.
    pub fn init<B: RecallBackend>(&self) -> Result<Box<dyn EmbeddingLoss<B>>, LossError> {
        Ok(Box::new(recall_at_k::RecallAtK::new(self)?))
    }

    /// The settings of the loss itself.
    pub fn surrogate(&self) -> RecallAtKLossConfig {
        RecallAtKLossConfig {
            ks: self.ks.clone(),
            tau_k: self.tau_k.clone(),
            tau_rank: self.tau_rank,
            query_in_rank: self.query_in_rank,
            cap_at_k: self.cap_at_k,
            block_size: self.block_size,
        }
    }
}

impl Default for LossConfig {
    fn default() -> Self {
        let RecallAtKLossConfig {
            ks,
            tau_k,
            tau_rank,
            query_in_rank,
            cap_at_k,
            block_size,
        } = RecallAtKLossConfig::new();
        Self {
            ks,
            tau_k,
            tau_rank,
            query_in_rank,
            cap_at_k,
            block_size,
            mixup: true,
        }
    }
}
