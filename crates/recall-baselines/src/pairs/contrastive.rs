//! Contrastive loss (Hadsell, Chopra and LeCun, CVPR 2006), in the three forms that go by its name.

use burn::config::Config;
use burn::tensor::Tensor;
use recall_loss::RecallBackend;
use serde::{Deserialize, Serialize};

use super::{PairLoss, no_positives};
use crate::dense::{Dense, count, only, root};
use crate::error::{finite, not_negative};
use crate::rows::{Found, Measure, Place, RowLoss, Sides, Term, rows, suit, walk};
use crate::{Batch, LossError, MetricLoss, Places};

/// Which of three losses: a table that says "contrastive" has to say which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContrastiveForm {
    /// That of its authors, the mean over all pairs of `½ d²` of positives and `½ [m − d]₊²` of negatives.
    Squared,
    /// The default of pytorch-metric-learning: the mean of the positive pairs' `[d − m⁺]₊` that are not zero,
    /// plus that of the negative pairs' `[m − d]₊`.
    Hinges,
    /// That of most recent tables (Wang et al., "Cross-Batch Memory", CVPR 2020):
    /// `1/n Σ_i (Σ_P (1 − s) + Σ_{N, s > m} s)`.
    Cosine,
}

/// Settings of the contrastive loss: [`squared`](Self::squared), [`hinges`](Self::hinges) or
/// [`cosine`](Self::cosine), and [`init`](Self::init).
#[derive(Config, Debug, PartialEq)]
pub struct ContrastiveConfig {
    /// Which loss.
    pub form: ContrastiveForm,
    /// What negatives are pushed to: a distance, or, for the cosine form, a similarity. Default 1, and 0.5 for
    /// the cosine form.
    #[config(default = 1.0)]
    pub margin: f64,
    /// Distance to which positives are pulled by the hinges. Default 0.
    #[config(default = 0.0)]
    pub positive_margin: f64,
    /// Whether the cosine form adds `s − m` for a negative, and not `s` as the released code does. The
    /// gradient is the same; the value of the released one jumps at `s = m`. Default false.
    #[config(default = false)]
    pub subtract_margin: bool,
}

impl ContrastiveConfig {
    /// The form of the authors, with margin 1.
    pub fn squared() -> Self {
        Self::new(ContrastiveForm::Squared)
    }

    /// The form of pytorch-metric-learning, with its margins 0 and 1.
    pub fn hinges() -> Self {
        Self::new(ContrastiveForm::Hinges)
    }

    /// The form of cross-batch memory, with its margin 0.5.
    pub fn cosine() -> Self {
        Self::new(ContrastiveForm::Cosine).with_margin(0.5)
    }

    /// Checks the settings and makes the loss.
    ///
    /// # Errors
    ///
    /// [`LossError::Setting`].
    pub fn init(&self) -> Result<Contrastive, LossError> {
        match self.form {
            ContrastiveForm::Cosine => finite("margin", self.margin)?,
            _ => not_negative("margin", self.margin)?,
        }
        not_negative("positive_margin", self.positive_margin)?;
        Ok(Contrastive(self.clone()))
    }
}

/// Contrastive loss; made by [`ContrastiveConfig::init`].
///
/// Rows are of unit length. Lonely items are negatives to all others. A batch of one class is no error.
///
/// Elsewhere: research-xbm, the code of the cosine form, leaves out pairs with `s ≥ 1 − 10⁻⁵` as those of an item
/// with itself, and with them those of duplicates.
#[derive(Debug, Clone, PartialEq)]
pub struct Contrastive(ContrastiveConfig);

impl<B: RecallBackend> MetricLoss<B> for Contrastive {
    fn compares_similarities(&self) -> bool {
        self.0.form == ContrastiveForm::Cosine
    }

    fn evaluate(&self, batch: Batch<'_, B>) -> Result<Tensor<B, 1>, LossError> {
        batch.dims()?;
        let places = Places::within(batch.labels);
        no_positives("contrastive", &places)?;
        self.between(batch.embeddings.clone(), batch.embeddings, &places)
    }
}

