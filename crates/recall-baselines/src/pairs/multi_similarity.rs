//! Multi-similarity loss and its miner (Wang, Han, Huang, Dong and Scott, CVPR 2019).

use burn::config::Config;
use burn::tensor::{Bool, Tensor};
use recall_loss::RecallBackend;

use super::{PairLoss, no_positives, no_triplets, places_of};
use crate::dense::{Dense, NOTHING, log};
use crate::error::{finite, not_negative, positive};
use crate::rows::{
    Found, Measure, Place, RowLoss, Sides, Term, exp, greatest, lanes, rows, suit, walk,
};
use crate::{Batch, LossError, MetricLoss, Places};

/// Settings of the multi-similarity loss, the paper's unless changed; [`init`](Self::init) checks them.
#[derive(Config, Debug, PartialEq)]
pub struct MultiSimilarityConfig {
    /// Sharpness of the positive term. Default 2.
    #[config(default = 2.0)]
    pub alpha: f64,
    /// Sharpness of the negative term. Default 50.
    #[config(default = 50.0)]
    pub beta: f64,
    /// The similarity `λ` that positives are pulled above and negatives pushed below. Default 1.
    #[config(default = 1.0)]
    pub base: f64,
    /// How far a pair may be from competing with the hardest pair of the other kind to be mined; `None` for no
    /// miner, that is for all pairs. Default `Some(0.1)`.
    #[config(default = "Some(0.1)")]
    pub epsilon: Option<f64>,
}

impl MultiSimilarityConfig {
    /// The settings of the authors' code: β 40 and λ 0.5.
    pub fn released_code() -> Self {
        Self::new().with_beta(40.0).with_base(0.5)
    }

    /// Checks the settings and makes the loss.
    ///
    /// # Errors
    ///
    /// [`LossError::Setting`].
    pub fn init(&self) -> Result<MultiSimilarity, LossError> {
        positive("alpha", self.alpha)?;
        positive("beta", self.beta)?;
        finite("base", self.base)?;
        not_negative("epsilon", self.epsilon.unwrap_or(0.0))?;
        Ok(MultiSimilarity(self.clone()))
    }
}

/// `1/n Σ_i [1/α log(1 + Σ_P e^(−α (s − λ))) + 1/β log(1 + Σ_N e^(β (s − λ)))]` over the mined pairs; made by
/// [`MultiSimilarityConfig::init`].
///
/// A positive is mined if `s_p − ε < max_N s`, a negative if `s_n + ε > min_P s`. Rows are of unit length. A
/// lonely item mines nothing and counts as 0 in the mean; without the miner it has its negative term.
///
/// Elsewhere: the authors' code raises an error on a lonely item and drops positives with `s ≥ 1 − 10⁻⁵`.
/// pytorch-metric-learning uses β 50 and λ 0.5, and no miner unless given one; its version 3 divides by the number
/// of anchors with pairs.
#[derive(Debug, Clone, PartialEq)]
pub struct MultiSimilarity(MultiSimilarityConfig);

impl MultiSimilarity {
    /// The mined pairs of a batch, positive ones and negative ones: an anchor and the other item, as rows of
    /// `embeddings`.
    ///
    /// # Errors
    ///
    /// As [`evaluate`](MetricLoss::evaluate).
    pub fn pairs<B: RecallBackend>(
        &self,
        embeddings: Tensor<B, 2>,
        labels: &[i64],
    ) -> Result<[Vec<[usize; 2]>; 2], LossError> {
        let places = places_of(&embeddings, labels)?;
        self.needs(&places)?;
        let embeddings = embeddings.detach();
        let dense = Dense::new(embeddings.clone(), embeddings, &places);
        let mined = self.mined(&dense, &dense.similarities());
        Ok(mined.map(|mask| {
            let data = mask.into_data();
            let columns = places.references.len();
            let true_ones = data.iter::<bool>().enumerate().filter(|&(_, mined)| mined);
            true_ones
                .map(|(at, _)| {
                    [
                        places.queries[at / columns],
                        places.references[at % columns],
                    ]
                })
                .collect()
        }))
    }

    fn needs(&self, places: &Places) -> Result<(), LossError> {
        match self.0.epsilon {
            Some(_) => no_triplets("multi-similarity", places),
            None => no_positives("multi-similarity", places),
        }
    }

    /// Which positives and which negatives are mined, `[n, m]`.
    fn mined<B: RecallBackend>(
        &self,
        of: &Dense<B>,
        similarities: &Tensor<B, 2>,
    ) -> [Tensor<B, 2, Bool>; 2] {
        let Some(epsilon) = self.0.epsilon else {
            return [of.positive.clone(), of.negative.clone()];
        };
        let fixed = similarities.clone().detach();
        let shape = fixed.dims();
        let greatest = |values: Tensor<B, 2>, mask: &Tensor<B, 2, Bool>| {
            values
                .mask_fill(mask.clone().bool_not(), NOTHING)
                .max_dim(1)
                .expand(shape)
        };
        let nearest = greatest(fixed.clone(), &of.negative);
        let farthest = greatest(fixed.clone().neg(), &of.positive).neg();
        [
            (of.positive.clone()).bool_and(fixed.clone().lower(nearest.add_scalar(epsilon))),
            (of.negative.clone()).bool_and(fixed.greater(farthest.sub_scalar(epsilon))),
        ]
    }
}

