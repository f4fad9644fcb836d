//! Recall and average precision with the gradient of blackbox rankings (Rolínek et al., "Optimizing Rank-based Metrics
//! with Blackbox Differentiation", CVPR 2020).
//!
//! A query ranks all others by their scores. The gradient of a rank with respect to scores is that of an
//! interpolation: scores are moved by `λ` times what comes in, and the ranks that these would have are taken from
//! those there are. What comes in is zero for negatives, so these keep their order: their ranks change by how
//! many positives pass them.

use burn::config::Config;
use burn::tensor::{Tensor, TensorData, backend::Backend};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use recall_loss::RecallBackend;
use serde::{Deserialize, Serialize};

use super::blocks::{BLOCK, OfBlock, in_blocks, with_gradients};
use crate::dense::{Dense, column_like, constant};
use crate::error::{not_negative, positive, require};
use crate::rows::{Measure, Place, RowLoss, Term, rows, suit};
use crate::{Batch, LossError, MetricLoss, PairLoss, Places};

/// What a positive costs that has `x` negatives above it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BlackboxWeight {
    /// `log(1 + x)`.
    Log,
    /// `log(1 + log(1 + x))`, which the authors find best.
    LogLog,
}

/// Settings of the recall loss by blackbox rankings; [`init`](Self::init) checks them.
#[derive(Config, Debug, PartialEq)]
pub struct BlackboxRecallConfig {
    /// How far scores are moved, `λ`, in units of what comes in. Default 4. The authors tune it for each data set.
    #[config(default = 4.0)]
    pub lambda: f64,
    /// How far positives are put below negatives before they are ranked, `α`. Default 0.02.
    #[config(default = 0.02)]
    pub margin: f64,
    /// What a positive costs. Default log-log.
    #[config(default = "BlackboxWeight::LogLog")]
    pub weight: BlackboxWeight,
    /// Whether counts of negatives are multiplied by the number of lists over their length, as in the released
    /// code, where both should be the length. Default false.
    #[config(default = false)]
    pub released_length: bool,
}

impl BlackboxRecallConfig {
    /// Checks the settings and makes the loss.
    ///
    /// # Errors
    ///
    /// [`LossError::Setting`].
    pub fn init(&self) -> Result<BlackboxRecall, LossError> {
        positive("lambda", self.lambda)?;
        not_negative("margin", self.margin)?;
        Ok(BlackboxRecall(self.clone()))
    }
}

/// `mean ℓ(r − r⁺)` over all positives of all queries, whose ranks are `r` in the list of all others, and `r⁺`
/// among the positives; made by [`BlackboxRecallConfig::init`].
///
/// Scores are similarities, of which `α (rel − ½)` is taken. Backward, `g` with respect to `r / L` becomes
/// `−(r(s)/L − r(s + λg)/L) / (λ + 10⁻⁸)` with respect to the scores of a list of length `L`; `r⁺` is a constant. At equal
/// scores negatives are above positives, and earlier positives above later ones.
///
/// Rows are of unit length. A query is not in its own list; lonely items have none, and are negatives to others. A
/// batch without any positive is an error. Ranks are sorted on the host, whatever the backend.
///
/// Elsewhere: martius-lab/blackbox-backprop, the authors' code, multiplies ranks that it has divided by the length of
/// the lists by the number of lists ([`released_length`](BlackboxRecallConfig::released_length)).
#[derive(Debug, Clone, PartialEq)]
pub struct BlackboxRecall(BlackboxRecallConfig);

/// Settings of the AP loss by blackbox rankings; [`init`](Self::init) checks them.
#[derive(Config, Debug, PartialEq)]
pub struct BlackboxApConfig {
    /// How far scores are moved, `λ`, in units of what comes in. Default 4.
    #[config(default = 4.0)]
    pub lambda: f64,
    /// How far positives are put below negatives before they are ranked, `α`. Default 0.02.
    #[config(default = 0.02)]
    pub margin: f64,
    /// Whether the margin of each score is multiplied by the size of a normal number, drawn from the seed, and
    /// precisions are divided by `|P| + 10⁻⁵`, as in the released code. Default false.
    #[config(default = false)]
    pub noise: bool,
}

