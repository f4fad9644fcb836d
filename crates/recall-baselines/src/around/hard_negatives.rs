//! Hard-negative mixing, MoCHi (Kalantidis, Sariyildiz, Pion, Weinzaepfel and Larlus, "Hard Negative Mixing for
//! Contrastive Learning", NeurIPS 2020).

use burn::config::Config;
use burn::tensor::{Int, Tensor, TensorData, backend::Backend};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use recall_loss::{
    RecallBackend,
    plain::{gather_in_rows, products},
};

use crate::dense::{Dense, NOTHING, column_like, indices, log, log1p, ordered, unit};
use crate::error::{positive, require};
use crate::pairs::no_positives;
use crate::{Batch, LossError, MetricLoss, Places};

/// Settings of hard-negative mixing; [`init`](Self::init) checks them.
#[derive(Config, Debug, PartialEq)]
pub struct HardNegativeMixingConfig {
    /// How many negatives of a query, those most similar to it, are mixed. Default 1,024.
    #[config(default = 1024)]
    pub hardest: usize,
    /// How many mixtures of two of them a query gets. Default 1,024.
    #[config(default = 1024)]
    pub mixtures: usize,
    /// How many mixtures of one of them with the query itself. Default 128.
    #[config(default = 128)]
    pub query_mixtures: usize,
    /// What similarities are divided by. Default 0.2.
    #[config(default = 0.2)]
    pub temperature: f64,
}

impl HardNegativeMixingConfig {
    /// Checks the settings and makes the loss.
    ///
    /// # Errors
    ///
    /// [`LossError::Setting`].
    pub fn init(&self) -> Result<HardNegativeMixing, LossError> {
        let some = "mixtures need at least one negative";
        require(self.hardest > 0, "hardest", self.hardest, some)?;
        positive("temperature", self.temperature)?;
        Ok(HardNegativeMixing(self.clone()))
    }
}

/// InfoNCE with synthetic negatives beside those of a queue; made by [`HardNegativeMixingConfig::init`].
///
/// `mean_q −log(e^(q·k/τ) / (e^(q·k/τ) + Σ_n e^(q·n/τ) + Σ_h e^(q·h/τ)))` over queries `q` with keys `k`, the rows `n`
/// of a queue and synthetic negatives `h` of unit length: in the direction of `α n + (1 − α) n'` with `α` uniform from 0 to
/// 1, and of `β q + (1 − β) n` with `β` uniform from 0 to ½, where `n` and `n'` are among the hardest of `q`. All rows are
/// of unit length. In the paper keys are from a momentum encoder, the queue has 16,384 to 65,536 of them, and
/// mixing begins after some epochs.
///
/// Synthetic negatives are constants: no gradient goes through `β q`. The paper does not say, and its authors
/// published no code.
///
/// As a [`MetricLoss`] it does without a second encoder and a queue, an adaptation to batches with labels:
/// the positives of a row are those of its class, one at a time, its negatives the rows of other classes, and the
/// hardest of these are mixed. So it is InfoNCE over the pairs of a batch, with more negatives. Lonely items
/// are negatives only. It takes a few matrices of the similarities of all rows.
#[derive(Debug, Clone, PartialEq)]
pub struct HardNegativeMixing(HardNegativeMixingConfig);

/// What is mixed for each query.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HardMixture {
    /// Two negatives and the weight of the first, for each query equally many.
    pub mixtures: Vec<Vec<(usize, usize, f64)>>,
    /// A negative and the weight of the query beside it, for each query equally many.
    pub query_mixtures: Vec<Vec<(usize, f64)>>,
}

