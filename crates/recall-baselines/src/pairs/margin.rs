//! Margin loss with distance-weighted sampling (Wu, Manmatha, Smola and Krähenbühl, "Sampling Matters in Deep
//! Embedding Learning", ICCV 2017).

use burn::config::Config;
use burn::tensor::{Tensor, backend::Backend};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use recall_loss::{RecallBackend, plain::products};
use serde::{Deserialize, Serialize};

use super::{no_triplets, places_of};
use crate::dense::{column_like, constant, ordered};
use crate::error::{finite, not_negative, positive, require};
use crate::rows::{Few, Measure, finish, host_values, squared_distance, suit, with_host_gradients};
use crate::{Batch, LossError, MetricLoss, Parameters};

/// What the boundary β between positives and negatives is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MarginBoundary {
    /// The same number throughout: nothing is trained.
    Fixed,
    /// One trained number, `[1, 1]`.
    Shared,
    /// A trained number for each class, `[C, 1]`, of which that of the anchor counts.
    PerClass,
}

/// Settings of the margin loss; [`init`](Self::init) checks them.
#[derive(Config, Debug, PartialEq)]
pub struct MarginConfig {
    /// By how much positives are to be nearer than the boundary, and negatives farther. Default 0.2.
    #[config(default = 0.2)]
    pub alpha: f64,
    /// The boundary, a distance; where it is trained, at the beginning. Default 1.2.
    #[config(default = 1.2)]
    pub beta: f64,
    /// Whether there is a boundary for each class, one, or one that is not trained. The authors train it at a
    /// rate of 0.1. Default one for each class.
    #[config(default = "MarginBoundary::PerClass")]
    pub boundary: MarginBoundary,
    /// What the boundaries themselves cost. Default 0.
    #[config(default = 0.0)]
    pub nu: f64,
    /// Nearer negatives are drawn as if they were at this distance. Default 0.5.
    #[config(default = 0.5)]
    pub cutoff: f64,
    /// Negatives from this distance on are not drawn, `None` for no limit. Default `Some(1.4)`, beyond which the
    /// authors' boundary leaves no loss.
    #[config(default = "Some(1.4)")]
    pub far: Option<f64>,
}

impl MarginConfig {
    /// Checks the settings and makes the loss.
    ///
    /// # Errors
    ///
    /// [`LossError::Setting`].
    pub fn init(&self) -> Result<Margin, LossError> {
        not_negative("alpha", self.alpha)?;
        finite("beta", self.beta)?;
        not_negative("nu", self.nu)?;
        positive("cutoff", self.cutoff)?;
        require(
            self.cutoff < 2.0,
            "cutoff",
            self.cutoff,
            "rows of unit length are at most 2 apart; it must be less",
        )?;
        if let Some(far) = self.far {
            require(
                far > self.cutoff,
                "far",
                far,
                "it must be more than the cutoff, or nothing could be drawn",
            )?;
        }
        Ok(Margin(self.clone()))
    }
}

/// `Σ ([α + d_ap − β]₊ + [α − d_an + β]₊ + ν β)` over drawn triplets, divided by the number of hinges that are
/// not zero, with `d = √(Σ + 10⁻⁸)`; made by [`MarginConfig::init`], and trained by [`Trained`](crate::Trained)
/// unless the boundary is fixed.
///
/// Each ordered positive pair draws one negative, with a probability in proportion to `1/q`, where
/// `log q = (D − 2) ln x + (D − 3)/2 ln(1 − x²/4)` tells how common its distance `x` from the anchor is on the sphere
/// in `D` dimensions. Rows have to be of unit length. Lonely items are negatives to all others, and no anchors. If
/// all negatives of an anchor are too far, they are equally likely. Triplets that leave no hinge cost 0, whatever ν
/// is.
///
/// Elsewhere: research-ms-loss and Revisiting Deep Metric Learning divide by the triplets with a hinge, not by the
/// hinges, and have no far limit. The authors' code draws from all items, those of the anchor's class as well, if no
/// negative is near enough. The miner of pytorch-metric-learning makes as many triplets for an anchor as its class
/// has items, and draws their positives, too.
#[derive(Debug, Clone, PartialEq)]
pub struct Margin(MarginConfig);

