//! SphereFace (Liu et al., "SphereFace: Deep Hypersphere Embedding for Face Recognition", CVPR 2017).

use std::f64::consts::PI;

use burn::config::Config;
use burn::tensor::{Tensor, backend::Backend};
use recall_loss::RecallBackend;

use super::softmax::{log_sum_exp, log_sums};
use super::{around_zero, proxies};
use crate::dense::{Dense, only, root, unit};
use crate::error::{not_negative, require};
use crate::rows::{
    Found, Measure, Place, RowLoss, Side, Sides, Term, host_values, rows, suit, walk,
};
use crate::{Batch, LossError, MetricLoss, Parameters, Places};

/// Settings of SphereFace; [`init`](Self::init) checks them.
#[derive(Config, Debug, PartialEq)]
pub struct SphereFaceConfig {
    /// m, what the angle with the own proxy is multiplied by, from 1 to 16. Default 4.
    #[config(default = 4)]
    pub multiplier: usize,
    /// How much of the plain cosine is in the target. It falls from 1,000 to 5 in training, see
    /// [`lambda_at`](Self::lambda_at). Default 5.
    #[config(default = 5.0)]
    pub lambda: f64,
}

impl SphereFaceConfig {
    /// λ of the authors at an iteration, `max(5, 1000 / (1 + 0.12 t))`: from scratch the loss hardly trains
    /// without.
    pub fn lambda_at(iteration: u64) -> f64 {
        (1000.0 / (1.0 + 0.12 * iteration as f64)).max(5.0)
    }

    /// Checks the settings and makes the loss.
    ///
    /// # Errors
    ///
    /// [`LossError::Setting`].
    pub fn init(&self) -> Result<SphereFace, LossError> {
        require(
            (1..=16).contains(&self.multiplier),
            "multiplier",
            self.multiplier,
            "it must be a whole number from 1 to 16",
        )?;
        not_negative("lambda", self.lambda)?;
        Ok(SphereFace(self.clone()))
    }
}

/// `mean_i CE(softmax_c z_ic, y_i)` with `z_ic = |e_i| cos θ_ic`, and for the own proxy
/// `z_iy = |e_i| (λ cos θ + φ(θ)) / (1 + λ)`, where `φ(θ) = (−1)^k cos(mθ) − 2k` and `k = ⌊mθ/π⌋` make of the cosine
/// of the multiple a function that falls from 0 to π; made by [`SphereFaceConfig::init`], and trained by
/// [`Trained`](crate::Trained).
///
/// Rows are as long as the model makes them, and their lengths are trained; proxies are normalised. Labels are the
/// numbers of proxies. Lonely items count like all others. [`at`](Self::at) moves λ along in training.
///
/// Elsewhere: pytorch-metric-learning has no λ, which is λ = 0. The authors' layer normalises the proxies in place.
#[derive(Debug, Clone, PartialEq)]
pub struct SphereFace(SphereFaceConfig);

impl SphereFace {
    /// The loss with the authors' λ of an iteration.
    #[must_use]
    pub fn at(mut self, iteration: u64) -> Self {
        self.0.lambda = SphereFaceConfig::lambda_at(iteration);
        self
    }
}

impl<B: RecallBackend> MetricLoss<B> for SphereFace {
    /// Around the origin with variance `1 / d`, that of the authors' layer.
    fn parameters(&self, classes: usize, dim: usize) -> Option<Parameters> {
        around_zero(classes, dim, 1.0 / (dim.max(1) as f64).sqrt())
    }

    fn evaluate(&self, batch: Batch<'_, B>) -> Result<Tensor<B, 1>, LossError> {
        let proxies = Side::unit(proxies("SphereFace", &batch, 1)?);
        let embeddings = batch.embeddings;
        let [classes, dim] = proxies.dims();
        if suit::<B>(embeddings.dtype()) {
            let places = Places::with_proxies(batch.labels, classes, 1);
            let length = |row: &[f32]| {
                let squares = row.iter().map(|&x| f64::from(x) * f64::from(x));
                squares.sum::<f64>().sqrt()
            };
            let values = host_values(embeddings.clone());
            let lengths = values.chunks(dim.max(1)).map(length).collect();
            return Ok(rows(
                &Rows { of: self, lengths },
                embeddings,
                proxies,
                &places,
            ));
        }
        let lengths = root((embeddings.clone() * embeddings.clone()).sum_dim(1));
        let directions = unit(embeddings);
        let places = Places::with_proxies(batch.labels, classes, 1);
        let dense = Dense::new(directions, proxies.tensor(), &places);
        let cosines = dense.similarities();
        let own = self.column(only(cosines.clone(), &dense.positive).sum_dim(1));
        let shape = cosines.dims();
        let cosines = cosines.mask_where(dense.positive, own.clone().expand(shape));
        Ok((log_sums(cosines * lengths.clone()) - own * lengths).mean())
    }
}