impl HardNegativeMixing {
    /// The loss of queries `[n, d]` with their keys `[n, d]` and a queue `[m, d]`, such as the
    /// [filled rows of a memory](crate::Memory::filled), `[1]`. What is mixed follows from the seed.
    ///
    /// # Errors
    ///
    /// [`LossError::Lacking`] if the queue is empty, [`LossError::Mixture`] if shapes do not fit.
    pub fn against<B: RecallBackend>(
        &self,
        queries: Tensor<B, 2>,
        keys: Tensor<B, 2>,
        queue: Tensor<B, 2>,
        seed: u64,
    ) -> Result<Tensor<B, 1>, LossError> {
        let mixture = self.draw(queries.clone(), queue.clone(), seed)?;
        self.with_mixture(queries, keys, queue, &mixture)
    }

    /// What is mixed for queries `[n, d]` of the rows of a queue `[m, d]`.
    ///
    /// # Errors
    ///
    /// [`LossError::Lacking`] if the queue is empty.
    pub fn draw<B: RecallBackend>(
        &self,
        queries: Tensor<B, 2>,
        queue: Tensor<B, 2>,
        seed: u64,
    ) -> Result<HardMixture, LossError> {
        let ([count, dim], [length, width]) = (queries.dims(), queue.dims());
        if dim != width {
            return Err(unlike("queue", [length, width], [length, dim]));
        }
        if length == 0 {
            return Err(LossError::Lacking {
                loss: "hard-negative mixing",
                needs: "negatives in its queue",
                items: count,
                remedy: "fill the queue first",
            });
        }
        let similarities = products(queries.detach(), queue.detach());
        let similarities = similarities.into_data();
        let similarities: Vec<f64> = similarities.iter::<f64>().collect();
        let hardest: Vec<Vec<usize>> = similarities
            .par_chunks(length)
            .map(|row| hardest(row, (0..length).collect(), self.0.hardest))
            .collect();
        Ok(self.mixture(hardest, seed))
    }

    /// The loss with given mixtures, `[1]`; see [`against`](Self::against).
    ///
    /// # Errors
    ///
    /// [`LossError::Mixture`] if shapes do not fit, or the mixtures do not belong to queries and queue.
    pub fn with_mixture<B: RecallBackend>(
        &self,
        queries: Tensor<B, 2>,
        keys: Tensor<B, 2>,
        queue: Tensor<B, 2>,
        mixture: &HardMixture,
    ) -> Result<Tensor<B, 1>, LossError> {
        let [_, dim] = queries.dims();
        if keys.dims() != queries.dims() {
            return Err(unlike("keys", keys.dims(), queries.dims()));
        }
        if queue.dims()[1] != dim {
            return Err(unlike("queue", queue.dims(), [queue.dims()[0], dim]));
        }
        let negatives = queue.clone().detach();
        let of_mixtures = |first: &[usize], second: &[usize], weight: &[f64]| {
            inverse_lengths(&negatives, first, second, weight)
        };
        let synthetic = synthetic_similarities(&queries, &negatives, mixture, of_mixtures)?;
        let own = (queries.clone() * keys).sum_dim(1);
        let queue = products(queries, queue);
        let all = Tensor::cat([vec![own.clone(), queue], synthetic].concat(), 1);
        let scale = 1.0 / self.0.temperature;
        let (logs, greatest) = logs_of_sums(all, scale);
        Ok((logs + (greatest - own).mul_scalar(scale)).mean())
    }

    /// Mixtures of the hardest negatives of each query, which are the rows of an order.
    fn mixture(&self, hardest: Vec<Vec<usize>>, seed: u64) -> HardMixture {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut mixture = HardMixture::default();
        for hardest in hardest {
            let some = hardest.len();
            let pairs = (0..self.0.mixtures).map(|_| {
                let first = random.random_range(0..some);
                // Two different ones, if there are two.
                let step = if some > 1 {
                    random.random_range(1..some)
                } else {
                    0
                };
                let second = (first + step) % some;
                (hardest[first], hardest[second], random.random::<f64>())
            });
            mixture.mixtures.push(pairs.collect());
            let singles = (0..self.0.query_mixtures).map(|_| {
                let picked = hardest[random.random_range(0..some)];
                (picked, 0.5 * random.random::<f64>())
            });
            mixture.query_mixtures.push(singles.collect());
        }
        mixture
    }
}

