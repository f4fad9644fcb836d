//! InfoNCE (van den Oord, Li and Vinyals, 2018) over labelled pairs, also known as NT-Xent (Chen et al., "A
//! Simple Framework for Contrastive Learning of Visual Representations", ICML 2020).

use burn::config::Config;
use burn::tensor::Tensor;
use burn::tensor::activation::log_sigmoid;
use recall_loss::RecallBackend;

use super::{PairLoss, no_triplets, with_itself};
use crate::dense::{Dense, log_sum_exp, only};
use crate::error::positive;
use crate::rows::{
    Found, Measure, Place, RowLoss, Sides, Term, exp, greatest, log1p_exp, rows, suit, sum_exp,
    walk,
};
use crate::{Batch, LossError, MetricLoss, Places};

/// Settings of InfoNCE; [`init`](Self::init) checks them.
#[derive(Config, Debug, PartialEq)]
pub struct InfoNceConfig {
    /// What similarities are divided by. Default 0.07.
    #[config(default = 0.07)]
    pub temperature: f64,
}

impl InfoNceConfig {
    /// Checks the settings and makes the loss.
    ///
    /// # Errors
    ///
    /// [`LossError::Setting`].
    pub fn init(&self) -> Result<InfoNce, LossError> {
        positive("temperature", self.temperature)?;
        Ok(InfoNce(self.clone()))
    }
}

/// The mean over all ordered positive pairs of `−log(e^(s_ap/τ) / (e^(s_ap/τ) + Σ_N e^(s/τ)))`; made by
/// [`InfoNceConfig::init`].
///
/// The other positives of an anchor are not in the sum: with them it is [`SupCon`](crate::SupCon). Rows are of
/// unit length. Lonely items are negatives to all others, and no anchors.
#[derive(Debug, Clone, PartialEq)]
pub struct InfoNce(InfoNceConfig);

impl<B: RecallBackend> MetricLoss<B> for InfoNce {
    fn compares_similarities(&self) -> bool {
        true
    }

    fn evaluate(&self, batch: Batch<'_, B>) -> Result<Tensor<B, 1>, LossError> {
        with_itself(self, batch)
    }
}

impl<B: RecallBackend> PairLoss<B> for InfoNce {
    fn between(
        &self,
        queries: Tensor<B, 2>,
        references: Tensor<B, 2>,
        places: &Places,
    ) -> Result<Tensor<B, 1>, LossError> {
        no_triplets("InfoNCE", places)?;
        if suit::<B>(queries.dtype()) {
            return Ok(rows(self, queries, references, places));
        }
        let dense = Dense::new(queries, references, places);
        let logits = dense.similarities().mul_scalar(1.0 / self.0.temperature);
        let negatives = log_sum_exp(logits.clone(), &dense.negative);
        let margins = only(logits - negatives, &dense.positive);
        let terms = only(log_sigmoid(margins).neg(), &dense.positive);
        Ok(terms.sum().mul_scalar(1.0 / pairs(places)))
    }
}

/// How many ordered positive pairs there are.
fn pairs(places: &Places) -> f64 {
    let counts = places.rows.iter().map(Place::positive_count);
    counts.sum::<usize>().max(1) as f64
}

impl RowLoss for InfoNce {
    type Note = ();
    type Whole = f64;
    const MEASURE: Measure = Measure::Similarity;
    const LOOKS: bool = false;

    fn whole(&self, _: Vec<()>, places: &Places) -> f64 {
        pairs(places)
    }

    #[inline(always)]
    fn term(&self, _: &f64, _: usize, place: &Place, row: &mut [f32]) -> Term {
        let negatives = place.negatives(row.len());
        if place.positive_count() == 0 || place.negative_count(row.len()) == 0 {
            row.fill(0.0);
            return Term::default();
        }
        let scale = (1.0 / self.0.temperature) as f32;
        let [before, behind] = negatives.clone().map(|range| greatest(&row[range], |s| s));
        let top = before.max(behind);
        let sums = negatives
            .clone()
            .map(|range| sum_exp(&row[range], scale, top));
        let sum: f64 = sums.iter().sum();
        let (mut value, mut pull) = (0.0, 0.0);
        for column in place.class.clone() {
            if Some(column) == place.own {
                row[column] = 0.0;
                continue;
            }
            // By how much the logarithm of all negatives exceeds the positive.
            let excess = f64::from(scale) * (f64::from(top) - f64::from(row[column])) + sum.ln();
            let share = 1.0 / (1.0 + (-excess).exp());
            value += log1p_exp(excess);
            pull += share;
            row[column] = -scale * share as f32;
        }
        let each = (f64::from(scale) * pull / sum) as f32;
        for range in negatives {
            for s in &mut row[range] {
                *s = each * exp(scale * (*s - top));
            }
        }
        Term::of(value)
    }

    fn scale(&self, pairs: &f64, _: u64) -> f64 {
        1.0 / pairs
    }

    fn visit(&self, sides: &Sides<'_>, wanted: bool) -> Found {
        walk(self, sides, wanted)
    }
}