impl BlackboxApConfig {
    /// The settings of the released code, which draws noise.
    pub fn released() -> Self {
        Self::new().with_noise(true)
    }

    /// Checks the settings and makes the loss.
    ///
    /// # Errors
    ///
    /// [`LossError::Setting`].
    pub fn init(&self) -> Result<BlackboxAp, LossError> {
        positive("lambda", self.lambda)?;
        not_negative("margin", self.margin)?;
        Ok(BlackboxAp(self.clone()))
    }
}

/// `1 − mean_q mean_{i∈P_q} r⁺/r` over ranks `r` in the list of all others, and `r⁺` among the positives; made by
/// [`BlackboxApConfig::init`].
///
/// Margin, gradient, ties and rows are those of [`BlackboxRecall`]. Queries without positives are left out.
///
/// Elsewhere: martius-lab/blackbox-backprop, the authors' code, and ROADMAP after it draw a margin for each score
/// ([`noise`](BlackboxApConfig::noise)), so their loss of a batch is another one each time. The authors' class is
/// written for detection, with classes as lists.
#[derive(Debug, Clone, PartialEq)]
pub struct BlackboxAp(BlackboxApConfig);

/// Lists of scores, their loss, and what comes back to them.
#[derive(Debug, Clone, PartialEq)]
pub struct RankedScores {
    /// The loss.
    pub value: f64,
    /// The rank of each score in its list, from 1 for the greatest, after the margin.
    pub ranks: Vec<usize>,
    /// The derivatives of the loss with respect to ranks over the length of a list.
    pub on_ranks: Vec<f64>,
    /// What these become with respect to the scores.
    pub on_scores: Vec<f64>,
}

impl BlackboxRecall {
    /// The loss of lists of `length` scores, one behind the other, of which some are `relevant`: for lists with
    /// the scores of a memory, say.
    ///
    /// # Errors
    ///
    /// [`LossError::Setting`] if the sizes do not fit, [`LossError::Lacking`] if nothing is relevant.
    pub fn of_scores(
        &self,
        scores: &[f64],
        relevant: &[bool],
        length: usize,
    ) -> Result<RankedScores, LossError> {
        self.objective().of_scores(scores, relevant, length, None)
    }

    fn objective(&self) -> Objective {
        let config = &self.0;
        Objective {
            loss: "the blackbox recall loss",
            lambda: config.lambda,
            margin: config.margin,
            of: Of::Recall {
                weight: config.weight,
                released_length: config.released_length,
            },
        }
    }
}

impl<B: RecallBackend> MetricLoss<B> for BlackboxRecall {
    fn compares_similarities(&self) -> bool {
        true
    }

    fn evaluate(&self, batch: Batch<'_, B>) -> Result<Tensor<B, 1>, LossError> {
        batch.dims()?;
        let places = Places::within(batch.labels);
        self.between(batch.embeddings.clone(), batch.embeddings, &places)
    }
}

impl<B: RecallBackend> PairLoss<B> for BlackboxRecall {
    fn between(
        &self,
        queries: Tensor<B, 2>,
        references: Tensor<B, 2>,
        places: &Places,
    ) -> Result<Tensor<B, 1>, LossError> {
        (self.objective()).between(queries, references, places, None)
    }
}

impl BlackboxAp {
    /// The loss with given noise `[n, n − 1]`, a normal number for each query and each other row in the order of
    /// the batch, whose size multiplies the margin; `[1]`.
    ///
    /// # Errors
    ///
    /// As [`evaluate`](MetricLoss::evaluate), and [`LossError::Setting`] if the noise is not of this shape.
    pub fn evaluate_with_noise<B: RecallBackend>(
        &self,
        embeddings: Tensor<B, 2>,
        labels: &[i64],
        noise: &[f64],
    ) -> Result<Tensor<B, 1>, LossError> {
        let batch = Batch {
            embeddings,
            labels,
            parameters: None,
            seed: 0,
        };
        let [count, _] = batch.dims()?;
        require(
            noise.len() == count * count.saturating_sub(1),
            "noise",
            format!("{} numbers", noise.len()),
            "there must be one for each query and each other row",
        )?;
        let embeddings = batch.embeddings;
        self.objective().between(
            embeddings.clone(),
            embeddings,
            &Places::within(labels),
            Some(Noise::Given(noise)),
        )
    }