impl HardMixture {
    /// The synthetic negatives of queries `[n, d]` and a queue `[m, d]`, `[n, ·, d]`: those of two of the queue, then
    /// those with the query.
    ///
    /// # Errors
    ///
    /// [`LossError::Mixture`] if there are none, or they do not belong to queries and queue.
    pub fn negatives<B: Backend>(
        &self,
        queries: Tensor<B, 2>,
        queue: Tensor<B, 2>,
    ) -> Result<Tensor<B, 3>, LossError> {
        let ([count, dim], [length, _]) = (queries.dims(), queue.dims());
        let (pairs, singles) = self.checked(count, length)?;
        let mixed = |first: Tensor<B, 2>, second: Tensor<B, 2>, weight: Vec<f64>| {
            let rest = weight.iter().map(|weight| 1.0 - weight).collect();
            let (weight, rest) = (column_like(&first, weight), column_like(&first, rest));
            unit(first * weight + second * rest)
        };
        let of_queue = |rows: Vec<usize>| ordered(queue.clone(), &rows);
        let mut found = Vec::new();
        if pairs > 0 {
            let all = || self.mixtures.iter().flatten();
            let first = of_queue(all().map(|mixed| mixed.0).collect());
            let second = of_queue(all().map(|mixed| mixed.1).collect());
            let of_two = mixed(first, second, all().map(|mixed| mixed.2).collect());
            found.push(of_two.reshape([count, pairs, dim]));
        }
        if singles > 0 {
            let all = || self.query_mixtures.iter().flatten();
            let repeated = |query| std::iter::repeat_n(query, singles);
            let repeated: Vec<usize> = (0..count).flat_map(repeated).collect();
            let second = of_queue(all().map(|mixed| mixed.0).collect());
            let weights = all().map(|mixed| mixed.1).collect();
            let with_query = mixed(ordered(queries, &repeated), second, weights);
            found.push(with_query.reshape([count, singles, dim]));
        }
        match found.is_empty() {
            true => Err(LossError::Mixture("nothing is mixed".into())),
            false => Ok(Tensor::cat(found, 1)),
        }
    }

    /// How many of each sort a query has, once all is in its place.
    fn checked(&self, queries: usize, negatives: usize) -> Result<(usize, usize), LossError> {
        let pairs = self.mixtures.first().map_or(0, Vec::len);
        let singles = self.query_mixtures.first().map_or(0, Vec::len);
        if !even(self.mixtures.iter().map(Vec::len), pairs, queries)
            || !even(self.query_mixtures.iter().map(Vec::len), singles, queries)
        {
            return Err(LossError::Mixture(format!(
                "each of {queries} queries needs the same number of mixtures"
            )));
        }
        let of_pairs = self
            .mixtures
            .iter()
            .flatten()
            .flat_map(|mixed| [mixed.0, mixed.1]);
        let of_singles = self.query_mixtures.iter().flatten().map(|mixed| mixed.0);
        match of_pairs.chain(of_singles).find(|&row| row >= negatives) {
            Some(row) => Err(LossError::Mixture(format!(
                "negative {row} is mixed, and there are {negatives}"
            ))),
            None => Ok((pairs, singles)),
        }
    }
}

/// Whether there are `each` for each query.
fn even(mut lengths: impl ExactSizeIterator<Item = usize>, each: usize, queries: usize) -> bool {
    let rows = lengths.len();
    (rows == queries || each == 0) && lengths.all(|length| length == each)
}

