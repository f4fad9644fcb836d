//! Angular loss (Wang et al., "Deep Metric Learning with Angular Loss", ICCV 2017).

use burn::config::Config;
use burn::tensor::Tensor;
use recall_loss::RecallBackend;
use serde::{Deserialize, Serialize};

use super::n_pair::{anchors_and_positives, check_pairs, drawn_pairs, n_pair, of_pairs};
use super::no_positives;
use crate::dense::{Dense, log_sum_exp, log1p, ordered};
use crate::error::{not_negative, require};
use crate::rows::{
    Found, Measure, Place, RowLoss, RowPairs, Side, Sides, Term, dot, exp, greatest, of_some,
    of_values, suit, sum_exp, walk,
};
use crate::{Batch, LossError, MetricLoss, Places};

/// What is compared with what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AngularForm {
    /// That of its authors: one pair of each class, whose negatives are the positives of the other pairs.
    Pairs,
    /// The authors' N-pair loss of the same pairs, of rows as they come, plus
    /// [`angular_weight`](AngularConfig::angular_weight) times the form above, of these rows made unit.
    WithNPair,
    /// That of pytorch-metric-learning: all pairs of a class, with all items of other classes.
    AllPairs,
}

/// Settings of the angular loss: [`pairs`](Self::pairs), [`n_pair`](Self::n_pair) or [`all_pairs`](Self::all_pairs),
/// and [`init`](Self::init).
#[derive(Config, Debug, PartialEq)]
pub struct AngularConfig {
    /// What is compared with what.
    pub form: AngularForm,
    /// The angle `α` in degrees, above 0 and below 90. Default 45, and 40 for all pairs.
    #[config(default = 45.0)]
    pub degrees: f64,
    /// Weight of the angular loss beside the N-pair loss. Default 2.
    #[config(default = 2.0)]
    pub angular_weight: f64,
    /// Weight `λ` of the squared lengths in the N-pair loss. Default 0.002.
    #[config(default = 0.002)]
    pub l2: f64,
}

impl AngularConfig {
    /// The form of the authors, at 45°.
    pub fn pairs() -> Self {
        Self::new(AngularForm::Pairs)
    }

    /// The form of the authors beside their N-pair loss, at 45°.
    pub fn n_pair() -> Self {
        Self::new(AngularForm::WithNPair)
    }

    /// The form of pytorch-metric-learning, at 40°.
    pub fn all_pairs() -> Self {
        Self::new(AngularForm::AllPairs).with_degrees(40.0)
    }

    /// Checks the settings and makes the loss.
    ///
    /// # Errors
    ///
    /// [`LossError::Setting`].
    pub fn init(&self) -> Result<Angular, LossError> {
        require(
            self.degrees > 0.0 && self.degrees < 90.0,
            "degrees",
            self.degrees,
            "the angle must be above 0 and below 90 degrees",
        )?;
        not_negative("angular_weight", self.angular_weight)?;
        not_negative("l2", self.l2)?;
        Ok(Angular(self.clone()))
    }
}

/// `mean_(a,p) log(1 + Σ_n e^f(a,p,n))` with `f = 4 tan²α (a + p) · n − 2 (1 + tan²α) a · p`; made by
/// [`AngularConfig::init`].
///
/// Rows are of unit length, and with the N-pair loss long. Lonely items take no part, but are negatives where all pairs
/// are compared. The batch needs two classes of two items, or for all pairs two items of a class and one of another.
/// With all pairs memory is that of as many rows as there are pairs.
///
/// Elsewhere: pytorch-metric-learning makes anchors and positives unit, but not negatives.
#[derive(Debug, Clone, PartialEq)]
pub struct Angular(AngularConfig);

impl Angular {
    /// The pairs that are drawn for labels: anchor and positive, one pair of each class that has two items, in the
    /// order of the classes. The form of all pairs draws none.
    ///
    /// # Errors
    ///
    /// [`LossError::Lacking`] if there are fewer than two.
    pub fn pairs(&self, labels: &[i64], seed: u64) -> Result<Vec<[usize; 2]>, LossError> {
        drawn_pairs("the angular loss", labels, seed)
    }