    /// The loss of lists of `length` scores, one behind the other, of which some are `relevant`; with noise, a
    /// number for each score.
    ///
    /// # Errors
    ///
    /// [`LossError::Setting`] if the sizes do not fit, [`LossError::Lacking`] if nothing is relevant.
    pub fn of_scores(
        &self,
        scores: &[f64],
        relevant: &[bool],
        length: usize,
        noise: Option<&[f64]>,
    ) -> Result<RankedScores, LossError> {
        self.objective().of_scores(scores, relevant, length, noise)
    }

    fn objective(&self) -> Objective {
        let config = &self.0;
        Objective {
            loss: "the blackbox AP loss",
            lambda: config.lambda,
            margin: config.margin,
            of: Of::Ap {
                little: if config.noise { 1e-5 } else { 0.0 },
            },
        }
    }
}

impl<B: RecallBackend> MetricLoss<B> for BlackboxAp {
    fn compares_similarities(&self) -> bool {
        true
    }

    fn evaluate(&self, batch: Batch<'_, B>) -> Result<Tensor<B, 1>, LossError> {
        batch.dims()?;
        let places = Places::within(batch.labels);
        let noise = self.0.noise.then_some(Noise::Drawn(batch.seed));
        let embeddings = batch.embeddings;
        (self.objective()).between(embeddings.clone(), embeddings, &places, noise)
    }
}

impl<B: RecallBackend> PairLoss<B> for BlackboxAp {
    /// Noise is drawn from the seed 0, as there is no other.
    fn between(
        &self,
        queries: Tensor<B, 2>,
        references: Tensor<B, 2>,
        places: &Places,
    ) -> Result<Tensor<B, 1>, LossError> {
        let noise = self.0.noise.then_some(Noise::Drawn(0));
        (self.objective()).between(queries, references, places, noise)
    }
}

/// What both losses are: a function of the ranks of positives.
#[derive(Debug, Clone, Copy)]
struct Objective {
    loss: &'static str,
    lambda: f64,
    margin: f64,
    of: Of,
}

#[derive(Debug, Clone, Copy)]
enum Of {
    Recall {
        weight: BlackboxWeight,
        released_length: bool,
    },
    Ap {
        /// Added to the number of positives.
        little: f64,
    },
}

/// What multiplies the margins, of queries and others in the order of the batch.
#[derive(Clone, Copy)]
enum Noise<'a> {
    /// `[n, n − 1]`.
    Given(&'a [f64]),
    /// From a seed.
    Drawn(u64),
}

impl Noise<'_> {
    /// The sizes of a query's numbers, one for each of `others` other rows in the order of the batch.
    fn of_query(&self, query: usize, others: usize) -> Vec<f64> {
        match *self {
            Self::Given(noise) => {
                let noise = &noise[query * others..(query + 1) * others];
                noise.iter().map(|x| x.abs()).collect()
            }
            Self::Drawn(seed) => {
                let mut random = ChaCha8Rng::seed_from_u64(seed);
                // Queries draw for themselves, in whatever order they come.
                random.set_stream(query as u64);
                let mut normal = || {
                    let (radius, angle) = (1.0 - random.random::<f64>(), random.random::<f64>());
                    let angle = std::f64::consts::TAU * angle;
                    ((-2.0 * radius.ln()).sqrt() * angle.cos()).abs()
                };
                (0..others).map(|_| normal()).collect()
            }
        }
    }
}

/// How many lists there are, and what the terms of a list are multiplied by.
#[derive(Debug, Clone, Copy)]
struct Lists {
    count: f64,
    share: f64,
}

/// What the positives of a list come to.
struct Ranked {
    /// Its part of the loss.
    value: f64,
    /// Its positives, the first-ranked first.
    positives: Vec<RankedPositive>,
}

struct RankedPositive {
    column: usize,
    rank: usize,
    on_rank: f64,
}

