//! Angular loss (Wang et al., "Deep Metric Learning with Angular Loss", ICCV 2017).

use burn::config::Config;
use burn::tensor::{Tensor, backend::Backend};
use recall_loss::RecallBackend;
use serde::{Deserialize, Serialize};

use super::n_pair::{check_pairs, diagonal, drawn_pairs, n_pair, of_pairs};
use super::no_positives;
use crate::dense::{Dense, log_sum_exp};
use crate::error::{not_negative, require};
use crate::rows::{Measure, Place, RowLoss, Term, exp, rows, suit, sum_exp};
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
    pub fn evaluate_pairs<B: Backend>(
        &self,
        embeddings: Tensor<B, 2>,
        pairs: &[[usize; 2]],
    ) -> Result<Tensor<B, 1>, LossError> {
        check_pairs("the angular loss", &embeddings, pairs)?;
        if self.0.form != AngularForm::WithNPair {
            return Ok(self.of_pairs(of_pairs(embeddings, pairs)));
        }
        let angular = self.of_pairs(of_pairs(unit(embeddings.clone()), pairs));
        let [anchors, positives] = of_pairs(embeddings, pairs);
        let n_pair = n_pair(anchors, positives, self.0.l2);
        Ok(n_pair + angular.mul_scalar(self.0.angular_weight))
    }

    fn square_of_tangent(&self) -> f64 {
        self.0.degrees.to_radians().tan().powi(2)
    }

    /// `4 tan²α (a + p)` and `2 (1 + tan²α) a · p`, of anchors and positives `[p, d]`: `[p, d]` and `[p, 1]`.
    fn parts<B: Backend>(&self, pairs: [Tensor<B, 2>; 2]) -> (Tensor<B, 2>, Tensor<B, 2>) {
        let square = self.square_of_tangent();
        let [anchors, positives] = pairs;
        let sums = (anchors.clone() + positives.clone()).mul_scalar(4.0 * square);
        let products = (anchors * positives).sum_dim(1);
        (sums, products.mul_scalar(2.0 * (1.0 + square)))
    }

    fn of_pairs<B: Backend>(&self, pairs: [Tensor<B, 2>; 2]) -> Tensor<B, 1> {
        let positives = pairs[1].clone();
        let (sums, own) = self.parts(pairs);
        let values = sums.matmul(positives.transpose()) - own;
        let [pairs, _] = values.dims();
        let diagonal = diagonal(pairs, &values.device());
        let all = diagonal.clone().bool_or(diagonal.clone().bool_not());
        // Where a pair meets itself is the place of the one beside the sum.
        let sums = log_sum_exp(values.mask_fill(diagonal, 0.0), &all);
        sums.sum().mul_scalar(1.0 / pairs as f64)
    }

    /// All pairs: each is a row of `f`, the products of vectors that are longer by one number.
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
        let (sums, own) = self.parts(of_pairs(embeddings.clone(), &pairs));
        let queries = Tensor::cat(vec![sums, own.neg()], 1);
        let ones = Tensor::ones(
            [labels.len(), 1],
            (&embeddings.device(), embeddings.dtype()),
        );
        let references = Tensor::cat(vec![embeddings, ones], 1);
        if suit::<B>(queries.dtype()) {
            return Ok(rows(&AllPairs, queries, references, &places));
        }
        let dense = Dense::new(queries, references, &places);
        let sums = log_sum_exp(dense.similarities(), &dense.negative);
        // log(1 + e^x), whatever the sign of x.
        let terms = sums.clone().clamp_min(0.0) + sums.abs().neg().exp().log1p();
        Ok(terms.sum().mul_scalar(1.0 / classes.len() as f64))
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

/// Rows of unit length; one of zeros stays one. No quotient: its gradient goes through `recip`, of which NdArray
/// has 14 bits in single precision.
fn unit<B: Backend>(rows: Tensor<B, 2>) -> Tensor<B, 2> {
    let squares = (rows.clone() * rows.clone()).sum_dim(1);
    let zero = squares.clone().lower_equal_elem(0.0);
    rows * squares.mask_fill(zero, 1.0).powf_scalar(-0.5)
}

/// `mean log(1 + Σ_n e^x)` over the negatives of each row.
struct AllPairs;

impl RowLoss for AllPairs {
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
        let greatest = (parts.iter()).fold(0.0, |most, range| greatest(&row[range.clone()], most));
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
        Term {
            value: f64::from(greatest) + sum.ln(),
            counted: 0,
        }
    }

    fn scale(&self, rows: &f64, _: u64) -> f64 {
        1.0 / rows
    }
}

/// The greatest of values and `most`, many compared at a time.
#[inline(always)]
fn greatest(values: &[f32], most: f32) -> f32 {
    let mut greatest = [most; 16];
    let (groups, rest) = values.as_chunks::<16>();
    for group in groups {
        for (most, &value) in greatest.iter_mut().zip(group) {
            *most = if value > *most { value } else { *most };
        }
    }
    rest.iter().chain(&greatest).fold(most, |a, &b| a.max(b))
}