impl SphereFace {
    /// The cosines at which `k` grows by one.
    fn turns(&self) -> impl Iterator<Item = f64> + use<> {
        let times = self.0.multiplier as f64;
        (1..self.0.multiplier).map(move |turn| (turn as f64 * PI / times).cos())
    }
}

impl SphereFace {
    /// What takes the place of the cosine with the own proxy, and its derivative there.
    fn number(&self, cosine: f64) -> (f64, f64) {
        // cos(mθ) is Chebyshev's polynomial of cos θ: no angle is needed.
        let [mut before, mut now] = [1.0, cosine];
        let [mut slope_before, mut slope] = [0.0, 1.0];
        for _ in 1..self.0.multiplier {
            let next = 2.0 * cosine * now - before;
            let slope_next = 2.0 * now + 2.0 * cosine * slope - slope_before;
            [before, now] = [now, next];
            [slope_before, slope] = [slope, slope_next];
        }
        let turns = self.turns().filter(|&turn| cosine <= turn).count();
        let sign = if turns.is_multiple_of(2) { 1.0 } else { -1.0 };
        let (lambda, share) = (self.0.lambda, 1.0 / (1.0 + self.0.lambda));
        let falling = sign * now - 2.0 * turns as f64;
        (
            share * (lambda * cosine + falling),
            share * (lambda + sign * slope),
        )
    }

    /// The same of a column of cosines, `[n, 1]`.
    fn column<B: Backend>(&self, cosines: Tensor<B, 2>) -> Tensor<B, 2> {
        let [mut before, mut now] = [cosines.ones_like(), cosines.clone()];
        for _ in 1..self.0.multiplier {
            let next = cosines.clone().mul_scalar(2.0) * now.clone() - before;
            [before, now] = [now, next];
        }
        let (mut sign, mut turns) = (cosines.ones_like(), cosines.zeros_like());
        for turn in self.turns() {
            let past = cosines.clone().lower_equal_elem(turn);
            sign = sign.clone().mask_where(past.clone(), sign.neg());
            turns = turns.clone().mask_where(past, turns.add_scalar(1.0));
        }
        let falling = sign * now - turns.mul_scalar(2.0);
        (cosines.mul_scalar(self.0.lambda) + falling).mul_scalar(1.0 / (1.0 + self.0.lambda))
    }
}

/// Rows as they come with proxies of unit length: `|e| cos θ` is their product.
struct Rows<'a> {
    of: &'a SphereFace,
    /// Of the rows.
    lengths: Vec<f64>,
}

impl RowLoss for Rows<'_> {
    type Note = ();
    type Whole = f64;
    const MEASURE: Measure = Measure::Similarity;
    const LOOKS: bool = false;

    fn whole(&self, _: Vec<()>, places: &Places) -> f64 {
        places.rows.len() as f64
    }

    #[inline(always)]
    fn term(&self, _: &f64, index: usize, place: &Place, row: &mut [f32]) -> Term {
        let (own, length) = (place.class.start, self.lengths[index]);
        let share = if length > 0.0 { 1.0 / length } else { 0.0 };
        let cosine = f64::from(row[own]) * share;
        let (target, slope) = self.of.number(cosine);
        row[own] = (length * target) as f32;
        let target_value = f64::from(row[own]);
        let value = log_sum_exp(row, 1.0) - target_value;
        // The target is a function of the product, by the cosine, and of the length.
        let pull = f64::from(row[own]) - 1.0;
        row[own] = (pull * slope) as f32;
        Term {
            along: (pull * (target - cosine * slope) * share) as f32,
            ..Term::of(value)
        }
    }

    fn scale(&self, rows: &f64, _: u64) -> f64 {
        1.0 / rows
    }

    fn visit(&self, sides: &Sides<'_>, wanted: bool) -> Found {
        walk(self, sides, wanted)
    }
}