impl Objective {
    fn between<B: RecallBackend>(
        &self,
        queries: Tensor<B, 2>,
        references: Tensor<B, 2>,
        places: &Places,
        noise: Option<Noise<'_>>,
    ) -> Result<Tensor<B, 1>, LossError> {
        let counts = places.rows.iter().map(Place::positive_count);
        let lists = self.lists(counts, places.rows.len())?;
        let of = Rows {
            objective: self,
            lists,
            places,
            noise,
        };
        if suit::<B>(queries.dtype()) {
            return Ok(rows(&of, queries, references, places));
        }
        let wanted = B::ad_enabled(&queries.device());
        let (values, gradients) = in_blocks(
            constant(queries.clone()),
            constant(references.clone()),
            places,
            BLOCK,
            |dense, block, start| of.of_block(dense, block, start, wanted),
        );
        let value = values.sum_dim(0).reshape([1]);
        Ok(with_gradients(value, queries, references, gradients))
    }

    /// `counts` has the number of positives of each list.
    fn lists(
        &self,
        counts: impl Iterator<Item = usize> + Clone,
        items: usize,
    ) -> Result<Lists, LossError> {
        let lists = counts.clone().count() as f64;
        let terms = match self.of {
            Of::Recall { .. } => counts.sum::<usize>(),
            Of::Ap { .. } => counts.filter(|&count| count > 0).count(),
        };
        match terms {
            0 => Err(LossError::Lacking {
                loss: self.loss,
                needs: "two items of a class",
                items,
                remedy: "sample at least two items of a class",
            }),
            _ => Ok(Lists {
                count: lists,
                share: 1.0 / terms as f64,
            }),
        }
    }

    /// A positive's part of the loss, and the derivative with respect to its rank over `length`, of its ranks
    /// from 1: `above` among the `positives`, and `rank` among all.
    fn term(
        &self,
        lists: Lists,
        length: f64,
        positives: usize,
        above: usize,
        rank: usize,
    ) -> [f64; 2] {
        match self.of {
            Of::Recall {
                weight,
                released_length,
            } => {
                let factor = if released_length {
                    lists.count / length
                } else {
                    1.0
                };
                let count = (rank - above) as f64 * factor;
                let log = count.ln_1p();
                let slope = factor * length / (1.0 + count);
                let [value, slope] = match weight {
                    BlackboxWeight::Log => [log, slope],
                    BlackboxWeight::LogLog => [log.ln_1p(), slope / (1.0 + log)],
                };
                [value * lists.share, slope * lists.share]
            }
            Of::Ap { little } => {
                let share = lists.share / (positives as f64 + little);
                let (above, rank) = (above as f64, rank as f64);
                // The one of the list is there once, whatever is added to the number of positives.
                let one = lists.share / positives as f64;
                [
                    one - share * above / rank,
                    share * above / (rank * rank) * length,
                ]
            }
        }
    }

    /// Ranks a list of scores, and replaces these by the derivatives of the loss. `noise` has the margins'
    /// factors of all columns.
    fn pulled<F: Score>(
        &self,
        lists: Lists,
        row: &mut [F],
        place: &Place,
        noise: Option<&[f64]>,
    ) -> Ranked {
        let length = row.len() - usize::from(place.own.is_some());
        let half = 0.5 * self.margin;
        let margin = |column: usize| F::of(half * noise.map_or(1.0, |noise| noise[column]));
        for range in place.negatives(row.len()) {
            let start = range.start;
            for (at, score) in row[range].iter_mut().enumerate() {
                *score = score.plus(margin(start + at));
            }
        }
        let mut positives: Vec<(usize, F)> = (place.positives())
            .map(|column| (column, row[column].minus(margin(column))))
            .collect();
        positives.sort_by(|a, b| b.1.order(&a.1).then(a.0.cmp(&b.0)));
        let scores: Vec<F> = positives.iter().map(|&(_, score)| score).collect();
        let above = negatives_above(&scores, row, place);
        let mut ranked = Ranked {
            value: 0.0,
            positives: Vec::with_capacity(positives.len()),
        };
        let mut moved: Vec<(usize, F)> = Vec::with_capacity(positives.len());
        for (at, &(column, score)) in positives.iter().enumerate() {
            let rank = above[at] + at + 1;
            let [value, on_rank] = self.term(lists, length as f64, scores.len(), at + 1, rank);
            ranked.value += value;
            ranked.positives.push(RankedPositive {
                column,
                rank,
                on_rank,
            });
            moved.push((at, score.plus(F::of(self.lambda * on_rank))));
        }
        moved.sort_by(|a, b| {
            let column = |at: usize| positives[at].0;
            b.1.order(&a.1).then(column(a.0).cmp(&column(b.0)))
        });
        let moved_scores: Vec<F> = moved.iter().map(|&(_, score)| score).collect();
        let above = negatives_above(&moved_scores, row, place);
        let slope = |change: f64| F::of(change / (length as f64 * (self.lambda + 1e-8)));
        // A negative is behind all positives with greater scores.
        let behind =
            |scores: &[F], score: &F| scores.partition_point(|positive| positive.above(score));
        for range in place.negatives(row.len()) {
            for score in &mut row[range] {
                let change = behind(&moved_scores, score) as f64 - behind(&scores, score) as f64;
                *score = slope(change);
            }
        }
        for (rank, &(at, _)) in moved.iter().enumerate() {
            let positive = &ranked.positives[at];
            let new = above[rank] + rank + 1;
            row[positive.column] = slope(new as f64 - positive.rank as f64);
        }
        if let Some(own) = place.own {
            row[own] = F::of(0.0);
        }
        ranked
    }