impl<B: RecallBackend> MetricLoss<B> for MultiSimilarity {
    fn compares_similarities(&self) -> bool {
        true
    }

    fn evaluate(&self, batch: Batch<'_, B>) -> Result<Tensor<B, 1>, LossError> {
        batch.dims()?;
        let places = Places::within(batch.labels);
        self.needs(&places)?;
        self.between(batch.embeddings.clone(), batch.embeddings, &places)
    }
}

impl<B: RecallBackend> PairLoss<B> for MultiSimilarity {
    fn between(
        &self,
        queries: Tensor<B, 2>,
        references: Tensor<B, 2>,
        places: &Places,
    ) -> Result<Tensor<B, 1>, LossError> {
        if suit::<B>(queries.dtype()) {
            return Ok(rows(self, queries, references, places));
        }
        let Self(config) = self;
        let dense = Dense::new(queries, references, places);
        let similarities = dense.similarities();
        let [positives, negatives] = self.mined(&dense, &similarities);
        let above = similarities.sub_scalar(config.base);
        let pull = above.clone().mul_scalar(-config.alpha);
        let pull = log_one_and_sum_exp(pull, &positives).mul_scalar(1.0 / config.alpha);
        let push = log_one_and_sum_exp(above.mul_scalar(config.beta), &negatives);
        Ok((pull + push.mul_scalar(1.0 / config.beta)).mean())
    }
}

/// `log(1 + Σ e^x)` of the values of each row where the mask is true, `[n, 1]`.
fn log_one_and_sum_exp<B: RecallBackend>(
    values: Tensor<B, 2>,
    mask: &Tensor<B, 2, Bool>,
) -> Tensor<B, 2> {
    let values = values.mask_fill(mask.clone().bool_not(), NOTHING);
    let shift = values.clone().detach().max_dim(1).clamp_min(0.0);
    let sum = (values - shift.clone()).exp().sum_dim(1) + shift.clone().neg().exp();
    log(sum) + shift
}

impl RowLoss for MultiSimilarity {
    type Note = ();
    type Whole = f64;
    const MEASURE: Measure = Measure::Similarity;
    const LOOKS: bool = false;

    fn whole(&self, _: Vec<()>, places: &Places) -> f64 {
        places.rows.len() as f64
    }

    #[inline(always)]
    fn term(&self, _: &f64, _: usize, place: &Place, row: &mut [f32]) -> Term {
        let Self(config) = self;
        let negatives = place.negatives(row.len());
        let [before, behind] = negatives.clone().map(|range| greatest(&row[range], |s| s));
        let nearest = before.max(behind);
        let positives = place.positives().map(|column| row[column]);
        let farthest = positives.fold(f32::MAX, f32::min);
        // What is nothing's extreme is so far out that it mines nothing.
        let (below, above) = match config.epsilon {
            Some(epsilon) => (nearest + epsilon as f32, farthest - epsilon as f32),
            None => (f32::MAX, f32::MIN),
        };
        let pull = if farthest < below {
            self.pull(place, row, farthest, below)
        } else {
            row[place.class.clone()].fill(0.0);
            0.0
        };
        if let Some(own) = place.own {
            row[own] = 0.0;
        }
        // Exponents are relative to the greatest one, which is 0 if all are negative.
        let (beta, base) = (config.beta as f32, config.base as f32);
        let top = nearest.max(base);
        let mut sum = (config.beta * f64::from(base - top)).exp();
        for range in negatives.clone() {
            let part = &mut row[range];
            for s in part.iter_mut() {
                let power = exp(beta * (*s - top));
                *s = if *s > above { power } else { 0.0 };
            }
            sum += lanes(part, |power| power);
        }
        let each = (1.0 / sum) as f32;
        for range in negatives {
            for power in &mut row[range] {
                *power *= each;
            }
        }
        Term::of(pull + f64::from(top) - config.base + sum.ln() / config.beta)
    }

    fn scale(&self, rows: &f64, _: u64) -> f64 {
        1.0 / rows
    }

    fn visit(&self, sides: &Sides<'_>, wanted: bool) -> Found {
        walk(self, sides, wanted)
    }
}

impl MultiSimilarity {
    /// The positive term of a row, whose positives become its derivatives.
    #[inline(always)]
    fn pull(&self, place: &Place, row: &mut [f32], farthest: f32, below: f32) -> f64 {
        let alpha = self.0.alpha;
        let exponent = |s: f32| -alpha * (f64::from(s) - self.0.base);
        let shift = exponent(farthest).max(0.0);
        let power = |s: f32| {
            if s < below {
                (exponent(s) - shift).exp()
            } else {
                0.0
            }
        };
        let powers = place.positives().map(|column| power(row[column]));
        let sum = (-shift).exp() + powers.sum::<f64>();
        for column in place.class.clone() {
            row[column] = (-power(row[column]) / sum) as f32;
        }
        (shift + sum.ln()) / alpha
    }
}
