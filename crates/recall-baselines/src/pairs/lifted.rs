//! Lifted structure (Oh Song et al., "Deep Metric Learning via Lifted Structured Feature Embedding", CVPR 2016), and
//! its generalised form (Hermans, Beyer and Leibe, "In Defense of the Triplet Loss for Person Re-Identification", 2017).

use burn::config::Config;
use burn::tensor::Tensor;
use recall_loss::RecallBackend;
use serde::{Deserialize, Serialize};

use super::no_positives;
use crate::dense::{Dense, column_like, log, log_sum_exp, only, root};
use crate::error::finite;
use crate::rows::{Found, Measure, Place, RowLoss, Sides, Term, exp, lanes, rows, suit, walk};
use crate::{Batch, LossError, MetricLoss, Places};

/// Which of two losses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LiftedForm {
    /// That of its authors, over pairs: `1/(2|P|) Σ_{pairs} [log(Σ_{N_i} e^{m − d_ik} + Σ_{N_j} e^{m − d_jk}) + d_ij]₊²`.
    Pairs,
    /// That of Hermans et al., over items: `mean_i [log Σ_{P_i} e^d + log Σ_{N_i} e^{m − d}]₊`.
    Generalised,
}

/// Settings of lifted structure: [`pairs`](Self::pairs) or [`generalised`](Self::generalised), and
/// [`init`](Self::init).
#[derive(Config, Debug, PartialEq)]
pub struct LiftedConfig {
    /// Which loss.
    pub form: LiftedForm,
    /// Distance `m` that negatives are pushed to. Default 1.
    #[config(default = 1.0)]
    pub margin: f64,
}

impl LiftedConfig {
    /// The form of the authors, with margin 1.
    pub fn pairs() -> Self {
        Self::new(LiftedForm::Pairs)
    }

    /// The form of Hermans et al., with margin 1.
    pub fn generalised() -> Self {
        Self::new(LiftedForm::Generalised)
    }

    /// Checks the settings and makes the loss.
    ///
    /// # Errors
    ///
    /// [`LossError::Setting`].
    pub fn init(&self) -> Result<Lifted, LossError> {
        finite("margin", self.margin)?;
        Ok(Lifted(self.clone()))
    }
}

/// Lifted structure; made by [`LiftedConfig::init`].
///
/// Rows are long: as they come, not normalised; distances are those of Euclid. Lonely items are negatives of others,
/// and no terms of their own. The batch needs two items of a class, and one of another.
///
/// Elsewhere: pytorch-metric-learning normalises the rows unless told otherwise, and its generalised form counts
/// lonely items with their negatives alone. What Confusezius/Revisiting calls lifted is the generalised form.
#[derive(Debug, Clone, PartialEq)]
pub struct Lifted(LiftedConfig);

impl<B: RecallBackend> MetricLoss<B> for Lifted {
    fn evaluate(&self, batch: Batch<'_, B>) -> Result<Tensor<B, 1>, LossError> {
        batch.dims()?;
        let places = Places::within(batch.labels);
        no_positives("lifted structure", &places)?;
        if !places.have_triplets() {
            return Err(LossError::Lacking {
                loss: "lifted structure",
                needs: "items of two classes",
                items: places.rows.len(),
                remedy: "sample at least two classes",
            });
        }
        let (margin, embeddings) = (self.0.margin, batch.embeddings);
        if suit::<B>(embeddings.dtype()) {
            return Ok(match self.0.form {
                LiftedForm::Pairs => {
                    rows(&Paired { margin }, embeddings.clone(), embeddings, &places)
                }
                LiftedForm::Generalised => rows(
                    &Generalised { margin },
                    embeddings.clone(),
                    embeddings,
                    &places,
                ),
            });
        }
        let dense = Dense::new(embeddings.clone(), embeddings, &places);
        Ok(match self.0.form {
            LiftedForm::Pairs => paired(margin, &dense, &places),
            LiftedForm::Generalised => generalised(margin, &dense, &places),
        })
    }
}

/// How many ordered pairs of a class there are.
fn ordered_pairs(places: &Places) -> f64 {
    let rows = places.rows.iter();
    rows.map(Place::positive_count).sum::<usize>() as f64
}

/// How many items have a positive.
fn anchors(places: &Places) -> f64 {
    let rows = places.rows.iter();
    rows.filter(|place| place.positive_count() > 0).count() as f64
}

fn paired<B: RecallBackend>(margin: f64, of: &Dense<B>, places: &Places) -> Tensor<B, 1> {
    let distances = root(of.squared_distances());
    let near = log_sum_exp(distances.clone().neg().add_scalar(margin), &of.negative);
    let [count, _] = distances.dims();
    let first = near.clone().expand([count, count]);
    let second = near.transpose().expand([count, count]);
    let greatest = first.clone().max_pair(second.clone()).detach();
    let both = (first - greatest.clone()).exp() + (second - greatest.clone()).exp();
    let terms = (log(both) + greatest + distances).clamp_min(0.0);
    // Each pair is there twice.
    only(terms.clone() * terms, &of.positive)
        .sum()
        .mul_scalar(0.5 / ordered_pairs(places))
}