impl Margin {
    /// How likely each row is to be drawn as a negative of each row, which sums to 1 for each anchor.
    ///
    /// # Errors
    ///
    /// As [`evaluate`](MetricLoss::evaluate).
    pub fn negative_probabilities<B: RecallBackend>(
        &self,
        embeddings: Tensor<B, 2>,
        labels: &[i64],
    ) -> Result<Vec<Vec<f64>>, LossError> {
        no_triplets("margin", &places_of(&embeddings, labels)?)?;
        Ok(self.of_each(embeddings, labels, |_, weights| {
            let sum: f64 = weights.iter().sum();
            weights.iter().map(|weight| weight / sum).collect()
        }))
    }

    /// The triplets that follow from a seed: anchor, positive and negative, as rows of `embeddings`. There is one
    /// for each ordered positive pair.
    ///
    /// # Errors
    ///
    /// As [`evaluate`](MetricLoss::evaluate).
    pub fn triplets<B: RecallBackend>(
        &self,
        embeddings: Tensor<B, 2>,
        labels: &[i64],
        seed: u64,
    ) -> Result<Vec<[usize; 3]>, LossError> {
        let places = places_of(&embeddings, labels)?;
        no_triplets("margin", &places)?;
        let mut positives: Vec<Vec<usize>> = vec![Vec::new(); labels.len()];
        for (place, &anchor) in places.rows.iter().zip(&places.queries) {
            positives[anchor] = place.positives().map(|at| places.references[at]).collect();
        }
        let triplets = self.of_each(embeddings, labels, |anchor, weights| {
            // Each anchor has numbers of its own, so that threads may take them in any order.
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            random.set_stream(anchor as u64);
            let sums = weights.iter().scan(0.0, |sum, weight| {
                *sum += weight;
                Some(*sum)
            });
            let sums: Vec<f64> = sums.collect();
            let total = sums.last().copied().unwrap_or(0.0);
            let mut drawn = || {
                let sought = random.random::<f64>() * total;
                let place = sums.partition_point(|&sum| sum <= sought);
                let last = || weights.iter().rposition(|&weight| weight > 0.0);
                Some(place)
                    .filter(|&place| place < sums.len())
                    .or_else(last)
                    .unwrap_or(0)
            };
            let positives = positives[anchor].iter();
            positives.map(|&p| [anchor, p, drawn()]).collect::<Vec<_>>()
        });
        Ok(triplets.concat())
    }

    /// The loss of given triplets, `[1]`: anchor, positive and negative, as rows of the batch.
    ///
    /// # Errors
    ///
    /// [`LossError`] if there are none, or they do not fit the batch, or its labels do not fit the boundaries.
    pub fn evaluate_triplets<B: RecallBackend>(
        &self,
        batch: Batch<'_, B>,
        triplets: &[[usize; 3]],
    ) -> Result<Tensor<B, 1>, LossError> {
        let boundary_of = self.check(&batch, triplets)?;
        if suit::<B>(batch.embeddings.dtype()) {
            return Ok(self.on_host(batch, triplets, &boundary_of));
        }
        let hinges = self.hinges(&batch, triplets, &boundary_of);
        let count = hinges.count();
        let cost = hinges.boundaries.sum().mul_scalar(self.0.nu);
        let sum = hinges.near.sum() + hinges.far.sum() + cost;
        // Triplets without a hinge have no boundary to pay for.
        let factor = if count > 0 { 1.0 / count as f64 } else { 0.0 };
        Ok(sum.mul_scalar(factor))
    }

