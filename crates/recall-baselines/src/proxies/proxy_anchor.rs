//! Proxy-Anchor (Kim et al., "Proxy Anchor Loss for Deep Metric Learning", CVPR 2020).

use std::ops::Range;

use burn::config::Config;
use burn::tensor::{Bool, Tensor, backend::Backend};
use recall_loss::RecallBackend;

use super::{around_zero, proxies};
use crate::dense::{Dense, NOTHING, log};
use crate::error::{finite, positive};
use crate::rows::{
    Found, Measure, Place, RowLoss, Side, Sides, Term, exp, greatest, lanes, rows, suit, walk,
};
use crate::{Batch, LossError, MetricLoss, Parameters, Places};

/// Settings of Proxy-Anchor; [`init`](Self::init) checks them.
#[derive(Config, Debug, PartialEq)]
pub struct ProxyAnchorConfig {
    /// What cosines are multiplied by. Default 32.
    #[config(default = 32.0)]
    pub alpha: f64,
    /// Margin: positives are drawn above it, negatives pushed below its negative. Default 0.1.
    #[config(default = 0.1)]
    pub delta: f64,
}

impl ProxyAnchorConfig {
    /// Checks the settings and makes the loss.
    ///
    /// # Errors
    ///
    /// [`LossError::Setting`].
    pub fn init(&self) -> Result<ProxyAnchor, LossError> {
        positive("alpha", self.alpha)?;
        finite("delta", self.delta)?;
        Ok(ProxyAnchor(self.clone()))
    }
}

/// `1/|C⁺| Σ_{c ∈ C⁺} log(1 + Σ_{y_i = c} e^{−α(s_ic − δ)}) + 1/C Σ_c log(1 + Σ_{y_i ≠ c} e^{α(s_ic + δ)})`, where
/// `s_ic` is the cosine of row `i` with the proxy of class `c`, and `C⁺` are the classes of the batch; made by
/// [`ProxyAnchorConfig::init`], and trained by [`Trained`](crate::Trained).
///
/// Rows and proxies may be of any length: both are normalised. Labels are the numbers of proxies. Lonely items
/// count like all others. The authors train the proxies at 100 times the rate of the model.
///
/// Elsewhere: the authors take exponentials as they are, which overflow in half precision. With a miner,
/// pytorch-metric-learning 2 keeps unmined items at a weight of `1/e`.
#[derive(Debug, Clone, PartialEq)]
pub struct ProxyAnchor(ProxyAnchorConfig);

impl<B: RecallBackend> MetricLoss<B> for ProxyAnchor {
    /// Around the origin with variance `2 / C`, as the authors have it.
    fn parameters(&self, classes: usize, dim: usize) -> Option<Parameters> {
        around_zero(classes, dim, (2.0 / classes.max(1) as f64).sqrt())
    }

    fn evaluate(&self, batch: Batch<'_, B>) -> Result<Tensor<B, 1>, LossError> {
        let proxies = Side::unit(proxies("Proxy-Anchor", &batch, 1)?);
        let places = Places::of_proxies(proxies.dims()[0], batch.labels);
        let embeddings = Side::unit(batch.embeddings);
        if suit::<B>(embeddings.dtype()) {
            return Ok(rows(self, proxies, embeddings, &places));
        }
        let (alpha, delta) = (self.0.alpha, self.0.delta);
        let [near, far] = weights(&places);
        let dense = Dense::new(proxies.tensor(), embeddings.tensor(), &places);
        let cosines = dense.similarities().mul_scalar(alpha);
        let below = cosines.clone().neg().add_scalar(alpha * delta);
        let above = cosines.add_scalar(alpha * delta);
        let positives = log_one_and_sums(below, &dense.positive).sum();
        let negatives = log_one_and_sums(above, &dense.negative).sum();
        Ok(positives.mul_scalar(near) + negatives.mul_scalar(far))
    }
}

/// What the terms of positives and of negatives are multiplied by.
fn weights(places: &Places) -> [f64; 2] {
    let present = places.rows.iter().filter(|row| !row.class.is_empty());
    [present.count(), places.rows.len()].map(|count| 1.0 / count.max(1) as f64)
}

/// `log(1 + Σ e^x)` of the values of each row where the mask is true, `[n, 1]`.
fn log_one_and_sums<B: Backend>(values: Tensor<B, 2>, mask: &Tensor<B, 2, Bool>) -> Tensor<B, 2> {
    let values = values.mask_fill(mask.clone().bool_not(), NOTHING);
    let shift = values.clone().detach().max_dim(1).clamp_min(0.0);
    let sums = (values - shift.clone()).exp().sum_dim(1);
    log(sums + shift.clone().neg().exp()) + shift
}

impl RowLoss for ProxyAnchor {
    type Note = ();
    type Whole = [f64; 2];
    const MEASURE: Measure = Measure::Similarity;
    const LOOKS: bool = false;

    fn whole(&self, _: Vec<()>, places: &Places) -> [f64; 2] {
        weights(places)
    }

    #[inline(always)]
    fn term(&self, [near, far]: &[f64; 2], _: usize, place: &Place, row: &mut [f32]) -> Term {
        let (alpha, delta) = (self.0.alpha, self.0.delta);
        let negatives = place.negatives(row.len());
        let mut value = 0.0;
        if !place.class.is_empty() {
            value += near * log_one_and_sum(row, [place.class.clone()], -alpha, delta, *near);
        }
        value += far * log_one_and_sum(row, negatives, alpha, -delta, *far);
        Term::of(value)
    }

    fn scale(&self, _: &[f64; 2], _: u64) -> f64 {
        1.0
    }

    fn visit(&self, sides: &Sides<'_>, wanted: bool) -> Found {
        walk(self, sides, wanted)
    }
}

/// `log(1 + Σ e^(factor · (s − zero)))` of some similarities, which become its derivatives times `weight`.
#[inline(always)]
fn log_one_and_sum<const N: usize>(
    row: &mut [f32],
    ranges: [Range<usize>; N],
    factor: f64,
    zero: f64,
    weight: f64,
) -> f64 {
    // Where `1` is, and the largest exponential.
    let sign = factor.signum() as f32;
    let one = sign * zero as f32;
    let mut shift = one;
    for range in ranges.clone() {
        if sign < 0.0 {
            for similarity in &mut row[range.clone()] {
                *similarity = -*similarity;
            }
        }
        shift = shift.max(greatest(&row[range], |x| x));
    }
    let steep = factor.abs();
    let mut sum = 0.0;
    for range in ranges.clone() {
        let values = &mut row[range];
        for similarity in values.iter_mut() {
            *similarity = exp(steep as f32 * (*similarity - shift));
        }
        sum += lanes(values, |x| x);
    }
    let exponent = steep * (f64::from(shift) - f64::from(one));
    let one = (-exponent).exp();
    let each = (weight * factor / (one + sum)) as f32;
    for range in ranges {
        for exponential in &mut row[range] {
            *exponential *= each;
        }
    }
    match exponent > 0.0 {
        true => exponent + (one + sum).ln(),
        // All may be so small that 1 would swallow them.
        false => sum.ln_1p(),
    }
}
