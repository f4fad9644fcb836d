//! N-pair loss (Sohn, "Improved Deep Metric Learning with Multi-class N-pair Loss Objective", NeurIPS 2016).

use std::collections::BTreeMap;

use burn::config::Config;
use burn::tensor::{Tensor, backend::Backend};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use recall_loss::RecallBackend;

use crate::dense::ordered;
use crate::error::{not_negative, require};
use crate::proxies::{Plain, Softmax, softmax};
use crate::rows::{RowLoss, Sides, dot, of_some, suit};
use crate::{Batch, LossError, MetricLoss, Places};

/// Settings of the N-pair loss; [`init`](Self::init) checks them.
#[derive(Config, Debug, PartialEq)]
pub struct NPairConfig {
    /// Weight `λ` of the squared lengths. Default 0.002, as in the code of the author.
    #[config(default = 0.002)]
    pub l2: f64,
}

impl NPairConfig {
    /// Checks the settings and makes the loss.
    ///
    /// # Errors
    ///
    /// [`LossError::Setting`].
    pub fn init(&self) -> Result<NPair, LossError> {
        not_negative("l2", self.l2)?;
        Ok(NPair(self.clone()))
    }
}

/// `mean_c CE(softmax_k (a_c · p_k), c) + λ/4 (mean |a|² + mean |p|²)` over one pair of an anchor `a_c` and a
/// positive `p_c` of each class; made by [`NPairConfig::init`].
///
/// Rows are long: as they come, not normalised, and there is no temperature. Pairs are drawn from the seed of the
/// batch. Lonely items take no part; the batch needs two classes of two items. The author's batches are 60 pairs.
///
/// Elsewhere: pytorch-metric-learning takes the first pair of each class, and normalises the rows unless told
/// otherwise, which leaves a loss that hardly trains. Confusezius/Revisiting takes every item for an anchor, with all
/// of its negatives, and λ/4 times the mean length for the penalty.
#[derive(Debug, Clone, PartialEq)]
pub struct NPair(NPairConfig);

impl NPair {
    /// The pairs that are drawn for labels: anchor and positive, one pair of each class that has two items, in the
    /// order of the classes.
    ///
    /// # Errors
    ///
    /// [`LossError::Lacking`] if there are fewer than two.
    pub fn pairs(&self, labels: &[i64], seed: u64) -> Result<Vec<[usize; 2]>, LossError> {
        drawn_pairs("N-pair", labels, seed)
    }

    /// The loss of given pairs, rows of embeddings `[n, d]`, `[1]`: an anchor and a positive of each class.
    ///
    /// # Errors
    ///
    /// [`LossError::Setting`] if a pair is not of the batch, [`LossError::Lacking`] if there are fewer than two.
    pub fn evaluate_pairs<B: RecallBackend>(
        &self,
        embeddings: Tensor<B, 2>,
        pairs: &[[usize; 2]],
    ) -> Result<Tensor<B, 1>, LossError> {
        check_pairs("N-pair", &embeddings, pairs)?;
        Ok(n_pair(embeddings, pairs, self.0.l2))
    }
}

impl<B: RecallBackend> MetricLoss<B> for NPair {
    fn evaluate(&self, batch: Batch<'_, B>) -> Result<Tensor<B, 1>, LossError> {
        batch.dims()?;
        let pairs = self.pairs(batch.labels, batch.seed)?;
        self.evaluate_pairs(batch.embeddings, &pairs)
    }
}

