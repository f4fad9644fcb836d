use recall_loss::RecallAtKLossConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
