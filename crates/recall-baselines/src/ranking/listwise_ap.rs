//! Listwise average precision with quantised bins (Revaud et al., "Learning with Average Precision: Training Image
//! Retrieval with a Listwise Loss", ICCV 2019).

use burn::config::Config;
use burn::tensor::Tensor;
use recall_loss::RecallBackend;

use super::binned::{AveragePrecisions, Binned};
use crate::error::{finite, require};
use crate::pairs::with_itself;
use crate::rows::Bins;
use crate::{Batch, LossError, MetricLoss, PairLoss, Places};

/// Settings of listwise AP; [`init`](Self::init) checks them.
#[derive(Config, Debug, PartialEq)]
pub struct ListwiseApConfig {
    /// Number of bins, from 2 to 16,384. Default 20.
    #[config(default = 20)]
    pub bins: usize,
    /// Similarity at the centre of the last bin, which also has everything below. Default −1.
    #[config(default = -1.0)]
    pub low: f64,
    /// Similarity at the centre of the first bin, which also has everything above. Default 1.
    #[config(default = 1.0)]
    pub high: f64,
    /// Whether a query is in its own list, as one of its positives. Default true, as in the formula of the
    /// authors, which ranks the whole batch.
    #[config(default = true)]
    pub query_included: bool,
}

impl ListwiseApConfig {
    /// The settings of the released code, 25 bins from 0 to 1: all negative similarities fall into one bin.
    pub fn released() -> Self {
        Self::new().with_bins(25).with_low(0.0)
    }

    /// Checks the settings and makes the loss.
    ///
    /// # Errors
    ///
    /// [`LossError::Setting`].
    pub fn init(&self) -> Result<ListwiseAp, LossError> {
        require(
            (2..=Bins::MOST).contains(&self.bins),
            "bins",
            self.bins,
            "there must be 2 to 16384",
        )?;
        finite("low", self.low)?;
        finite("high", self.high)?;
        require(
            self.low < self.high,
            "low",
            self.low,
            "it must be below `high`",
        )?;
        Ok(ListwiseAp(self.clone()))
    }
}

/// `1 − mean_q AP_q` over soft histograms of similarities; made by [`ListwiseApConfig::init`].
///
/// With `M` bins at `b_m = high − mΔ`, `Δ = (high − low) / (M − 1)`, and weights `w_m(s) = [1 − |s − b_m| / Δ]₊`
/// whose sums over positives and over all are `c⁺_m` and `c_m`,
/// `AP_q = Σ_m (Σ_{l≤m} c⁺_l / Σ_{l≤m} c_l) · c⁺_m / Σ c⁺`.
///
/// Rows are of unit length. Queries without positives are left out; a batch without any positive is an error. A
/// query in its own list has the constant similarity 1. The released code takes scores from its caller, so
/// there the query is in the list or not, as the caller likes; results with and without are not comparable.
///
/// Elsewhere: naver/deep-image-retrieval, the authors' code, has 25 bins on `[0, 1]` where the paper has 20 on
/// `[−1, 1]`; it lets the query's own similarity have a gradient, which is purely along the query.
#[derive(Debug, Clone, PartialEq)]
pub struct ListwiseAp(ListwiseApConfig);

impl ListwiseAp {
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
        let config = &self.0;
        let step = (config.low - config.high) / (config.bins - 1) as f64;
        Binned {
            loss: "listwise AP",
            bins: Bins::new(config.bins, config.high, step),
            query_included: config.query_included,
        }
    }
}

impl<B: RecallBackend> MetricLoss<B> for ListwiseAp {
    fn compares_similarities(&self) -> bool {
        true
    }

    fn evaluate(&self, batch: Batch<'_, B>) -> Result<Tensor<B, 1>, LossError> {
        with_itself(self, batch)
    }
}

impl<B: RecallBackend> PairLoss<B> for ListwiseAp {
    fn between(
        &self,
        queries: Tensor<B, 2>,
        references: Tensor<B, 2>,
        places: &Places,
    ) -> Result<Tensor<B, 1>, LossError> {
        self.binned().between(queries, references, places)
    }
}