    fn of_scores(
        &self,
        scores: &[f64],
        relevant: &[bool],
        length: usize,
        noise: Option<&[f64]>,
    ) -> Result<RankedScores, LossError> {
        require(
            length > 0 && scores.len().is_multiple_of(length),
            "length",
            length,
            "the scores must be a whole number of lists",
        )?;
        require(
            relevant.len() == scores.len(),
            "relevant",
            format!("{} values", relevant.len()),
            "there must be one for each score",
        )?;
        require(
            noise.is_none_or(|noise| noise.len() == scores.len()),
            "noise",
            format!("{} numbers", noise.map_or(0, <[f64]>::len)),
            "there must be one for each score",
        )?;
        let counts = (relevant.chunks(length))
            .map(|relevant| relevant.iter().filter(|&&relevant| relevant).count());
        let lists = self.lists(counts, scores.len())?;
        let mut found = RankedScores {
            value: 0.0,
            ranks: vec![0; scores.len()],
            on_ranks: vec![0.0; scores.len()],
            on_scores: vec![0.0; scores.len()],
        };
        for start in (0..scores.len()).step_by(length) {
            // The relevant ones first, as a class.
            let list = start..start + length;
            let (mut order, others): (Vec<usize>, Vec<usize>) = list.partition(|&at| relevant[at]);
            let place = Place {
                class: 0..order.len(),
                own: None,
            };
            order.extend(others);
            let mut row: Vec<f64> = order.iter().map(|&at| scores[at]).collect();
            let noise: Option<Vec<f64>> =
                noise.map(|noise| order.iter().map(|&at| noise[at].abs()).collect());
            let ranked = self.pulled(lists, &mut row, &place, noise.as_deref());
            found.value += ranked.value;
            for (&at, &on_score) in order.iter().zip(&row) {
                found.on_scores[at] = on_score;
            }
            let mut taken = vec![false; length + 1];
            for positive in ranked.positives {
                let at = order[positive.column];
                found.ranks[at] = positive.rank;
                found.on_ranks[at] = positive.on_rank;
                taken[positive.rank] = true;
            }
            // Negatives have the ranks that are left.
            let factor = |column: usize| noise.as_ref().map_or(1.0, |noise| noise[column]);
            let mut negatives: Vec<(usize, f64)> = (place.class.end..length)
                .map(|column| (order[column], column))
                .map(|(at, column)| (at, scores[at] + 0.5 * self.margin * factor(column)))
                .collect();
            negatives.sort_by(|a, b| b.1.total_cmp(&a.1));
            let free = (1..=length).filter(|&rank| !taken[rank]);
            for ((at, _), rank) in negatives.into_iter().zip(free) {
                found.ranks[at] = rank;
            }
        }
        Ok(found)
    }
}

