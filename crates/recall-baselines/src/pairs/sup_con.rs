//! Supervised contrastive loss (Khosla et al., NeurIPS 2020).

use burn::config::Config;
use burn::tensor::Tensor;
use recall_loss::RecallBackend;

use super::{PairLoss, no_positives, with_itself};
use crate::dense::{Dense, column_like, log_sum_exp, only};
use crate::error::positive;
use crate::rows::{
    Found, Measure, Place, RowLoss, Sides, Term, exp, greatest, rows, suit, sum_exp, walk,
};
use crate::{Batch, LossError, MetricLoss, Places};

/// Settings of the supervised contrastive loss; [`init`](Self::init) checks them.
#[derive(Config, Debug, PartialEq)]
pub struct SupConConfig {
    /// What similarities are divided by. Default 0.1, the paper's.
    #[config(default = 0.1)]
    pub temperature: f64,
    /// The loss is multiplied by the temperature divided by this; `None` for no factor. Default `None`.
    pub base_temperature: Option<f64>,
    /// Whether items without a positive count as 0 in the mean, instead of being left out. Default false.
    #[config(default = false)]
    pub lonely_as_zero: bool,
}

impl SupConConfig {
    /// The settings of the authors' code: both temperatures 0.07, and lonely items count as 0.
    pub fn released_code() -> Self {
        Self::new()
            .with_temperature(0.07)
            .with_base_temperature(Some(0.07))
            .with_lonely_as_zero(true)
    }

    /// Checks the settings and makes the loss.
    ///
    /// # Errors
    ///
    /// [`LossError::Setting`].
    pub fn init(&self) -> Result<SupCon, LossError> {
        positive("temperature", self.temperature)?;
        positive("base_temperature", self.base_temperature.unwrap_or(1.0))?;
        Ok(SupCon(self.clone()))
    }
}

/// `mean_i −1/|P_i| Σ_P log(e^(s/τ) / Σ_{j≠i} e^(s/τ))`, all positives being in the sum of each; made by
/// [`SupConConfig::init`].
///
/// Rows are of unit length. Lonely items are left out of the mean, or count as 0 in it, and are negatives to all
/// others. A batch of one class is no error.
///
/// Elsewhere: the authors' code multiplies the loss by τ / 0.07 whatever the temperature is.
#[derive(Debug, Clone, PartialEq)]
pub struct SupCon(SupConConfig);

impl SupCon {
    /// What the sum of all terms is multiplied by.
    fn factor(&self, places: &Places) -> f64 {
        let some = places.rows.iter().filter(|row| row.positive_count() > 0);
        let count = match self.0.lonely_as_zero {
            true => places.rows.len(),
            false => some.count(),
        };
        let base = self.0.base_temperature.unwrap_or(self.0.temperature);
        self.0.temperature / base / count.max(1) as f64
    }
}

impl<B: RecallBackend> MetricLoss<B> for SupCon {
    fn compares_similarities(&self) -> bool {
        true
    }

    fn evaluate(&self, batch: Batch<'_, B>) -> Result<Tensor<B, 1>, LossError> {
        with_itself(self, batch)
    }
}

impl<B: RecallBackend> PairLoss<B> for SupCon {
    fn between(
        &self,
        queries: Tensor<B, 2>,
        references: Tensor<B, 2>,
        places: &Places,
    ) -> Result<Tensor<B, 1>, LossError> {
        no_positives("SupCon", places)?;
        if suit::<B>(queries.dtype()) {
            return Ok(rows(self, queries, references, places));
        }
        let dense = Dense::new(queries, references, places);
        let logits = dense.similarities().mul_scalar(1.0 / self.0.temperature);
        let counts = places.rows.iter().map(Place::positive_count);
        let (shares, some): (Vec<f64>, Vec<f64>) = counts
            .map(|count| (1.0 / count.max(1) as f64, f64::from(count.min(1) as u32)))
            .unzip();
        let [shares, some] = [shares, some].map(|values| column_like(&logits, values));
        let own = only(logits.clone(), &dense.positive).sum_dim(1) * shares;
        let all = dense.positive.clone().bool_or(dense.negative.clone());
        // A row with nothing to compare has a finite logarithm, too.
        let terms = (log_sum_exp(logits, &all) - own) * some;
        Ok(terms.sum().mul_scalar(self.factor(places)))
    }
}

impl RowLoss for SupCon {
    type Note = ();
    type Whole = f64;
    const MEASURE: Measure = Measure::Similarity;
    const LOOKS: bool = false;

    fn whole(&self, _: Vec<()>, places: &Places) -> f64 {
        self.factor(places)
    }

    #[inline(always)]
    fn term(&self, _: &f64, _: usize, place: &Place, row: &mut [f32]) -> Term {
        let count = place.positive_count();
        if count == 0 {
            row.fill(0.0);
            return Term::default();
        }
        let scale = (1.0 / self.0.temperature) as f32;
        // The own item may exceed all others by far: it is left out, not taken away afterwards.
        let own = place.own.unwrap_or(row.len());
        let others = [0..own, row.len().min(own + 1)..row.len()];
        let [before, behind] = others.clone().map(|range| greatest(&row[range], |s| s));
        let top = before.max(behind);
        let sums = others.clone().map(|range| sum_exp(&row[range], scale, top));
        let sum: f64 = sums.iter().sum();
        let positives = place.positives().map(|column| f64::from(row[column]));
        let mean = positives.sum::<f64>() / count as f64;
        let each = (f64::from(scale) / sum) as f32;
        for range in others {
            for s in &mut row[range] {
                *s = each * exp(scale * (*s - top));
            }
        }
        let share = scale / count as f32;
        for column in place.class.clone() {
            row[column] -= share;
        }
        if let Some(own) = place.own {
            row[own] = 0.0;
        }
        Term::of(f64::from(scale) * (f64::from(top) - mean) + sum.ln())
    }

    fn scale(&self, factor: &f64, _: u64) -> f64 {
        *factor
    }

    fn visit(&self, sides: &Sides<'_>, wanted: bool) -> Found {
        walk(self, sides, wanted)
    }
}
