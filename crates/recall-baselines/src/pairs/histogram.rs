//! Histogram loss (Ustinova and Lempitsky, "Learning Deep Embeddings with Histogram Loss", NeurIPS 2016).

use std::sync::atomic::{AtomicU64, Ordering};

use burn::config::Config;
use burn::tensor::{Tensor, backend::Backend};
use recall_loss::RecallBackend;

use super::{PairLoss, no_positives, with_itself};
use crate::dense::Dense;
use crate::error::{positive, require};
use crate::rows::{Bins, Found, Measure, Place, RowLoss, Sides, Term, rows, suit, walk, widened};
use crate::{Batch, LossError, MetricLoss, Places};

/// Settings of the histogram loss; [`init`](Self::init) checks them.
#[derive(Config, Debug, PartialEq)]
pub struct HistogramConfig {
    /// Step `Δ` between the nodes of the histograms, a whole fraction of 2. Default 0.01, which the authors take for
    /// birds and products; they take 0.02 for persons.
    #[config(default = 0.01)]
    pub step: f64,
}

impl HistogramConfig {
    /// Checks the settings and makes the loss.
    ///
    /// # Errors
    ///
    /// [`LossError::Setting`].
    pub fn init(&self) -> Result<Histogram, LossError> {
        positive("step", self.step)?;
        let steps = 2.0 / self.step;
        require(
            (steps - steps.round()).abs() <= 1e-6 * steps && steps.round() >= 1.0,
            "step",
            self.step,
            "2 must be a whole multiple of it",
        )?;
        require(
            (steps as usize) < Bins::MOST,
            "step",
            self.step,
            "it must be at least 2 / 16383",
        )?;
        Ok(Histogram(self.clone()))
    }
}

/// `Σ_r h⁻_r Σ_{q≤r} h⁺_q`, the probability that a negative pair is more alike than a positive one; made by
/// [`HistogramConfig::init`].
///
/// `h⁺` and `h⁻` are the histograms of the similarities of all unordered pairs of a class, and of all others. The nodes
/// are `t_r = −1 + rΔ`, `r = 0…2/Δ`; a similarity is shared by the two that it lies between, and each histogram sums to 1.
/// Similarities beyond ±1, by rounding, belong to the first or the last node.
///
/// Rows are of unit length. Lonely items are negatives to all others. The batch needs two items of a class, and one
/// of another.
///
/// Elsewhere: pytorch-metric-learning fails on two equal rows, finds bins in single precision whatever it is given,
/// and leaves out the pair of two lonely items.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram(HistogramConfig);

/// The histograms of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Histograms {
    /// Weights of the similarities of positive pairs at the nodes, from −1 up; their sum is 1.
    pub positives: Vec<f64>,
    /// Those of negative pairs.
    pub negatives: Vec<f64>,
}

impl Histogram {
    /// The histograms of embeddings `[n, d]` with `n` labels.
    ///
    /// # Errors
    ///
    /// [`LossError`] as from [`evaluate`](MetricLoss::evaluate).
    pub fn histograms<B: RecallBackend>(
        &self,
        embeddings: Tensor<B, 2>,
        labels: &[i64],
    ) -> Result<Histograms, LossError> {
        let embeddings = embeddings.detach();
        let dims = embeddings.dims();
        if dims[0] != labels.len() {
            return Err(LossError::LabelCount {
                labels: labels.len(),
                embeddings: dims[0],
            });
        }
        let places = Places::within(labels);
        check(&places)?;
        let embeddings = widened(embeddings);
        let dense = Dense::new(embeddings.clone(), embeddings, &places);
        let numbers = |of: Tensor<B, 2>| of.into_data().iter::<f64>().collect();
        let [positives, negatives] = self.measured(&dense).histograms.map(numbers);
        Ok(Histograms {
            positives,
            negatives,
        })
    }

    fn bins(&self) -> Bins {
        let steps = (2.0 / self.0.step).round();
        Bins::new(steps as usize + 1, -1.0, 2.0 / steps)
    }

    /// The loss by tensor operations. Its derivatives are written out: through the histograms they would take
    /// a matrix for each step on the way.
    fn measured<B: Backend>(&self, dense: &Dense<B>) -> Measured<B> {
        let bins = self.bins();
        let similarities = dense.similarities().detach();
        let located = bins.located(similarities);
        let [positives, negatives] = [&dense.positive, &dense.negative].map(|mask| {
            let weights = located.weights(mask).sum_dim(0);
            let sum = weights.clone().sum().reshape([1, 1]);
            (weights / sum.clone(), sum)
        });
        let ((positives, positive_pairs), (negatives, negative_pairs)) = (positives, negatives);
        let value = (positives.clone().cumsum(1) * negatives.clone())
            .sum()
            .reshape([1]);
        let [rows, _] = dense.queries.dims();
        let table = |values: Tensor<B, 2>, pairs: Tensor<B, 2>| {
            let nodes = values.dims()[1];
            (values / pairs)
                .mul_scalar(bins.per_unit())
                .expand([rows, nodes])
        };
        let [_, nodes] = positives.dims();
        let next = Tensor::cat(
            vec![
                positives.clone().slice([0..1, 1..nodes]),
                positives.clone().slice([0..1, 0..1]),
            ],
            1,
        );
        let of_negatives = located.look_up(table(next, negative_pairs));
        let of_positives = located.look_up(table(negatives.clone().neg(), positive_pairs));
        let own = (dense.positive.clone())
            .bool_or(dense.negative.clone())
            .bool_not();
        let slopes = of_negatives
            .mask_where(dense.positive.clone(), of_positives)
            .mask_fill(own, 0.0);
        Measured {
            value,
            histograms: [positives, negatives],
            slopes,
        }
    }
}

