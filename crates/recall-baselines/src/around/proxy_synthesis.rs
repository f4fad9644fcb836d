//! Proxy Synthesis (Gu, Ko and Kim, "Proxy Synthesis: Learning with Synthetic Classes for Deep Metric Learning",
//! AAAI 2021).

use burn::config::Config;
use burn::tensor::Tensor;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use recall_loss::RecallBackend;

use super::beta::beta;
use crate::dense::{ordered, unit};
use crate::error::{positive, require};
use crate::proxies::proxies;
use crate::{Batch, LossError, MetricLoss, Parameters};

/// Settings of Proxy Synthesis; [`init`](Self::init) checks them.
#[derive(Config, Debug, PartialEq)]
pub struct ProxySynthesisConfig {
    /// Parameter of the beta distribution that λ is drawn from. Default 0.4.
    #[config(default = 0.4)]
    pub alpha: f64,
    /// μ, the number of synthetic items for each item, from 0 to 1. Default 1.
    #[config(default = 1.0)]
    pub mu: f64,
}

impl ProxySynthesisConfig {
    /// Checks the settings and puts the synthesis around a loss with one proxy a class. The authors put it around
    /// [`NormSoftmax`](crate::NormSoftmax) with a temperature of 1/23 and
    /// [`ProxyNca`](crate::ProxyNca) with `positive_in_sum` and lengths of √12.
    ///
    /// # Errors
    ///
    /// [`LossError::Setting`].
    pub fn init<L>(&self, loss: L) -> Result<ProxySynthesis<L>, LossError> {
        positive("alpha", self.alpha)?;
        require(
            (0.0..=1.0).contains(&self.mu),
            "mu",
            self.mu,
            "it must be from 0 to 1",
        )?;
        Ok(ProxySynthesis {
            config: self.clone(),
            loss,
        })
    }
}

/// The loss of a batch with synthetic items of synthetic classes: row `i` mixed with the row before it,
/// `λ ê_i + (1 − λ) ê_{i−1}`, has a proxy of its own, `λ p̂_{y_i} + (1 − λ) p̂_{y_{i−1}}`; both are made unit length
/// again. One `λ ~ Beta(α, α)` is drawn a batch. Made by [`ProxySynthesisConfig::init`], and trained by
/// [`Trained`](crate::Trained).
///
/// Rows and proxies may be of any length: both are normalised. Before the first row comes the last. Where the row
/// before is of the same class there is no new class between them, and nothing is made: put items in an order in
/// which neighbours differ. With μ below 1 only the first `⌊μn⌋` rows are mixed. Synthetic proxies are
/// negatives of the real items, too. Lonely items count like all others.
///
/// Elsewhere: the authors' code does not look whether neighbours differ, so that rows of one class get a second
/// proxy, which is pushed away from their own.
#[derive(Debug, Clone, PartialEq)]
pub struct ProxySynthesis<L> {
    config: ProxySynthesisConfig,
    loss: L,
}

impl<L> ProxySynthesis<L> {
    /// The λ that a seed draws.
    ///
    /// # Errors
    ///
    /// [`LossError::Setting`] if it cannot be drawn.
    pub fn lambda(&self, seed: u64) -> Result<f64, LossError> {
        beta(self.config.alpha, &mut ChaCha8Rng::seed_from_u64(seed))
    }

    /// The rows of a batch that are mixed with the one before them.
    pub fn mixed(&self, labels: &[i64]) -> Vec<usize> {
        let count = (labels.len() as f64 * self.config.mu) as usize;
        (0..count)
            .filter(|&row| labels[row] != labels[before(row, labels.len())])
            .collect()
    }

    /// The loss with a given λ, from 0 to 1.
    ///
    /// # Errors
    ///
    /// As [`MetricLoss::evaluate`].
    pub fn evaluate_with<B: RecallBackend>(
        &self,
        batch: Batch<'_, B>,
        lambda: f64,
    ) -> Result<Tensor<B, 1>, LossError>
    where
        L: MetricLoss<B>,
    {
        require(
            (0.0..=1.0).contains(&lambda),
            "lambda",
            lambda,
            "it must be from 0 to 1",
        )?;
        let of_one_class = self.loss.parameters(1, 1);
        if of_one_class.is_none_or(|proxies| proxies.shape != [1, 1]) {
            return Err(LossError::Mixture(
                "Proxy Synthesis goes around losses with one proxy a class".into(),
            ));
        }
        let proxies = proxies("Proxy Synthesis", &batch, 1)?;
        let [classes, _] = proxies.dims();
        let (rows, proxies) = (unit(batch.embeddings), unit(proxies));
        let items = batch.labels.len();
        let first = self.mixed(batch.labels);
        let second: Vec<usize> = first.iter().map(|&row| before(row, items)).collect();
        let mix = |of: &Tensor<B, 2>, first: &[usize], second: &[usize]| {
            let part = ordered(of.clone(), first).mul_scalar(lambda);
            unit(part + ordered(of.clone(), second).mul_scalar(1.0 - lambda))
        };
        let class = |row: &usize| batch.labels[*row] as usize;
        let owns: Vec<usize> = first.iter().map(class).collect();
        let others: Vec<usize> = second.iter().map(class).collect();
        let (embeddings, parameters) = match first.is_empty() {
            true => (rows, proxies),
            false => {
                let synthetic = mix(&rows, &first, &second);
                let between = mix(&proxies, &owns, &others);
                (
                    Tensor::cat(vec![rows, synthetic], 0),
                    Tensor::cat(vec![proxies, between], 0),
                )
            }
        };
        let new = (classes..classes + first.len()).map(|label| label as i64);
        let labels: Vec<i64> = batch.labels.iter().copied().chain(new).collect();
        self.loss.evaluate(Batch {
            embeddings,
            labels: &labels,
            parameters: Some(parameters),
            seed: batch.seed,
        })
    }
}

/// The row before one, in a ring.
fn before(row: usize, rows: usize) -> usize {
    (row + rows - 1) % rows
}

impl<B: RecallBackend, L: MetricLoss<B>> MetricLoss<B> for ProxySynthesis<L> {
    /// Those of the loss inside.
    fn parameters(&self, classes: usize, dim: usize) -> Option<Parameters> {
        self.loss.parameters(classes, dim)
    }

    fn evaluate(&self, batch: Batch<'_, B>) -> Result<Tensor<B, 1>, LossError> {
        let lambda = self.lambda(batch.seed)?;
        self.evaluate_with(batch, lambda)
    }
}
