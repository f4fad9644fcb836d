//! Normalised softmax (Zhai and Wu, "Classification is a Strong Baseline for Deep Metric Learning", BMVC 2019).

use burn::config::Config;
use burn::tensor::Tensor;
use recall_loss::RecallBackend;

use super::softmax::{Plain, mixed_softmax, softmax};
use super::{around_zero, proxies, proxies_of_both};
use crate::error::positive;
use crate::rows::Side;
use crate::{Batch, LossError, MetricLoss, Parameters};

/// Settings of the normalised softmax; [`init`](Self::init) checks them.
#[derive(Config, Debug, PartialEq)]
pub struct NormSoftmaxConfig {
    /// What similarities are divided by. Default 0.05.
    #[config(default = 0.05)]
    pub temperature: f64,
}

impl NormSoftmaxConfig {
    /// Checks the settings and makes the loss.
    ///
    /// # Errors
    ///
    /// [`LossError::Setting`].
    pub fn init(&self) -> Result<NormSoftmax, LossError> {
        positive("temperature", self.temperature)?;
        Ok(NormSoftmax(self.clone()))
    }
}

/// `mean_i CE(softmax_c (e_i · p̂_c / T), y_i)` with proxies `p` of unit length; made by
/// [`NormSoftmaxConfig::init`], and trained by [`Trained`](crate::Trained).
///
/// Rows are of unit length and are not normalised again; the proxies are. Labels are the numbers of proxies. The
/// authors put a LayerNorm before the unit length and draw class-balanced batches of 75.
#[derive(Debug, Clone, PartialEq)]
pub struct NormSoftmax(NormSoftmaxConfig);

impl NormSoftmax {
    fn scale(&self) -> f64 {
        1.0 / self.0.temperature
    }
}

impl<B: RecallBackend> MetricLoss<B> for NormSoftmax {
    fn parameters(&self, classes: usize, dim: usize) -> Option<Parameters> {
        around_zero(classes, dim, 1.0 / (dim.max(1) as f64).sqrt())
    }

    fn evaluate(&self, batch: Batch<'_, B>) -> Result<Tensor<B, 1>, LossError> {
        let proxies = Side::unit(proxies("norm-softmax", &batch, 1)?);
        let loss = softmax(
            &Plain,
            self.scale(),
            batch.embeddings,
            proxies,
            batch.labels,
        );
        Ok(loss)
    }

    fn evaluate_mixed(
        &self,
        batch: Batch<'_, B>,
        partners: &[i64],
        share: f64,
    ) -> Result<Tensor<B, 1>, LossError> {
        let proxies = Side::unit(proxies_of_both("norm-softmax", &batch, partners)?);
        let labels = [batch.labels, partners];
        let rows = batch.embeddings;
        Ok(mixed_softmax(self.scale(), rows, proxies, labels, share))
    }
}
