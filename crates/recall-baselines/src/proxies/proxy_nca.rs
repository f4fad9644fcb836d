//! Proxy-NCA (Movshovitz-Attias et al., "No Fuss Distance Metric Learning using Proxies", ICCV 2017).

use burn::config::Config;
use burn::tensor::Tensor;
use recall_loss::RecallBackend;

use super::softmax::{Plain, log_sum_exp, log_sums, softmax};
use super::{around_zero, other_classes, proxies};
use crate::dense::{Dense, NOTHING, only};
use crate::error::{positive, require};
use crate::rows::{Found, Measure, Place, RowLoss, Side, Sides, Term, lanes, rows, suit, walk};
use crate::{Batch, LossError, MetricLoss, Parameters, Places};

/// Settings of Proxy-NCA; [`init`](Self::init) checks them.
#[derive(Config, Debug, PartialEq)]
pub struct ProxyNcaConfig {
    /// Length `a` that rows are given. The paper states none. Default 3, that of re-implementations.
    #[config(default = 3.0)]
    pub embedding_length: f64,
    /// Length `b` that proxies are given. Default 3, too.
    #[config(default = 3.0)]
    pub proxy_length: f64,
    /// Whether the own proxy is in the sum. It is not in the paper, and is in most code. Default false.
    #[config(default = false)]
    pub positive_in_sum: bool,
    /// Part of the target that is spread evenly over the other classes, with the own proxy in the sum. Default 0.
    #[config(default = 0.0)]
    pub smoothing: f64,
}

impl ProxyNcaConfig {
    /// What a widely used re-implementation (dichotomies/proxy-nca) trains on CUB and Cars: a softmax over all
    /// proxies, lengths 3 and 3, targets smoothed by 0.1.
    pub fn smoothed() -> Self {
        Self::new().with_positive_in_sum(true).with_smoothing(0.1)
    }

    /// What it trains on Stanford Online Products: the same with rows of length 1 and proxies of length 8.
    pub fn smoothed_long_proxies() -> Self {
        Self::smoothed()
            .with_embedding_length(1.0)
            .with_proxy_length(8.0)
    }

    /// The form of pytorch-metric-learning: lengths 1, the own proxy in the sum.
    pub fn short() -> Self {
        Self::new()
            .with_embedding_length(1.0)
            .with_proxy_length(1.0)
            .with_positive_in_sum(true)
    }

    /// Checks the settings and makes the loss.
    ///
    /// # Errors
    ///
    /// [`LossError::Setting`].
    pub fn init(&self) -> Result<ProxyNca, LossError> {
        positive("embedding_length", self.embedding_length)?;
        positive("proxy_length", self.proxy_length)?;
        require(
            (0.0..1.0).contains(&self.smoothing),
            "smoothing",
            self.smoothing,
            "it must be from 0 and below 1",
        )?;
        require(
            self.smoothing == 0.0 || self.positive_in_sum,
            "smoothing",
            self.smoothing,
            "targets are smoothed only with positive_in_sum",
        )?;
        Ok(ProxyNca(self.clone()))
    }
}

/// `mean_i −log(e^{−|a ê_i − b p̂_y|²} / Σ_{c ≠ y} e^{−|a ê_i − b p̂_c|²})`; made by [`ProxyNcaConfig::init`], and
/// trained by [`Trained`](crate::Trained). The own proxy may be in the sum, which makes it a softmax, and its
/// targets may be smoothed.
///
/// Rows and proxies may be of any length: both are given theirs. Labels are the numbers of proxies. Lonely items
/// count like all others. Without the own proxy in the sum the loss has no lower bound: it is negative for
/// items that are near their proxy.
///
/// Elsewhere: euwern's ProxyNCA_classic and Revisiting Deep Metric Learning take exponentials of the distances
/// as they are, which underflow at greater lengths.
#[derive(Debug, Clone, PartialEq)]
pub struct ProxyNca(ProxyNcaConfig);

impl<B: RecallBackend> MetricLoss<B> for ProxyNca {
    /// Around the origin with a standard deviation of 1/8, as re-implementations have it.
    fn parameters(&self, classes: usize, dim: usize) -> Option<Parameters> {
        around_zero(classes, dim, 0.125)
    }

    fn evaluate(&self, batch: Batch<'_, B>) -> Result<Tensor<B, 1>, LossError> {
        const NAME: &str = "Proxy-NCA";
        let config = &self.0;
        let proxies = Side::unit(proxies(NAME, &batch, 1)?);
        // Of |a ê − b p̂|² = a² + b² − 2ab ê·p̂ the first two cancel.
        let scale = 2.0 * config.embedding_length * config.proxy_length;
        let [classes, _] = proxies.dims();
        if config.positive_in_sum && config.smoothing == 0.0 {
            let rows = Side::unit(batch.embeddings);
            return Ok(softmax(&Plain, scale, rows, proxies, batch.labels));
        }
        other_classes(NAME, &batch, classes)?;
        let embeddings = Side::unit(batch.embeddings);
        let places = Places::with_proxies(batch.labels, classes, 1);
        let others = config.smoothing / (classes - 1) as f64;
        let sum = Sum {
            config,
            scale,
            others,
        };
        if suit::<B>(embeddings.dtype()) {
            return Ok(rows(&sum, embeddings, proxies, &places));
        }
        let dense = Dense::new(embeddings.tensor(), proxies.tensor(), &places);
        let logits = dense.similarities().mul_scalar(scale);
        let own = only(logits.clone(), &dense.positive).sum_dim(1);
        let all = logits.clone().sum_dim(1).mul_scalar(others);
        let drawn = own.mul_scalar(sum.more()) + all;
        let logits = match config.positive_in_sum {
            true => logits,
            false => logits.mask_fill(dense.positive, NOTHING),
        };
        Ok((log_sums(logits) - drawn).mean())
    }
}

struct Sum<'a> {
    config: &'a ProxyNcaConfig,
    scale: f64,
    /// The target of each other class.
    others: f64,
}

impl Sum<'_> {
    /// By how much the own target is more than that of another class.
    fn more(&self) -> f64 {
        1.0 - self.config.smoothing - self.others
    }
}

impl RowLoss for Sum<'_> {
    type Note = ();
    type Whole = f64;
    const MEASURE: Measure = Measure::Similarity;
    const LOOKS: bool = false;

    fn whole(&self, _: Vec<()>, places: &Places) -> f64 {
        places.rows.len() as f64
    }

    #[inline(always)]
    fn term(&self, _: &f64, _: usize, place: &Place, row: &mut [f32]) -> Term {
        let own = place.class.start;
        let similarity = row[own];
        let all = match self.others > 0.0 {
            true => self.others * lanes(row, |x| x),
            false => 0.0,
        };
        if !self.config.positive_in_sum {
            row[own] = f32::NEG_INFINITY;
        }
        let drawn = self.more() * f64::from(similarity) + all;
        let value = log_sum_exp(row, self.scale) - self.scale * drawn;
        if self.others > 0.0 {
            let less = (self.scale * self.others) as f32;
            for slope in row.iter_mut() {
                *slope -= less;
            }
        }
        row[own] -= (self.scale * self.more()) as f32;
        Term::of(value)
    }

    fn scale(&self, rows: &f64, _: u64) -> f64 {
        1.0 / rows
    }

    fn visit(&self, sides: &Sides<'_>, wanted: bool) -> Found {
        walk(self, sides, wanted)
    }
}