    /// How many hinges of given triplets are not zero, those of positives and of negatives counted apart. The loss
    /// is divided by it.
    ///
    /// # Errors
    ///
    /// As [`evaluate_triplets`](Self::evaluate_triplets).
    pub fn violations<B: Backend>(
        &self,
        batch: Batch<'_, B>,
        triplets: &[[usize; 3]],
    ) -> Result<usize, LossError> {
        let boundary_of = self.check(&batch, triplets)?;
        Ok(self.hinges(&batch, triplets, &boundary_of).count())
    }

    /// Refuses what does not fit together; returns the boundary of each triplet, a row of the parameters.
    fn check<B: Backend>(
        &self,
        batch: &Batch<'_, B>,
        triplets: &[[usize; 3]],
    ) -> Result<Vec<usize>, LossError> {
        let [items, _] = batch.dims()?;
        if triplets.is_empty() {
            return Err(LossError::Lacking {
                loss: "margin",
                needs: "triplets",
                items,
                remedy: "give at least one triplet",
            });
        }
        if let Some(triplet) = triplets
            .iter()
            .find(|of| of.iter().any(|&row| row >= items))
        {
            require(
                false,
                "triplets",
                format!("{triplet:?}"),
                "they must be of rows of the batch",
            )?;
        }
        let per_class = match self.0.boundary {
            MarginBoundary::Fixed => return Ok(Vec::new()),
            MarginBoundary::Shared => false,
            MarginBoundary::PerClass => true,
        };
        let labels = || triplets.iter().map(|&[anchor, ..]| batch.labels[anchor]);
        let shape = batch.parameters.as_ref().map(|of| of.dims());
        let fits = shape.filter(|&[count, width]| width == 1 && (per_class || count == 1));
        let Some([classes, _]) = fits else {
            let most = labels().max().map_or(1, |label| label.max(0) as usize + 1);
            return Err(LossError::Parameters {
                loss: "margin",
                expected: [if per_class { most } else { 1 }, 1],
                got: shape.map_or_else(Vec::new, |shape| shape.to_vec()),
            });
        };
        if !per_class {
            return Ok(vec![0; triplets.len()]);
        }
        let wrong = |triplet: &&[usize; 3]| {
            let label = batch.labels[triplet[0]];
            label < 0 || label as usize >= classes
        };
        if let Some(&[row, ..]) = triplets.iter().find(wrong) {
            return Err(LossError::Label {
                row,
                label: batch.labels[row],
                classes,
            });
        }
        Ok(labels().map(|label| label as usize).collect())
    }

    fn hinges<B: Backend>(
        &self,
        batch: &Batch<'_, B>,
        triplets: &[[usize; 3]],
        boundary_of: &[usize],
    ) -> Hinges<B> {
        let boundaries = match &batch.parameters {
            Some(boundaries) if !boundary_of.is_empty() => ordered(boundaries.clone(), boundary_of),
            _ => column_like(&batch.embeddings, vec![self.0.beta; triplets.len()]),
        };
        let rows = |part: usize| {
            let rows: Vec<usize> = triplets.iter().map(|triplet| triplet[part]).collect();
            ordered(batch.embeddings.clone(), &rows)
        };
        let distance = |a: Tensor<B, 2>, b: Tensor<B, 2>| {
            let difference = a - b;
            let square = (difference.clone() * difference).sum_dim(1);
            square.add_scalar(LITTLE).sqrt()
        };
        let anchors = rows(0);
        let near = distance(anchors.clone(), rows(1)) - boundaries.clone();
        let far = boundaries.clone() - distance(anchors, rows(2));
        let hinge = |over: Tensor<B, 2>| over.add_scalar(self.0.alpha).clamp_min(0.0);
        Hinges {
            near: hinge(near),
            far: hinge(far),
            boundaries,
        }
    }