fn generalised<B: RecallBackend>(margin: f64, of: &Dense<B>, places: &Places) -> Tensor<B, 1> {
    let distances = root(of.squared_distances());
    let far = log_sum_exp(distances.clone(), &of.positive);
    let near = log_sum_exp(distances.neg().add_scalar(margin), &of.negative);
    // Without positives the first is far below zero.
    let has_positives = |place: &Place| f64::from(u8::from(place.positive_count() > 0));
    let counted = column_like(&far, places.rows.iter().map(has_positives).collect());
    ((far + near).clamp_min(0.0) * counted)
        .sum()
        .mul_scalar(1.0 / anchors(places))
}

/// The least of squared distances, which are not negative: their bits have the same order, and whole numbers
/// are compared many at a time.
#[inline(always)]
fn least(squares: &[f32]) -> f32 {
    let bits = squares.iter().map(|square| square.to_bits());
    f32::from_bits(bits.fold(f32::MAX.to_bits(), u32::min))
}

/// `log Σ e^(m − d)` over the squared distances of negatives; −∞ for none.
#[inline(always)]
fn nearness(margin: f64, place: &Place, row: &[f32]) -> f64 {
    let parts = place.negatives(row.len()).map(|range| &row[range]);
    let nearest = least(parts[0]).min(least(parts[1])).sqrt();
    let sum = |part| lanes(part, |square| exp(nearest - square.sqrt()));
    margin - f64::from(nearest) + (sum(parts[0]) + sum(parts[1])).ln()
}

/// Replaces the squared distances `x = d²` of negatives by `−weight · e^(m − d − near)` times the derivative of `d`.
#[inline(always)]
fn push(margin: f64, near: f64, weight: f64, place: &Place, row: &mut [f32]) {
    let (shift, weight) = ((margin - near) as f32, -0.5 * weight as f32);
    for range in place.negatives(row.len()) {
        for square in &mut row[range] {
            let distance = square.sqrt();
            let slope = weight * exp(shift - distance) / distance;
            *square = if distance > 0.0 { slope } else { 0.0 };
        }
    }
}

struct Paired {
    margin: f64,
}

impl RowLoss for Paired {
    /// [`nearness`].
    type Note = f64;
    type Whole = (Vec<f64>, f64);
    const MEASURE: Measure = Measure::SquaredDistance;
    const LOOKS: bool = true;

    #[inline(always)]
    fn look(&self, _: usize, place: &Place, row: &[f32]) -> f64 {
        nearness(self.margin, place, row)
    }

    fn whole(&self, notes: Vec<f64>, places: &Places) -> (Vec<f64>, f64) {
        (notes, ordered_pairs(places))
    }

    #[inline(always)]
    fn term(&self, whole: &(Vec<f64>, f64), index: usize, place: &Place, row: &mut [f32]) -> Term {
        let near = whole.0[index];
        let (mut value, mut weight) = (0.0, 0.0);
        for column in place.class.clone() {
            let distance = f64::from(row[column]).sqrt();
            row[column] = 0.0;
            if Some(column) == place.own {
                continue;
            }
            let other = whole.0[column];
            let greatest = near.max(other);
            let both = greatest + ((near - greatest).exp() + (other - greatest).exp()).ln();
            let term = both + distance;
            // Without negatives this is −∞, or no number.
            if term > 0.0 {
                value += term * term;
                // The pair comes from its other row once more, where the near ones of this row count, too.
                weight += 4.0 * term * (near - both).exp();
                row[column] = if distance > 0.0 {
                    (term / distance) as f32
                } else {
                    0.0
                };
            }
        }
        push(self.margin, near, weight, place, row);
        Term::of(value)
    }

    fn scale(&self, whole: &(Vec<f64>, f64), _: u64) -> f64 {
        0.5 / whole.1
    }

    fn visit(&self, sides: &Sides<'_>, wanted: bool) -> Found {
        walk(self, sides, wanted)
    }
}

struct Generalised {
    margin: f64,
}

impl RowLoss for Generalised {
    type Note = ();
    /// How many items count.
    type Whole = f64;
    const MEASURE: Measure = Measure::SquaredDistance;
    const LOOKS: bool = false;

    fn whole(&self, _: Vec<()>, places: &Places) -> f64 {
        anchors(places)
    }

    #[inline(always)]
    fn term(&self, _: &f64, _: usize, place: &Place, row: &mut [f32]) -> Term {
        let distance = |column: usize| f64::from(row[column]).sqrt();
        let farthest = (place.positives().map(distance)).fold(f64::NEG_INFINITY, f64::max);
        let sum = (place.positives()).map(|column| (distance(column) - farthest).exp());
        let far = farthest + sum.sum::<f64>().ln();
        let near = nearness(self.margin, place, row);
        let value = far + near;
        // Without positives or negatives it is −∞, or no number.
        if value.is_nan() || value <= 0.0 {
            row.fill(0.0);
            return Term::default();
        }
        push(self.margin, near, 1.0, place, row);
        for column in place.class.clone() {
            let distance = f64::from(row[column]).sqrt();
            let counts = Some(column) != place.own && distance > 0.0;
            row[column] = if counts {
                (0.5 * (distance - far).exp() / distance) as f32
            } else {
                0.0
            };
        }
        Term::of(value)
    }

    fn scale(&self, rows: &f64, _: u64) -> f64 {
        1.0 / rows
    }

    fn visit(&self, sides: &Sides<'_>, wanted: bool) -> Found {
        walk(self, sides, wanted)
    }
}
