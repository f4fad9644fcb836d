//! SoftTriple (Qian et al., "SoftTriple Loss: Deep Metric Learning Without Triplet Sampling", ICCV 2019).

use burn::config::Config;
use burn::tensor::{Bool, Tensor};
use rayon::prelude::*;
use recall_loss::RecallBackend;

use super::softmax::{Plain, cross_entropy, log_sums};
use super::{around_zero, proxies};
use crate::dense::{Dense, column_like, indices};
use crate::error::{finite, not_negative, positive, require};
use crate::rows::{
    Found, Measure, Place, RowLoss, Side, Sides, Term, dot, exp, of_values, rows, suit, walk,
};
use crate::{Batch, LossError, MetricLoss, Parameters, Places};

/// Settings of SoftTriple; [`init`](Self::init) checks them.
#[derive(Config, Debug, PartialEq)]
pub struct SoftTripleConfig {
    /// λ, what similarities with classes are multiplied by. Default 20.
    #[config(default = 20.0)]
    pub scale: f64,
    /// Temperature of the softmax over the centres of a class. Default 0.1.
    #[config(default = 0.1)]
    pub gamma: f64,
    /// Margin, which is subtracted from the similarity with the own class. Default 0.01.
    #[config(default = 0.01)]
    pub delta: f64,
    /// Weight of the mean distance between the centres of a class, which lets needless centres merge. Default 0.2.
    #[config(default = 0.2)]
    pub tau: f64,
    /// K, the number of centres of a class. Default 10.
    #[config(default = 10)]
    pub centres: usize,
}

impl SoftTripleConfig {
    /// Checks the settings and makes the loss.
    ///
    /// # Errors
    ///
    /// [`LossError::Setting`].
    pub fn init(&self) -> Result<SoftTriple, LossError> {
        positive("scale", self.scale)?;
        positive("gamma", self.gamma)?;
        finite("delta", self.delta)?;
        not_negative("tau", self.tau)?;
        require(
            self.centres > 0,
            "centres",
            self.centres,
            "a class needs at least one centre",
        )?;
        Ok(SoftTriple(self.clone()))
    }
}

/// `mean_i CE(softmax_c λ (S_ic − δ [c = y_i]), y_i) + τ/(C K (K − 1)) Σ_c Σ_{k<l} √(2 + 10⁻⁵ − 2 w_ck · w_cl)`,
/// where `S_ic = Σ_k softmax_k(e_i · w_ck / γ) e_i · w_ck` is the similarity of a row with the `K` centres `w` of a
/// class; made by [`SoftTripleConfig::init`], and trained by [`Trained`](crate::Trained).
///
/// Rows are of unit length and are not normalised again; the centres are. The parameters are `[C · K, d]`: the
/// centres of a class lie one behind the other. Labels are the numbers of classes. Lonely items count like all
/// others. The authors train the centres at a rate of 0.01 with an ε of 0.01 in Adam.
///
/// Elsewhere: pytorch-metric-learning leaves the distances between centres out. Revisiting Deep Metric Learning
/// normalises the centres along the wrong axis, and takes the softmax over classes.
#[derive(Debug, Clone, PartialEq)]
pub struct SoftTriple(SoftTripleConfig);

impl<B: RecallBackend> MetricLoss<B> for SoftTriple {
    /// Around the origin with variance `1 / (3 C K)`, that of the uniform distribution of the authors' code.
    fn parameters(&self, classes: usize, dim: usize) -> Option<Parameters> {
        let centres = classes * self.0.centres;
        around_zero(centres, dim, 1.0 / (3.0 * centres.max(1) as f64).sqrt())
    }

    fn evaluate(&self, batch: Batch<'_, B>) -> Result<Tensor<B, 1>, LossError> {
        let each = self.0.centres;
        let centres = proxies("SoftTriple", &batch, each)?;
        let classes = centres.dims()[0] / each;
        let distances = match self.0.tau > 0.0 && each > 1 {
            true => Some(self.between_centres(Side::unit(centres.clone()), classes)),
            false => None,
        };
        let centres = Side::unit(centres);
        let loss = match suit::<B>(batch.embeddings.dtype()) {
            true => {
                let places = centre_by_centre(batch.labels, classes, each);
                rows(self, batch.embeddings, centres, &places)
            }
            false => {
                let places = Places::with_proxies(batch.labels, classes, each);
                self.dense(batch.embeddings, centres.tensor(), &places, batch.labels)
            }
        };
        Ok(match distances {
            Some(distances) => loss + distances,
            None => loss,
        })
    }
}

impl SoftTriple {
    /// The mean distance between centres of a class, weighted.
    fn between_centres<B: RecallBackend>(&self, centres: Side<B>, classes: usize) -> Tensor<B, 1> {
        let each = self.0.centres;
        let [_, dim] = centres.dims();
        if suit::<B>(centres.dtype()) {
            return of_values(centres, |rows, _| {
                let (value, gradient) = self.distances(rows, dim, classes);
                (value, Some(gradient))
            });
        }
        let centres = centres.tensor().reshape([classes, each, dim]);
        let products = centres.clone().matmul(centres.transpose());
        let own = Tensor::<B, 2, Bool>::diag_mask([each, each], 0, &products.device()).bool_not();
        let own = own.reshape([1, each, each]).expand([classes, each, each]);
        let squares = products.mul_scalar(-2.0).add_scalar(2.0 + LITTLE);
        let distances = squares
            .mask_fill(own.clone(), 1.0)
            .sqrt()
            .mask_fill(own, 0.0);
        // Each pair is there twice.
        let pairs = (classes * each * (each - 1)) as f64;
        distances.sum().mul_scalar(0.5 * self.0.tau / pairs)
    }