    fn on_host<B: RecallBackend>(
        &self,
        batch: Batch<'_, B>,
        triplets: &[[usize; 3]],
        boundary_of: &[usize],
    ) -> Tensor<B, 1> {
        let device = batch.embeddings.device();
        let dim = batch.embeddings.dims()[1];
        let rows = host_values(batch.embeddings.clone());
        let parameters = batch.parameters.filter(|_| !boundary_of.is_empty());
        let boundaries = parameters.clone().map(host_values).unwrap_or_default();
        let found = self.of_rows(&rows, dim, &boundaries, triplets, boundary_of);
        let [on_rows, on_boundaries] = found.gradients;
        let gradients = parameters.map(|parameters| (parameters, on_boundaries));
        let gradients = gradients.into_iter().chain([(batch.embeddings, on_rows)]);
        with_host_gradients(found.value, gradients, &device)
    }

    /// The loss with its gradients: of each triplet two distances, of which most may have no hinge.
    fn of_rows(
        &self,
        rows: &[f32],
        dim: usize,
        boundaries: &[f32],
        triplets: &[[usize; 3]],
        boundary_of: &[usize],
    ) -> OfRows {
        let items = rows.len().checked_div(dim).unwrap_or(0);
        let row = |row: usize| &rows[row * dim..(row + 1) * dim];
        let distance = |a: usize, b: usize| (squared_distance(row(a), row(b)) + LITTLE).sqrt();
        let distances: Vec<[f64; 2]> = triplets
            .par_iter()
            .map(|&[anchor, positive, negative]| {
                [distance(anchor, positive), distance(anchor, negative)]
            })
            .collect();

        let (mut sum, mut count) = (0.0, 0u64);
        let mut few = Few(vec![Vec::new(); items]);
        let mut on_boundaries = vec![0.0f64; boundaries.len()];
        for (at, (&[anchor, positive, negative], [near, far])) in
            triplets.iter().zip(distances).enumerate()
        {
            let of = boundary_of.get(at).copied();
            let beta = of.map_or(self.0.beta, |of| f64::from(boundaries[of]));
            sum += self.0.nu * beta;
            let mut slope = self.0.nu;
            for (over, other, sign, distance) in [
                (near - beta, positive, 1.0, near),
                (beta - far, negative, -1.0, far),
            ] {
                let hinge = self.0.alpha + over;
                if hinge > 0.0 {
                    sum += hinge;
                    count += 1;
                    slope -= sign;
                    // With respect to the square of the distance.
                    few.0[anchor].push((other, (0.5 * sign / distance) as f32));
                }
            }
            if let Some(of) = of {
                on_boundaries[of] += slope;
            }
        }
        // Triplets without a hinge have no boundary to pay for.
        let factor = if count > 0 { 1.0 / count as f64 } else { 0.0 };
        let mut on_rows = vec![0.0; rows.len()];
        few.pull_both(Measure::SquaredDistance, rows, &mut on_rows);
        let nothing = vec![(0.0, 0.0); items];
        finish(
            &mut on_rows,
            rows,
            dim,
            Measure::SquaredDistance,
            factor,
            &nothing,
        );
        let on_boundaries = on_boundaries.iter().map(|&slope| (slope * factor) as f32);
        OfRows {
            value: sum * factor,
            gradients: [on_rows, on_boundaries.collect()],
        }
    }