/// One pair of each class that has two items.
pub(crate) fn drawn_pairs(
    loss: &'static str,
    labels: &[i64],
    seed: u64,
) -> Result<Vec<[usize; 2]>, LossError> {
    let mut classes = BTreeMap::<i64, Vec<usize>>::new();
    for (row, &label) in labels.iter().enumerate() {
        classes.entry(label).or_default().push(row);
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let large = classes.into_values().filter(|rows| rows.len() > 1);
    let pairs: Vec<[usize; 2]> = large
        .map(|rows| {
            let first = random.random_range(0..rows.len());
            let second = random.random_range(0..rows.len() - 1);
            [rows[first], rows[second + usize::from(second >= first)]]
        })
        .collect();
    match pairs.len() {
        0 | 1 => Err(lacking(loss, labels.len())),
        _ => Ok(pairs),
    }
}

/// Refuses pairs that are not of the batch, and too few.
pub(crate) fn check_pairs<B: Backend>(
    loss: &'static str,
    embeddings: &Tensor<B, 2>,
    pairs: &[[usize; 2]],
) -> Result<(), LossError> {
    let [rows, _] = embeddings.dims();
    for pair in pairs {
        require(
            pair.iter().all(|&row| row < rows),
            "pairs",
            format!("{pair:?}"),
            "each must be two rows of the batch",
        )?;
    }
    match pairs.len() {
        0 | 1 => Err(lacking(loss, rows)),
        _ => Ok(()),
    }
}

fn lacking(loss: &'static str, items: usize) -> LossError {
    LossError::Lacking {
        loss,
        needs: "two classes of two items",
        items,
        remedy: "sample at least two items of each class",
    }
}

/// The first and the second rows of pairs.
pub(crate) fn of_pairs<B: Backend>(
    embeddings: Tensor<B, 2>,
    pairs: &[[usize; 2]],
) -> [Tensor<B, 2>; 2] {
    [0, 1].map(|side| {
        let rows: Vec<usize> = pairs.iter().map(|pair| pair[side]).collect();
        ordered(embeddings.clone(), &rows)
    })
}

/// The first rows of pairs, and behind them the second ones.
pub(crate) fn anchors_and_positives(pairs: &[[usize; 2]]) -> Vec<usize> {
    let side = |side: usize| pairs.iter().map(move |pair| pair[side]);
    side(0).chain(side(1)).collect()
}

/// The loss of pairs of rows.
pub(crate) fn n_pair<B: RecallBackend>(
    embeddings: Tensor<B, 2>,
    pairs: &[[usize; 2]],
    l2: f64,
) -> Tensor<B, 1> {
    let dim = embeddings.dims()[1];
    if suit::<B>(embeddings.dtype()) {
        return of_some(embeddings, &anchors_and_positives(pairs), |rows, wanted| {
            of_rows(rows, dim, l2, wanted)
        });
    }
    let [anchors, positives] = of_pairs(embeddings, pairs);
    let each = 1.0 / pairs.len() as f64;
    // Each positive is the proxy of its pair.
    let labels: Vec<i64> = (0..pairs.len() as i64).collect();
    let entropy = softmax(&Plain, 1.0, anchors.clone(), positives.clone(), &labels);
    if l2 == 0.0 {
        return entropy;
    }
    let squares = |rows: Tensor<B, 2>| (rows.clone() * rows).sum();
    entropy + (squares(anchors) + squares(positives)).mul_scalar(0.25 * l2 * each)
}

/// The same of anchors, with their positives behind them, and the gradient if it is wanted.
fn of_rows(rows: &[f32], dim: usize, l2: f64, wanted: bool) -> (f64, Option<Vec<f32>>) {
    let (anchors, positives) = rows.split_at(rows.len() / 2);
    let count = anchors.len().checked_div(dim).unwrap_or(0);
    let labels: Vec<i64> = (0..count as i64).collect();
    let places = Places::with_proxies(&labels, count, 1);
    let compared = Sides::new(anchors, Some(positives), dim, &places);
    let entropy = Softmax {
        target: &Plain,
        scale: 1.0,
    };
    let found = entropy.visit(&compared, wanted);
    let weight = 0.25 * l2 / count as f64;
    let value = found.value + weight * dot(rows, rows);
    let gradient = found.gradients.map(|(mut gradient, on_positives)| {
        gradient.extend(on_positives.unwrap_or_default());
        let slope = 2.0 * weight as f32;
        for (sum, &x) in gradient.iter_mut().zip(rows) {
            *sum += slope * x;
        }
        gradient
    });
    (value, gradient)
}