/// How many negatives are above each of the scores, which descend. At equal scores a negative is above.
fn negatives_above<F: Score>(scores: &[F], row: &[F], place: &Place) -> Vec<usize> {
    let mut above = vec![0; scores.len() + 1];
    for range in place.negatives(row.len()) {
        for score in &row[range] {
            above[scores.partition_point(|positive| positive.above(score))] += 1;
        }
    }
    above.pop();
    let mut sum = 0;
    for count in &mut above {
        sum += *count;
        *count = sum;
    }
    above
}

/// Scores of single or double precision.
trait Score: Copy {
    fn of(value: f64) -> Self;
    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
    fn above(&self, other: &Self) -> bool;
    fn order(&self, other: &Self) -> std::cmp::Ordering;
}

impl Score for f32 {
    fn of(value: f64) -> Self {
        value as f32
    }
    fn plus(self, other: Self) -> Self {
        self + other
    }
    fn minus(self, other: Self) -> Self {
        self - other
    }
    fn above(&self, other: &Self) -> bool {
        self > other
    }
    fn order(&self, other: &Self) -> std::cmp::Ordering {
        self.total_cmp(other)
    }
}

impl Score for f64 {
    fn of(value: f64) -> Self {
        value
    }
    fn plus(self, other: Self) -> Self {
        self + other
    }
    fn minus(self, other: Self) -> Self {
        self - other
    }
    fn above(&self, other: &Self) -> bool {
        self > other
    }
    fn order(&self, other: &Self) -> std::cmp::Ordering {
        self.total_cmp(other)
    }
}

struct Rows<'a> {
    objective: &'a Objective,
    lists: Lists,
    places: &'a Places,
    noise: Option<Noise<'a>>,
}

impl Rows<'_> {
    fn of_row<F: Score>(&self, index: usize, place: &Place, row: &mut [F]) -> f64 {
        if place.positive_count() == 0 {
            row.fill(F::of(0.0));
            return 0.0;
        }
        let noise = self.noise.map(|noise| {
            let query = self.places.queries[index];
            let own = place.own.map(|own| self.places.references[own]);
            let noise = noise.of_query(query, row.len() - usize::from(own.is_some()));
            let of_item = |&item: &usize| match own {
                Some(own) if item == own => 0.0,
                Some(own) => noise[item - usize::from(item > own)],
                None => noise[item],
            };
            self.places
                .references
                .iter()
                .map(of_item)
                .collect::<Vec<_>>()
        });
        let ranked = (self.objective).pulled(self.lists, row, place, noise.as_deref());
        ranked.value
    }

    /// The same of a block of queries from `start` on, in double precision on the host.
    fn of_block<B: Backend>(
        &self,
        dense: &Dense<B>,
        places: &Places,
        start: usize,
        wanted: bool,
    ) -> OfBlock<B> {
        let similarities = dense.similarities();
        let ([_, columns], like) = (similarities.dims(), similarities.clone());
        let mut numbers: Vec<f64> = similarities.into_data().iter::<f64>().collect();
        let values: Vec<f64> = numbers
            .par_chunks_mut(columns)
            .zip(&places.rows)
            .enumerate()
            .map(|(index, (row, place))| self.of_row(start + index, place, row))
            .collect();
        let shape = [values.len(), columns];
        let options = (&like.device(), like.dtype());
        OfBlock {
            values: column_like(&like, values),
            slopes: wanted.then(|| Tensor::from_data(TensorData::new(numbers, shape), options)),
        }
    }
}

impl RowLoss for Rows<'_> {
    type Note = ();
    type Whole = ();
    const MEASURE: Measure = Measure::Similarity;
    const LOOKS: bool = false;

    fn look(&self, _: usize, _: &Place, _: &[f32]) {}

    fn whole(&self, _: Vec<()>, _: &Places) {}

    #[inline(always)]
    fn term(&self, (): &(), index: usize, place: &Place, row: &mut [f32]) -> Term {
        Term {
            value: self.of_row(index, place, row),
            counted: 0,
        }
    }

    // Slopes are differences of ranks, which are no multiples of what comes in: all is multiplied already.
    fn scale(&self, (): &(), _: u64) -> f64 {
        1.0
    }
}
