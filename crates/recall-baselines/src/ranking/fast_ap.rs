//! FastAP (Cakir et al., "Deep Metric Learning to Rank", CVPR 2019).

use burn::config::Config;
use burn::tensor::Tensor;
use recall_loss::RecallBackend;

use super::binned::{AveragePrecisions, Binned};
use crate::error::require;
use crate::pairs::with_itself;
use crate::rows::Bins;
use crate::{Batch, LossError, MetricLoss, PairLoss, Places};

/// Settings of FastAP; [`init`](Self::init) checks them.
#[derive(Config, Debug, PartialEq)]
pub struct FastApConfig {
    /// Number of intervals `L` between 0 and 4, the squared distances of unit vectors, from 1 to 16,383: the
    /// histogram has one edge more. Default 10.
    #[config(default = 10)]
    pub bins: usize,
}

impl FastApConfig {
    /// Checks the settings and makes the loss.
    ///
    /// # Errors
    ///
    /// [`LossError::Setting`].
    pub fn init(&self) -> Result<FastAp, LossError> {
        require(
            (1..Bins::MOST).contains(&self.bins),
            "bins",
            self.bins,
            "there must be 1 to 16383",
        )?;
        Ok(FastAp(self.clone()))
    }
}

/// `1 − mean_q AP_q` over soft histograms of distances; made by [`FastApConfig::init`].
///
/// `D = 2 − 2s` is shared by the two edges `z_l = 4l / L`, `l = 0…L`, that it lies between. With the histograms `h⁺` of
/// the positives and `h` of all others, and their sums `H⁺_l`, `H_l` up to an edge,
/// `AP_q = Σ_l h⁺_l H⁺_l / H_l / |P_q|`, without edges where `H_l = 0`.
///
/// Rows are of unit length, and derivatives those of `2 − 2s`. A query is never in its own list. Queries without
/// positives are left out; a batch without any positive is an error. The authors train with Adam at 10⁻⁵, on
/// batches half of one super-class and half of another.
///
/// Elsewhere: the hand-written gradient of kunhe/FastAP-metric-learning, the authors' code, is `n' / 2` times that of
/// the loss it returns, for `n'` queries with positives, whatever multiplies the loss. Adam does not mind; other
/// optimisers, and losses beside it, do. Here the gradient is that of the loss.
#[derive(Debug, Clone, PartialEq)]
pub struct FastAp(FastApConfig);

impl FastAp {
    /// The average precision of each query that has a positive, of embeddings `[n, d]` with `n` labels.
    ///
    /// # Errors
    ///
    /// [`LossError`] as from [`evaluate`](MetricLoss::evaluate).
    pub fn average_precisions<B: RecallBackend>(
        &self,
        embeddings: Tensor<B, 2>,
        labels: &[i64],
    ) -> Result<AveragePrecisions, LossError> {
        self.binned().average_precisions(embeddings, labels)
    }

    fn binned(&self) -> Binned {
        Binned {
            loss: "FastAP",
            // Distances from 0 up are similarities from 1 down.
            bins: Bins::new(self.0.bins + 1, 1.0, -2.0 / self.0.bins as f64),
            query_included: false,
        }
    }
}

impl<B: RecallBackend> MetricLoss<B> for FastAp {
    fn compares_similarities(&self) -> bool {
        true
    }

    fn evaluate(&self, batch: Batch<'_, B>) -> Result<Tensor<B, 1>, LossError> {
        with_itself(self, batch)
    }
}

impl<B: RecallBackend> PairLoss<B> for FastAp {
    fn between(
        &self,
        queries: Tensor<B, 2>,
        references: Tensor<B, 2>,
        places: &Places,
    ) -> Result<Tensor<B, 1>, LossError> {
        self.binned().between(queries, references, places)
    }
}