    /// Calls `of` with each row and what the probabilities of its negatives are in proportion to, a block of rows
    /// at a time.
    fn of_each<B: RecallBackend, T: Send>(
        &self,
        embeddings: Tensor<B, 2>,
        labels: &[i64],
        of: impl Fn(usize, &[f64]) -> T + Sync,
    ) -> Vec<T> {
        let embeddings = constant(embeddings);
        let [count, dim] = embeddings.dims();
        let on_host = |values: Tensor<B, 2>| values.into_data().iter::<f64>().collect::<Vec<f64>>();
        let squares = on_host((embeddings.clone() * embeddings.clone()).sum_dim(1));
        let size = (BLOCK / count.max(1)).clamp(16, 512);
        let mut found = Vec::with_capacity(count);
        for start in (0..count).step_by(size) {
            let rows = embeddings
                .clone()
                .slice([start..count.min(start + size), 0..dim]);
            let mut products = on_host(products(rows, embeddings.clone()));
            let of_block = products.par_chunks_mut(count).enumerate().map(|(at, row)| {
                let anchor = start + at;
                for (value, &other) in row.iter_mut().zip(&squares) {
                    *value = squares[anchor] + other - 2.0 * *value;
                }
                self.weigh(row, labels, labels[anchor], dim);
                of(anchor, row)
            });
            found.par_extend(of_block);
        }
        found
    }

    /// Turns squared distances `x²` from an anchor into what the probabilities are in proportion to:
    /// `1/q = (x² (1 − x²/4))^((3 − D)/2) / x`.
    fn weigh(&self, row: &mut [f64], labels: &[i64], own: i64, dim: usize) {
        let nearest = self.0.cutoff * self.0.cutoff;
        let farthest = self.0.far.map_or(f64::INFINITY, |far| far * far);
        let power = 0.5 * (3.0 - dim as f64);
        // Opposite points would be infinitely rare.
        let base = |square: f64| square * (1.0 - 0.25 * square).max(1e-8);
        // Powers are relative to the greatest one, which is that of the least or of the greatest number.
        let mut ends = [f64::MAX, 0.0f64];
        for (value, &label) in row.iter_mut().zip(labels) {
            let square = value.max(nearest);
            *value = match label == own || square >= farthest {
                true => NEVER,
                false => {
                    let base = base(square);
                    ends = [ends[0].min(base), ends[1].max(base)];
                    square
                }
            };
        }
        let none = ends[1] == 0.0;
        let scale = if power < 0.0 { ends[0] } else { ends[1] };
        for (value, &label) in row.iter_mut().zip(labels) {
            *value = if none {
                f64::from(label != own)
            } else if *value == NEVER {
                0.0
            } else {
                (power * (base(*value) / scale).ln()).exp() / value.sqrt()
            };
        }
    }
}

/// Added to squared distances, whose roots have a derivative everywhere then.
const LITTLE: f64 = 1e-8;

/// Stands for the squared distance of what is not drawn.
const NEVER: f64 = -1.0;

/// Numbers of a block of rows, about.
const BLOCK: usize = 1 << 21;

/// The loss of rows, and its gradients with respect to these and the boundaries.
struct OfRows {
    value: f64,
    gradients: [Vec<f32>; 2],
}

/// What is left of each triplet, `[t, 1]`.
struct Hinges<B: Backend> {
    near: Tensor<B, 2>,
    far: Tensor<B, 2>,
    boundaries: Tensor<B, 2>,
}

impl<B: Backend> Hinges<B> {
    fn count(&self) -> usize {
        let some = |hinges: &Tensor<B, 2>| {
            crate::dense::count(hinges.clone().detach().greater_elem(0.0)) as usize
        };
        some(&self.near) + some(&self.far)
    }
}

impl<B: RecallBackend> MetricLoss<B> for Margin {
    fn parameters(&self, classes: usize, _: usize) -> Option<Parameters> {
        let count = match self.0.boundary {
            MarginBoundary::Fixed => return None,
            MarginBoundary::Shared => 1,
            MarginBoundary::PerClass => classes,
        };
        Some(Parameters {
            shape: [count, 1],
            mean: self.0.beta,
            std: 0.0,
        })
    }

    fn evaluate(&self, batch: Batch<'_, B>) -> Result<Tensor<B, 1>, LossError> {
        let triplets = self.triplets(batch.embeddings.clone(), batch.labels, batch.seed)?;
        self.evaluate_triplets(batch, &triplets)
    }
}
