//! Proxy-NCA++ (Teh, DeVries and Taylor, "ProxyNCA++: Revisiting and Revitalizing Proxy Neighborhood Component
//! Analysis", ECCV 2020).

use burn::config::Config;
use burn::tensor::Tensor;
use recall_loss::RecallBackend;

use super::softmax::{Plain, mixed_softmax, softmax};
use super::{around_zero, proxies, proxies_of_both};
use crate::error::positive;
use crate::rows::Side;
use crate::{Batch, LossError, MetricLoss, Parameters};

/// Settings of Proxy-NCA++; [`init`](Self::init) checks them.
#[derive(Config, Debug, PartialEq)]
pub struct ProxyNcaPpConfig {
    /// What squared distances are divided by. Default 1/9.
    #[config(default = "1.0 / 9.0")]
    pub temperature: f64,
}

impl ProxyNcaPpConfig {
    /// Checks the settings and makes the loss.
    ///
    /// # Errors
    ///
    /// [`LossError::Setting`].
    pub fn init(&self) -> Result<ProxyNcaPp, LossError> {
        positive("temperature", self.temperature)?;
        Ok(ProxyNcaPp(self.clone()))
    }
}

/// `mean_i CE(softmax_c (−|ê_i − p̂_c|² / T), y_i)`; made by [`ProxyNcaPpConfig::init`], and trained by
/// [`Trained`](crate::Trained).
///
/// Rows and proxies may be of any length: both are normalised. Labels are the numbers of proxies. Lonely items
/// count like all others. What the authors change beside the loss is as important: global max pooling, a LayerNorm
/// without parameters, class-balanced batches, and proxies that learn at a much higher rate than the model.
///
/// Elsewhere: the authors' code states the temperature as the length `1/√T` of rows and proxies.
#[derive(Debug, Clone, PartialEq)]
pub struct ProxyNcaPp(ProxyNcaPpConfig);

impl ProxyNcaPp {
    /// Of `|ê − p̂|² = 2 − 2 ê·p̂` the first cancels.
    fn scale(&self) -> f64 {
        2.0 / self.0.temperature
    }
}

impl<B: RecallBackend> MetricLoss<B> for ProxyNcaPp {
    /// Around the origin with a standard deviation of 1/8, as the authors have it.
    fn parameters(&self, classes: usize, dim: usize) -> Option<Parameters> {
        around_zero(classes, dim, 0.125)
    }

    fn evaluate(&self, batch: Batch<'_, B>) -> Result<Tensor<B, 1>, LossError> {
        let proxies = Side::unit(proxies("Proxy-NCA++", &batch, 1)?);
        let rows = Side::unit(batch.embeddings);
        Ok(softmax(&Plain, self.scale(), rows, proxies, batch.labels))
    }

    fn evaluate_mixed(
        &self,
        batch: Batch<'_, B>,
        partners: &[i64],
        share: f64,
    ) -> Result<Tensor<B, 1>, LossError> {
        let proxies = Side::unit(proxies_of_both("Proxy-NCA++", &batch, partners)?);
        let labels = [batch.labels, partners];
        let rows = Side::unit(batch.embeddings);
        Ok(mixed_softmax(self.scale(), rows, proxies, labels, share))
    }
}