impl<B: RecallBackend> PairLoss<B> for Contrastive {
    fn between(
        &self,
        queries: Tensor<B, 2>,
        references: Tensor<B, 2>,
        places: &Places,
    ) -> Result<Tensor<B, 1>, LossError> {
        let config = &self.0;
        let pairs = pairs(places);
        if suit::<B>(queries.dtype()) {
            return Ok(match config.form {
                ContrastiveForm::Squared => {
                    rows(&Squared { config, pairs }, queries, references, places)
                }
                ContrastiveForm::Hinges => rows(&Hinges { config }, queries, references, places),
                ContrastiveForm::Cosine => {
                    let queries_count = places.rows.len() as f64;
                    rows(
                        &Cosine {
                            config,
                            queries: queries_count,
                        },
                        queries,
                        references,
                        places,
                    )
                }
            });
        }
        let dense = Dense::new(queries, references, places);
        Ok(match config.form {
            ContrastiveForm::Squared => squared(config, &dense, pairs),
            ContrastiveForm::Hinges => hinges(config, &dense),
            ContrastiveForm::Cosine => cosine(config, &dense),
        })
    }
}

/// How many comparisons there are.
fn pairs(places: &Places) -> f64 {
    let columns = places.references.len();
    let of_row = |place: &Place| columns - usize::from(place.own.is_some());
    places.rows.iter().map(of_row).sum::<usize>().max(1) as f64
}

fn squared<B: RecallBackend>(
    config: &ContrastiveConfig,
    of: &Dense<B>,
    pairs: f64,
) -> Tensor<B, 1> {
    let squares = of.squared_distances();
    let short = root(squares.clone())
        .neg()
        .add_scalar(config.margin)
        .clamp_min(0.0);
    let negatives = only(short.clone() * short, &of.negative);
    (only(squares, &of.positive) + negatives)
        .sum()
        .mul_scalar(0.5 / pairs)
}

fn hinges<B: RecallBackend>(config: &ContrastiveConfig, of: &Dense<B>) -> Tensor<B, 1> {
    let distances = root(of.squared_distances());
    let far = distances
        .clone()
        .sub_scalar(config.positive_margin)
        .clamp_min(0.0);
    let near = distances.neg().add_scalar(config.margin).clamp_min(0.0);
    let mean = |values: Tensor<B, 2>| {
        let some = count(values.clone().greater_elem(0.0)).max(1.0);
        values.sum().mul_scalar(1.0 / some)
    };
    mean(only(far, &of.positive)) + mean(only(near, &of.negative))
}

fn cosine<B: RecallBackend>(config: &ContrastiveConfig, of: &Dense<B>) -> Tensor<B, 1> {
    let similarities = of.similarities();
    let [queries, _] = similarities.dims();
    let near = (of.negative.clone()).bool_and(similarities.clone().greater_elem(config.margin));
    let added = similarities.clone().sub_scalar(subtracted(config));
    let positives = only(similarities.neg().add_scalar(1.0), &of.positive);
    (positives + only(added, &near))
        .sum()
        .mul_scalar(1.0 / queries as f64)
}

fn subtracted(config: &ContrastiveConfig) -> f64 {
    if config.subtract_margin {
        config.margin
    } else {
        0.0
    }
}

struct Squared<'a> {
    config: &'a ContrastiveConfig,
    pairs: f64,
}

impl RowLoss for Squared<'_> {
    type Note = ();
    type Whole = ();
    const MEASURE: Measure = Measure::SquaredDistance;
    const LOOKS: bool = false;

    fn whole(&self, _: Vec<()>, _: &Places) {}

    #[inline(always)]
    fn term(&self, (): &(), _: usize, place: &Place, row: &mut [f32]) -> Term {
        let margin = self.config.margin as f32;
        let mut value = 0.0;
        for range in place.negatives(row.len()) {
            for square in &mut row[range] {
                let distance = square.sqrt();
                let short = (margin - distance).max(0.0);
                value += f64::from(short * short);
                *square = if short > 0.0 && distance > 0.0 {
                    -0.5 * short / distance
                } else {
                    0.0
                };
            }
        }
        for column in place.class.clone() {
            value += f64::from(row[column]);
            row[column] = 0.5;
        }
        if let Some(own) = place.own {
            row[own] = 0.0;
        }
        Term::of(0.5 * value)
    }

    fn scale(&self, (): &(), _: u64) -> f64 {
        1.0 / self.pairs
    }

    fn visit(&self, sides: &Sides<'_>, wanted: bool) -> Found {
        walk(self, sides, wanted)
    }
}