struct Measured<B: Backend> {
    /// `[1]`.
    value: Tensor<B, 1>,
    /// Of positives and of negatives, `[1, nodes]`.
    histograms: [Tensor<B, 2>; 2],
    /// The derivatives with respect to all similarities, `[n, n]`.
    slopes: Tensor<B, 2>,
}

impl<B: RecallBackend> MetricLoss<B> for Histogram {
    fn compares_similarities(&self) -> bool {
        true
    }

    fn evaluate(&self, batch: Batch<'_, B>) -> Result<Tensor<B, 1>, LossError> {
        with_itself(self, batch)
    }
}

impl<B: RecallBackend> PairLoss<B> for Histogram {
    fn between(
        &self,
        queries: Tensor<B, 2>,
        references: Tensor<B, 2>,
        places: &Places,
    ) -> Result<Tensor<B, 1>, LossError> {
        check(places)?;
        if suit::<B>(queries.dtype()) {
            let bins = self.bins();
            let sums = || Sums::new(bins.nodes() + 1);
            let loss = Rows {
                bins,
                sums: [sums(), sums()],
            };
            return Ok(rows(&loss, queries, references, places));
        }
        let dtype = queries.dtype();
        let dense = Dense::new(widened(queries), widened(references), places);
        let measured = self.measured(&dense);
        let pull = (dense.similarities() * measured.slopes).sum();
        let value = measured.value + (pull.clone() - pull.detach());
        Ok(match value.dtype() == dtype {
            true => value,
            false => value.cast(dtype),
        })
    }
}

/// There have to be pairs of both kinds.
fn check(places: &Places) -> Result<(), LossError> {
    no_positives("the histogram loss", places)?;
    let columns = places.references.len();
    let mut rows = places.rows.iter();
    match rows.any(|place| place.negative_count(columns) > 0) {
        true => Ok(()),
        false => Err(LossError::Lacking {
            loss: "the histogram loss",
            needs: "items of two classes",
            items: places.rows.len(),
            remedy: "sample at least two classes",
        }),
    }
}

/// Counts of all rows by bucket. They are whole numbers, so the order of threads changes no bit.
struct Sums(Vec<[AtomicU64; 2]>);

impl Sums {
    fn new(buckets: usize) -> Self {
        Self((0..buckets).map(|_| Default::default()).collect())
    }

    fn weights(&self, bins: &Bins) -> Vec<f64> {
        let sums = self.0.iter();
        bins.weights(sums.map(|[count, within]| [count, within].map(|x| x.load(Ordering::Relaxed))))
    }
}

struct Rows {
    bins: Bins,
    /// Of positives and negatives. Notes of all rows would be larger than the batch.
    sums: [Sums; 2],
}

struct Tables {
    value: f64,
    /// The derivatives of the loss with respect to the similarity of a pair, by bucket.
    of_positives: Vec<f32>,
    of_negatives: Vec<f32>,
}

impl RowLoss for Rows {
    type Note = ();
    type Whole = Tables;
    const MEASURE: Measure = Measure::Similarity;
    const LOOKS: bool = true;

    #[inline(always)]
    fn look(&self, _: usize, place: &Place, row: &[f32]) {
        let mut counts = [self.bins.counts(), self.bins.counts()];
        self.bins.count(&row[place.class.clone()], &mut counts[0]);
        if let Some(own) = place.own {
            self.bins.discount(row[own], &mut counts[0]);
        }
        for range in place.negatives(row.len()) {
            self.bins.count(&row[range], &mut counts[1]);
        }
        for (counts, sums) in counts.iter().zip(&self.sums) {
            for (counts, [count, within]) in counts.iter().zip(&sums.0) {
                let [counted, where_] = Bins::sums(counts);
                if counted > 0 {
                    count.fetch_add(counted, Ordering::Relaxed);
                    within.fetch_add(where_, Ordering::Relaxed);
                }
            }
        }
    }

    fn whole(&self, _: Vec<()>, _: &Places) -> Tables {
        let [positives, negatives] = [0, 1].map(|part| self.sums[part].weights(&self.bins));
        let pairs = [&positives, &negatives].map(|weights| weights.iter().sum::<f64>());
        // All pairs are there twice, which cancels.
        let of_both = pairs[0] * pairs[1];
        let slope = self.bins.per_unit() / of_both;
        let mut tables = Tables {
            value: 0.0,
            of_positives: vec![0.0; positives.len() + 1],
            of_negatives: vec![0.0; positives.len() + 1],
        };
        let mut below = 0.0;
        for (node, (&positive, &negative)) in positives.iter().zip(&negatives).enumerate() {
            below += positive;
            tables.value += below * negative / of_both;
            if node > 0 {
                tables.of_negatives[node] = (slope * positive) as f32;
                tables.of_positives[node] = (-slope * negatives[node - 1]) as f32;
            }
        }
        tables
    }

    #[inline(always)]
    fn term(&self, tables: &Tables, index: usize, place: &Place, row: &mut [f32]) -> Term {
        for range in place.negatives(row.len()) {
            self.bins.look_up(&mut row[range], &tables.of_negatives);
        }
        self.bins
            .look_up(&mut row[place.class.clone()], &tables.of_positives);
        if let Some(own) = place.own {
            row[own] = 0.0;
        }
        // The loss is no sum over rows: the first one has all of it.
        Term::of(if index == 0 { tables.value } else { 0.0 })
    }

    fn scale(&self, _: &Tables, _: u64) -> f64 {
        1.0
    }

    fn visit(&self, sides: &Sides<'_>, wanted: bool) -> Found {
        walk(self, sides, wanted)
    }
}