    /// The same of numbers, with its gradient.
    fn distances(&self, rows: &[f32], dim: usize, classes: usize) -> (f64, Vec<f32>) {
        let each = self.0.centres;
        let weight = self.0.tau / (classes * each * (each - 1)) as f64;
        let mut gradient = vec![0.0; rows.len()];
        let of_class = |(rows, slopes): (&[f32], &mut [f32])| {
            let mut sum = 0.0;
            for first in 0..each {
                let row = &rows[first * dim..(first + 1) * dim];
                for second in (0..each).filter(|&second| second != first) {
                    let other = &rows[second * dim..(second + 1) * dim];
                    let distance = (2.0 + LITTLE - 2.0 * dot(row, other)).sqrt();
                    // Each pair is there twice.
                    sum += 0.5 * distance;
                    let pull = (-weight / distance) as f32;
                    let slopes = &mut slopes[first * dim..(first + 1) * dim];
                    for (slope, &x) in slopes.iter_mut().zip(other) {
                        *slope += pull * x;
                    }
                }
            }
            sum
        };
        let size = (each * dim).max(1);
        let rows = rows.par_chunks(size).zip(gradient.par_chunks_mut(size));
        let sums: Vec<f64> = rows.map(of_class).collect();
        (weight * sums.iter().sum::<f64>(), gradient)
    }

    fn dense<B: RecallBackend>(
        &self,
        embeddings: Tensor<B, 2>,
        centres: Tensor<B, 2>,
        places: &Places,
        labels: &[i64],
    ) -> Tensor<B, 1> {
        let config = &self.0;
        let similarities = Dense::new(embeddings, centres, places).similarities();
        let [items, columns] = similarities.dims();
        let classes = columns / config.centres;
        let similarities = similarities.reshape([items * classes, config.centres]);
        let logits = similarities.clone().mul_scalar(1.0 / config.gamma);
        let weights = (logits.clone() - log_sums(logits)).exp();
        let near = (similarities * weights)
            .sum_dim(1)
            .reshape([items, classes]);
        let own = labels.iter().enumerate();
        let own: Vec<usize> = own
            .map(|(row, &label)| row * classes + label as usize)
            .collect();
        let mut margins = vec![0.0; items * classes];
        for &place in &own {
            margins[place] = config.delta;
        }
        let margins = column_like(&near, margins).reshape([items, classes]);
        let logits = (near - margins).mul_scalar(config.scale);
        let own = indices(&own, &logits.device());
        let own = logits.clone().reshape([items * classes, 1]).select(0, own);
        (log_sums(logits) - own).mean()
    }
}

/// Added to squared distances, whose roots have a derivative everywhere then; the authors' number.
const LITTLE: f64 = 1e-5;

/// The first centres of all classes before their second ones, and so on: what is done for each class is done for
/// neighbours then. A row's class is the place of its first centre.
fn centre_by_centre(labels: &[i64], classes: usize, each: usize) -> Places {
    let rows = labels.iter().map(|&label| Place {
        class: label as usize..label as usize + 1,
        own: None,
    });
    let centres = |centre| (0..classes).map(move |class| class * each + centre);
    Places {
        queries: (0..labels.len()).collect(),
        references: (0..each).flat_map(centres).collect(),
        rows: rows.collect(),
        same: false,
        constant: false,
    }
}

impl RowLoss for SoftTriple {
    type Note = ();
    type Whole = f64;
    const MEASURE: Measure = Measure::Similarity;
    const LOOKS: bool = false;

    fn whole(&self, _: Vec<()>, places: &Places) -> f64 {
        places.rows.len() as f64
    }

    #[inline(always)]
    fn term(&self, _: &f64, _: usize, place: &Place, row: &mut [f32]) -> Term {
        let config = &self.0;
        let sharp = (1.0 / config.gamma) as f32;
        let classes = row.len() / config.centres;
        let mut greatest = row[..classes].to_vec();
        for similarities in row.chunks_exact(classes).skip(1) {
            for (greatest, &similarity) in greatest.iter_mut().zip(similarities) {
                *greatest = if similarity > *greatest {
                    similarity
                } else {
                    *greatest
                };
            }
        }
        let mut weights = row.to_vec();
        let (mut sums, mut near) = (vec![0.0f32; classes], vec![0.0f32; classes]);
        for weights in weights.chunks_exact_mut(classes) {
            for (((weight, greatest), sum), near) in weights
                .iter_mut()
                .zip(&greatest)
                .zip(&mut sums)
                .zip(&mut near)
            {
                let similarity = *weight;
                *weight = exp(sharp * (similarity - greatest));
                *sum += *weight;
                *near += *weight * similarity;
            }
        }
        for (near, sum) in near.iter_mut().zip(&sums) {
            *near /= sum;
        }
        let mut slopes = near.clone();
        let own = place.class.start;
        slopes[own] -= config.delta as f32;
        let value = cross_entropy(&mut slopes, own, config.scale, &Plain);
        for (slope, sum) in slopes.iter_mut().zip(sums) {
            *slope /= sum;
        }
        for (row, weights) in (row.chunks_exact_mut(classes)).zip(weights.chunks_exact(classes)) {
            for (((similarity, weight), near), slope) in
                row.iter_mut().zip(weights).zip(&near).zip(&slopes)
            {
                *similarity = slope * weight * (1.0 + sharp * (*similarity - near));
            }
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