impl<B: RecallBackend> MetricLoss<B> for HardNegativeMixing {
    fn evaluate(&self, batch: Batch<'_, B>) -> Result<Tensor<B, 1>, LossError> {
        let [rows, _] = batch.dims()?;
        let places = Places::within(batch.labels);
        no_positives("hard-negative mixing", &places)?;
        if !places.have_triplets() {
            return Err(LossError::Lacking {
                loss: "hard-negative mixing",
                needs: "items of two classes, one of them with two items",
                items: rows,
                remedy: "sample several classes",
            });
        }
        let dense = Dense::new(batch.embeddings.clone(), batch.embeddings, &places);
        let scale = 1.0 / self.0.temperature;
        let similarities = dense.similarities();
        let known: Vec<f64> = similarities
            .clone()
            .detach()
            .into_data()
            .iter::<f64>()
            .collect();
        // Every row has a negative, as there are two classes.
        let hardest: Vec<Vec<usize>> = (places.rows.par_iter().zip(known.par_chunks(rows)))
            .map(|(place, row)| {
                let negatives = place.negatives(rows).into_iter().flatten().collect();
                hardest(row, negatives, self.0.hardest)
            })
            .collect();
        let mixture = self.mixture(hardest, batch.seed);
        let constants = dense.references.clone().detach();
        // The products of what is mixed are among those of the batch.
        let of_mixtures = |first: &[usize], second: &[usize], weight: &[f64]| {
            let each = first.iter().zip(second).zip(weight);
            let squares = each.map(|((&i, &j), &weight)| {
                let rest = 1.0 - weight;
                weight * weight * known[i * rows + i]
                    + rest * rest * known[j * rows + j]
                    + 2.0 * weight * rest * known[i * rows + j]
            });
            let inverse = squares.map(|square| 1.0 / square.max(1e-24).sqrt());
            column_like(&dense.references, inverse.collect())
        };
        let synthetic = synthetic_similarities(&dense.queries, &constants, &mixture, of_mixtures)?;

        let nothing = dense.negative.clone().bool_not();
        let negatives = similarities.clone().mask_fill(nothing, NOTHING);
        let negatives = Tensor::cat([vec![negatives], synthetic].concat(), 1);
        let (logs, greatest) = logs_of_sums(negatives, scale);

        let of_pairs = places.rows.iter().enumerate().flat_map(|(row, place)| {
            place
                .positives()
                .map(move |column| (row, row * rows + column))
        });
        let (anchors, at): (Vec<usize>, Vec<usize>) = of_pairs.unzip();
        let count = anchors.len();
        let device = similarities.device();
        let positives = similarities
            .reshape([rows * rows, 1])
            .select(0, indices(&at, &device));
        let ahead =
            ordered(logs, &anchors) + (ordered(greatest, &anchors) - positives).mul_scalar(scale);
        // log(1 + e^x)
        let soft = log1p(ahead.clone().abs().neg().exp()) + ahead.clamp_min(0.0);
        Ok(soft.sum().mul_scalar(1.0 / count as f64))
    }
}