    /// The loss of given pairs, rows of embeddings `[n, d]`, `[1]`: an anchor and a positive of each class. The form
    /// of all pairs is computed of these alone, like the form of the authors.
    ///
    /// # Errors
    ///
    /// [`LossError::Setting`] if a pair is not of the batch, [`LossError::Lacking`] if there are fewer than two.
    pub fn evaluate_pairs<B: RecallBackend>(
        &self,
        embeddings: Tensor<B, 2>,
        pairs: &[[usize; 2]],
    ) -> Result<Tensor<B, 1>, LossError> {
        check_pairs("the angular loss", &embeddings, pairs)?;
        if self.0.form != AngularForm::WithNPair {
            return Ok(self.of_pairs(embeddings, pairs));
        }
        let angular = self.of_pairs(Side::unit(embeddings.clone()), pairs);
        let n_pair = n_pair(embeddings, pairs, self.0.l2);
        Ok(n_pair + angular.mul_scalar(self.0.angular_weight))
    }

    /// `4 tan²α` and `2 (1 + tan²α)`.
    fn factors(&self) -> [f64; 2] {
        let square = self.0.degrees.to_radians().tan().powi(2);
        [4.0 * square, 2.0 * (1.0 + square)]
    }

    /// Pairs whose negatives are the positives of the others.
    fn of_pairs<B: RecallBackend>(
        &self,
        rows: impl Into<Side<B>>,
        pairs: &[[usize; 2]],
    ) -> Tensor<B, 1> {
        let count = pairs.len();
        let labels: Vec<i64> = (0..count as i64).collect();
        let places = Places::with_proxies(&labels, count, 1);
        let side = rows.into();
        let dim = side.dims()[1];
        if suit::<B>(side.dtype()) {
            let chosen = anchors_and_positives(pairs);
            let pairs: Vec<[usize; 2]> = (0..count).map(|at| [at, count + at]).collect();
            let positives: Vec<usize> = (count..2 * count).collect();
            return of_some(side, &chosen, |rows, wanted| {
                let pairs = &pairs;
                self.of_rows(RowPairs { rows, dim, pairs }, &positives, &places, wanted)
            });
        }
        let positives: Vec<usize> = pairs.iter().map(|pair| pair[1]).collect();
        self.against(side, pairs, &positives, &places)
    }

    /// `mean log(1 + Σ_n e^f)` of pairs of rows and those items, which are rows too, that places give them as negatives.
    /// Each pair is a row of `f`, the products of vectors that are longer by one number.
    fn against<B: RecallBackend>(
        &self,
        rows: impl Into<Side<B>>,
        pairs: &[[usize; 2]],
        items: &[usize],
        places: &Places,
    ) -> Tensor<B, 1> {
        let side = rows.into();
        let dim = side.dims()[1];
        if suit::<B>(side.dtype()) {
            return of_values(side, |rows, wanted| {
                self.of_rows(RowPairs { rows, dim, pairs }, items, places, wanted)
            });
        }
        let [sum, product] = self.factors();
        let rows = side.tensor();
        let [anchors, positives] = of_pairs(rows.clone(), pairs);
        let items = ordered(rows, items);
        let [count, _] = items.dims();
        let ones = Tensor::ones([count, 1], (&items.device(), items.dtype()));
        let sums = (anchors.clone() + positives.clone()).mul_scalar(sum);
        let own = (anchors * positives).sum_dim(1).mul_scalar(-product);
        let queries = Tensor::cat(vec![sums, own], 1);
        let references = Tensor::cat(vec![items, ones], 1);
        let dense = Dense::new(queries, references, places);
        let sums = log_sum_exp(dense.similarities(), &dense.negative);
        // log(1 + e^x), whatever the sign of x.
        let terms = sums.clone().clamp_min(0.0) + log1p(sums.abs().neg().exp());
        terms.sum().mul_scalar(1.0 / places.rows.len() as f64)
    }