struct Hinges<'a> {
    config: &'a ContrastiveConfig,
}

impl RowLoss for Hinges<'_> {
    /// How many positives and negatives are not zero.
    type Note = [u64; 2];
    type Whole = [f64; 2];
    const MEASURE: Measure = Measure::SquaredDistance;
    const LOOKS: bool = true;

    #[inline(always)]
    fn look(&self, _: usize, place: &Place, row: &[f32]) -> [u64; 2] {
        let (near, far) = (
            self.config.margin as f32,
            self.config.positive_margin as f32,
        );
        let positives = place.positives().filter(|&column| row[column].sqrt() > far);
        let of = |range: std::ops::Range<usize>| {
            row[range]
                .iter()
                .map(|x| u64::from(x.sqrt() < near))
                .sum::<u64>()
        };
        let negatives = place.negatives(row.len()).map(of);
        [positives.count() as u64, negatives.iter().sum()]
    }

    fn whole(&self, notes: Vec<[u64; 2]>, _: &Places) -> [f64; 2] {
        [0, 1].map(|part| notes.iter().map(|note| note[part]).sum::<u64>().max(1) as f64)
    }

    #[inline(always)]
    fn term(&self, whole: &[f64; 2], _: usize, place: &Place, row: &mut [f32]) -> Term {
        let (near, far) = (
            self.config.margin as f32,
            self.config.positive_margin as f32,
        );
        let [positive, negative] = whole.map(|count| 1.0 / count);
        let (mut above, mut below) = (0.0, 0.0);
        for range in place.negatives(row.len()) {
            for square in &mut row[range] {
                let distance = square.sqrt();
                let short = (near - distance).max(0.0);
                below += f64::from(short);
                let slope = -0.5 * negative as f32 / distance;
                *square = if short > 0.0 && distance > 0.0 {
                    slope
                } else {
                    0.0
                };
            }
        }
        for column in place.class.clone() {
            let distance = row[column].sqrt();
            let counts = Some(column) != place.own && distance > far;
            above += if counts {
                f64::from(distance - far)
            } else {
                0.0
            };
            row[column] = if counts {
                0.5 * positive as f32 / distance
            } else {
                0.0
            };
        }
        Term::of(above * positive + below * negative)
    }

    fn scale(&self, _: &[f64; 2], _: u64) -> f64 {
        1.0
    }

    fn visit(&self, sides: &Sides<'_>, wanted: bool) -> Found {
        walk(self, sides, wanted)
    }
}

struct Cosine<'a> {
    config: &'a ContrastiveConfig,
    queries: f64,
}

impl RowLoss for Cosine<'_> {
    type Note = ();
    type Whole = ();
    const MEASURE: Measure = Measure::Similarity;
    const LOOKS: bool = false;

    fn whole(&self, _: Vec<()>, _: &Places) {}

    #[inline(always)]
    fn term(&self, (): &(), _: usize, place: &Place, row: &mut [f32]) -> Term {
        let margin = self.config.margin as f32;
        let subtracted = subtracted(self.config) as f32;
        let mut value = 0.0;
        for range in place.negatives(row.len()) {
            for similarity in &mut row[range] {
                let near = *similarity > margin;
                value += if near {
                    f64::from(*similarity - subtracted)
                } else {
                    0.0
                };
                *similarity = f32::from(near);
            }
        }
        for column in place.class.clone() {
            let counts = Some(column) != place.own;
            value += if counts {
                f64::from(1.0 - row[column])
            } else {
                0.0
            };
            row[column] = -f32::from(counts);
        }
        Term::of(value)
    }

    fn scale(&self, (): &(), _: u64) -> f64 {
        1.0 / self.queries
    }

    fn visit(&self, sides: &Sides<'_>, wanted: bool) -> Found {
        walk(self, sides, wanted)
    }
}