/// The similarities of queries to their synthetic negatives, `[n, ·]` each: of those of two negatives, and of those
/// with the query. They are linear in the similarities to what is mixed, so that no synthetic negative is ever made;
/// `inverse_lengths` has those of the mixtures of two, `[·, 1]`: a factor, as NdArray differentiates a quotient to 12 bits.
fn synthetic_similarities<B: RecallBackend>(
    queries: &Tensor<B, 2>,
    negatives: &Tensor<B, 2>,
    mixture: &HardMixture,
    inverse_lengths: impl Fn(&[usize], &[usize], &[f64]) -> Tensor<B, 2>,
) -> Result<Vec<Tensor<B, 2>>, LossError> {
    let ([count, _], [length, _]) = (queries.dims(), negatives.dims());
    let (pairs, singles) = mixture.checked(count, length)?;
    if pairs + singles == 0 {
        return Ok(Vec::new());
    }
    let similarities = products(queries.clone(), negatives.clone());
    let column = |values: Vec<f64>, width| column_like(queries, values).reshape([count, width]);
    let taken = |rows: Vec<usize>, width: usize| {
        let rows: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
        let rows = TensorData::new(rows, [count, width]);
        let rows = Tensor::<B, 2, Int>::from_data(rows, &queries.device());
        gather_in_rows(similarities.clone(), rows)
    };
    let mut found = Vec::new();
    if pairs > 0 {
        let all = || mixture.mixtures.iter().flatten();
        let first: Vec<usize> = all().map(|mixed| mixed.0).collect();
        let second: Vec<usize> = all().map(|mixed| mixed.1).collect();
        let weight: Vec<f64> = all().map(|mixed| mixed.2).collect();
        let inverse = inverse_lengths(&first, &second, &weight).reshape([count, pairs]);
        let rest = weight.iter().map(|weight| 1.0 - weight).collect();
        let sum = taken(first, pairs) * column(weight, pairs)
            + taken(second, pairs) * column(rest, pairs);
        found.push(sum * inverse);
    }
    if singles > 0 {
        let all = || mixture.query_mixtures.iter().flatten();
        let picked: Vec<usize> = all().map(|mixed| mixed.0).collect();
        let weight: Vec<f64> = all().map(|mixed| mixed.1).collect();
        let square = |rows: Tensor<B, 2>| (rows.clone() * rows).sum_dim(1);
        let squares = ordered(square(negatives.clone()), &picked).reshape([count, singles]);
        let rest = column(weight.iter().map(|weight| 1.0 - weight).collect(), singles);
        let weight = column(weight, singles);
        let constant = queries.clone().detach();
        let others = taken(picked, singles);
        let both = others.clone().detach() * weight.clone() * rest.clone();
        let squares = square(constant.clone()) * weight.clone() * weight.clone()
            + both.mul_scalar(2.0)
            + squares * rest.clone() * rest.clone();
        let own = (queries.clone() * constant).sum_dim(1);
        let inverse = squares.clamp_min(1e-24).powf_scalar(-0.5);
        found.push((own * weight + others * rest) * inverse);
    }
    Ok(found)
}

/// `log Σ e^(scale (x − greatest))` of each row and its greatest value, both `[n, 1]`.
fn logs_of_sums<B: Backend>(values: Tensor<B, 2>, scale: f64) -> (Tensor<B, 2>, Tensor<B, 2>) {
    let greatest = values.clone().detach().max_dim(1);
    let sums = (values - greatest.clone())
        .mul_scalar(scale)
        .exp()
        .sum_dim(1);
    (log(sums), greatest)
}

/// The `count` rows of greatest similarity among `candidates`, the first of equal ones, in the order of their
/// similarity.
fn hardest(similarities: &[f64], mut candidates: Vec<usize>, count: usize) -> Vec<usize> {
    let order = |a: &usize, b: &usize| similarities[*b].total_cmp(&similarities[*a]).then(a.cmp(b));
    if candidates.len() > count {
        candidates.select_nth_unstable_by(count - 1, order);
        candidates.truncate(count);
    }
    candidates.sort_unstable_by(order);
    candidates
}

/// One divided by the lengths of mixtures, `[count, 1]`, a part at a time.
fn inverse_lengths<B: Backend>(
    rows: &Tensor<B, 2>,
    first: &[usize],
    second: &[usize],
    weight: &[f64],
) -> Tensor<B, 2> {
    /// Numbers of a part.
    const PART: usize = 1 << 22;
    let [_, dim] = rows.dims();
    let size = (PART / dim.max(1)).max(1);
    let starts = (0..first.len()).step_by(size);
    let parts = starts.map(|start| {
        let part = start..first.len().min(start + size);
        let rest = weight[part.clone()].iter().map(|weight| 1.0 - weight);
        let (weight, rest) = (
            column_like(rows, weight[part.clone()].to_vec()),
            column_like(rows, rest.collect()),
        );
        let sum = ordered(rows.clone(), &first[part.clone()]) * weight
            + ordered(rows.clone(), &second[part]) * rest;
        let squares = (sum.clone() * sum).sum_dim(1).clamp_min(1e-24);
        squares.powf_scalar(-0.5)
    });
    Tensor::cat(parts.collect(), 0)
}

fn unlike(what: &str, got: [usize; 2], expected: [usize; 2]) -> LossError {
    LossError::Mixture(format!("the {what} should be {expected:?} and are {got:?}"))
}