    /// The same of numbers, with the gradient if it is wanted.
    fn of_rows(
        &self,
        of: RowPairs<'_>,
        items: &[usize],
        places: &Places,
        wanted: bool,
    ) -> (f64, Option<Vec<f32>>) {
        let [sum, product] = self.factors().map(|factor| factor as f32);
        let width = of.dim + 1;
        let mut queries = Vec::with_capacity(of.pairs.len() * width);
        for [anchor, positive] in of.each() {
            let both = anchor.iter().zip(positive);
            queries.extend(both.map(|(a, p)| sum * (a + p)));
            queries.push(-product * dot(anchor, positive) as f32);
        }
        let mut references = Vec::with_capacity(items.len() * width);
        for &item in items {
            references.extend_from_slice(of.row(item));
            references.push(1.0);
        }
        let sides = Sides::new(&queries, Some(&references), width, places);
        let found = walk(&Negatives, &sides, wanted);
        let gradient = found.gradients.map(|(on_queries, on_references)| {
            let mut gradient = vec![0.0; of.rows.len()];
            for (&[anchor, positive], slope) in of.pairs.iter().zip(on_queries.chunks(width)) {
                let (slope, own) = (&slope[..of.dim], -product * slope[of.dim]);
                for (row, other) in [(anchor, positive), (positive, anchor)] {
                    of.add(&mut gradient, row, sum, slope);
                    of.add(&mut gradient, row, own, of.row(other));
                }
            }
            let on_references = on_references.unwrap_or_default();
            for (&item, slope) in items.iter().zip(on_references.chunks(width)) {
                of.add(&mut gradient, item, 1.0, &slope[..of.dim]);
            }
            gradient
        });
        (found.value, gradient)
    }

    /// All pairs of a class, with all items of other classes.
    fn of_all<B: RecallBackend>(
        &self,
        embeddings: Tensor<B, 2>,
        labels: &[i64],
    ) -> Result<Tensor<B, 1>, LossError> {
        let places = Places::within(labels);
        no_positives("the angular loss", &places)?;
        if !places.have_triplets() {
            return Err(LossError::Lacking {
                loss: "the angular loss",
                needs: "items of two classes",
                items: labels.len(),
                remedy: "sample at least two classes",
            });
        }
        let of_row = |(row, place): (usize, &Place)| {
            let first = places.queries[row];
            let seconds = place.positives().filter(move |&column| column > row);
            let second = |column| [first, places.references[column]];
            seconds.map(second).collect::<Vec<_>>()
        };
        let pairs: Vec<[usize; 2]> = places.rows.iter().enumerate().flat_map(of_row).collect();
        let classes: Vec<i64> = pairs.iter().map(|&[first, _]| labels[first]).collect();
        let places = Places::between(&classes, labels, &vec![None; pairs.len()]);
        let items: Vec<usize> = (0..labels.len()).collect();
        Ok(self.against(embeddings, &pairs, &items, &places))
    }
}

impl<B: RecallBackend> MetricLoss<B> for Angular {
    fn evaluate(&self, batch: Batch<'_, B>) -> Result<Tensor<B, 1>, LossError> {
        batch.dims()?;
        if self.0.form == AngularForm::AllPairs {
            return self.of_all(batch.embeddings, batch.labels);
        }
        let pairs = self.pairs(batch.labels, batch.seed)?;
        self.evaluate_pairs(batch.embeddings, &pairs)
    }
}

/// `mean log(1 + Σ_n e^x)` over the negatives of each row.
struct Negatives;

impl RowLoss for Negatives {
    type Note = ();
    /// How many rows there are.
    type Whole = f64;
    const MEASURE: Measure = Measure::Similarity;
    const LOOKS: bool = false;

    fn whole(&self, _: Vec<()>, places: &Places) -> f64 {
        places.rows.len() as f64
    }

    #[inline(always)]
    fn term(&self, _: &f64, _: usize, place: &Place, row: &mut [f32]) -> Term {
        let parts = place.negatives(row.len());
        // Not below 0, the logarithm of the one.
        let greatest = (parts.iter()).fold(0.0f32, |most, range| {
            most.max(greatest(&row[range.clone()], |x| x))
        });
        let sums = parts
            .clone()
            .map(|range| sum_exp(&row[range], 1.0, greatest));
        let sum = (-f64::from(greatest)).exp() + sums[0] + sums[1];
        let each = 1.0 / sum as f32;
        for range in parts {
            for value in &mut row[range] {
                *value = each * exp(*value - greatest);
            }
        }
        row[place.class.clone()].fill(0.0);
        Term::of(f64::from(greatest) + sum.ln())
    }

    fn scale(&self, rows: &f64, _: u64) -> f64 {
        1.0 / rows
    }

    fn visit(&self, sides: &Sides<'_>, wanted: bool) -> Found {
        walk(self, sides, wanted)
    }
}
