//! Triplet loss (Schroff, Kalenichenko and Philbin, "FaceNet", CVPR 2015), and what is mined for it.

use std::ops::Range;

use burn::config::Config;
use burn::tensor::activation::log_sigmoid;
use burn::tensor::{Int, Tensor, TensorData};
use recall_loss::RecallBackend;
use serde::{Deserialize, Serialize};

use super::{PairLoss, no_triplets, places_of};
use crate::dense::{Dense, only, root};
use crate::error::{not_negative, require};
use crate::rows::{LANES, Measure, Place, RowLoss, Term, greatest, log1p_exp, rows, suit};
use crate::{Batch, LossError, MetricLoss, Places};

/// Which triplets of an anchor `a`, a positive `p` and a negative `n` count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TripletMining {
    /// All.
    All,
    /// For each `(a, p)` the nearest negative that is farther than `p`, else the farthest negative.
    SemihardNearest,
    /// All with `0 < d_an − d_ap ≤ m`.
    SemihardWindow,
    /// All with `d_an ≤ d_ap`.
    HardWindow,
    /// For each `a` the farthest positive and the nearest negative (Hermans, Beyer and Leibe, "In Defense of the
    /// Triplet Loss", 2017).
    BatchHard,
}

/// What the sum of all terms is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TripletReduction {
    /// The number of triplets that are mined. Of a window it is the number of terms that are not zero.
    Mean,
    /// The number of terms that are not zero.
    NonZero,
}

/// Settings of the triplet loss: one of the constructors by name, and [`init`](Self::init).
#[derive(Config, Debug, PartialEq)]
pub struct TripletConfig {
    /// Which triplets count.
    pub mining: TripletMining,
    /// Whether distances are squared, those of windows too. Default false.
    #[config(default = false)]
    pub squared: bool,
    /// By how much negatives are to be farther than positives. Default 0.2.
    #[config(default = 0.2)]
    pub margin: f64,
    /// Whether `log(1 + e^(d_ap − d_an))` replaces the hinge; the margin has no effect then. For semi-hard nearest
    /// and batch hard only. Default false.
    #[config(default = false)]
    pub soft: bool,
    /// What the sum is divided by. Default the mean, zeros included.
    #[config(default = "TripletReduction::Mean")]
    pub reduction: TripletReduction,
}

impl TripletConfig {
    /// The form of FaceNet in TensorFlow: semi-hard nearest negatives, squared distances, margin 0.2.
    pub fn facenet() -> Self {
        Self::new(TripletMining::SemihardNearest).with_squared(true)
    }

    /// The default of TensorFlow Addons: semi-hard nearest negatives, plain distances, margin 1.
    pub fn tensorflow_addons() -> Self {
        Self::new(TripletMining::SemihardNearest).with_margin(1.0)
    }

    /// All semi-hard triplets as the miner of pytorch-metric-learning finds them: plain distances, margin 0.2.
    pub fn semihard_window() -> Self {
        Self::new(TripletMining::SemihardWindow).with_reduction(TripletReduction::NonZero)
    }

    /// All triplets in the wrong order: plain distances, margin 0.2.
    pub fn hard_window() -> Self {
        Self::new(TripletMining::HardWindow).with_reduction(TripletReduction::NonZero)
    }

    /// The hardest positive and negative of each anchor: plain distances, margin 0.2.
    pub fn batch_hard() -> Self {
        Self::new(TripletMining::BatchHard)
    }

    /// The same with a soft margin.
    pub fn batch_hard_soft() -> Self {
        Self::batch_hard().with_soft(true)
    }

    /// All triplets: squared distances, margin 0.2, the mean of what is not zero.
    pub fn all() -> Self {
        Self::new(TripletMining::All)
            .with_squared(true)
            .with_reduction(TripletReduction::NonZero)
    }

    /// Checks the settings and makes the loss.
    ///
    /// # Errors
    ///
    /// [`LossError::Setting`].
    pub fn init(&self) -> Result<Triplet, LossError> {
        not_negative("margin", self.margin)?;
        require(
            !self.soft || self.chooses(),
            "soft",
            self.soft,
            "a soft margin is for batch hard and semi-hard nearest; use a hinge with this mining",
        )?;
        Ok(Triplet(self.clone()))
    }

    /// Whether there is one negative for a positive, and not a window of them.
    fn chooses(&self) -> bool {
        matches!(
            self.mining,
            TripletMining::SemihardNearest | TripletMining::BatchHard
        )
    }
}

/// `[d_ap − d_an + m]₊` over the mined triplets; made by [`TripletConfig::init`].
///
/// Rows are of unit length. Lonely items are negatives to all others, and no anchors.
///
/// Elsewhere: the loss of pytorch-metric-learning has margin 0.05 where its miner has 0.2, so that mined triplets
/// vanish. triplet-reid and TensorFlow Addons count a lonely anchor with `d_ap = 0`.
///
/// Windows take no more time than sorting the positives of a row and looking each negative up among them, however
/// many triplets there are.
#[derive(Debug, Clone, PartialEq)]
pub struct Triplet(TripletConfig);

impl Triplet {
    /// The mined triplets of a batch: anchor, positive and negative, as rows of `embeddings`. There may be as many
    /// as `n³`: the loss itself does not list them. Distances are compared in single precision.
    ///
    /// # Errors
    ///
    /// As [`evaluate`](MetricLoss::evaluate).
    pub fn triplets<B: RecallBackend>(
        &self,
        embeddings: Tensor<B, 2>,
        labels: &[i64],
    ) -> Result<Vec<[usize; 3]>, LossError> {
        let places = places_of(&embeddings, labels)?;
        no_triplets("triplet", &places)?;
        let embeddings = embeddings.detach();
        let dense = Dense::new(embeddings.clone(), embeddings, &places);
        let distances = self.distances(&dense).into_data();
        let distances: Vec<f32> = distances.iter::<f32>().collect();
        let columns = places.references.len();
        let mut found = Vec::new();
        for (index, place) in places.rows.iter().enumerate() {
            let row = &distances[index * columns..(index + 1) * columns];
            let pairs = match self.0.chooses() {
                true => self.chosen(place, row),
                false => self.within_windows(place, row),
            };
            let item = |column: usize| places.references[column];
            let triplets = pairs.into_iter();
            found.extend(triplets.map(|[p, n]| [places.queries[index], item(p), item(n)]));
        }
        Ok(found)
    }

    fn within_windows(&self, place: &Place, row: &[f32]) -> Vec<[usize; 2]> {
        let margin = self.0.margin as f32;
        let counts = |gap: f32| match self.0.mining {
            TripletMining::SemihardWindow => gap > 0.0 && gap <= margin,
            TripletMining::HardWindow => gap <= 0.0,
            _ => true,
        };
        let negatives = || place.negatives(row.len()).into_iter().flatten();
        let pairs = place
            .positives()
            .flat_map(|positive| negatives().map(move |negative| [positive, negative]));
        pairs.filter(|&[p, n]| counts(row[n] - row[p])).collect()
    }

    fn distances<B: RecallBackend>(&self, of: &Dense<B>) -> Tensor<B, 2> {
        match self.0.squared {
            true => of.squared_distances(),
            false => root(of.squared_distances()),
        }
    }

    /// How many triplets are mined, where that follows from the labels.
    fn mined(&self, places: &Places) -> f64 {
        let columns = places.references.len();
        let of_row = |place: &Place| {
            let (positives, negatives) = (place.positive_count(), place.negative_count(columns));
            match self.0.mining {
                TripletMining::SemihardNearest => positives * negatives.min(1),
                TripletMining::BatchHard => (positives * negatives).min(1),
                _ => positives * negatives,
            }
        };
        places.rows.iter().map(of_row).sum::<usize>().max(1) as f64
    }

    /// Whether the sum is divided by a number that depends on the embeddings.
    fn counts(&self) -> bool {
        let window = matches!(
            self.0.mining,
            TripletMining::SemihardWindow | TripletMining::HardWindow
        );
        window || self.0.reduction == TripletReduction::NonZero
    }
}

impl<B: RecallBackend> MetricLoss<B> for Triplet {
    fn evaluate(&self, batch: Batch<'_, B>) -> Result<Tensor<B, 1>, LossError> {
        batch.dims()?;
        let places = Places::within(batch.labels);
        self.between(batch.embeddings.clone(), batch.embeddings, &places)
    }
}

impl<B: RecallBackend> PairLoss<B> for Triplet {
    fn between(
        &self,
        queries: Tensor<B, 2>,
        references: Tensor<B, 2>,
        places: &Places,
    ) -> Result<Tensor<B, 1>, LossError> {
        no_triplets("triplet", places)?;
        if suit::<B>(queries.dtype()) {
            return Ok(rows(self, queries, references, places));
        }
        let dense = Dense::new(queries, references, places);
        let distances = self.distances(&dense);
        let (sum, count) = match self.0.chooses() {
            true => self.dense_choice(&dense, distances, places),
            false => self.dense_windows(&dense, distances, places),
        };
        Ok(match self.counts() {
            true => sum / count.clamp_min(1.0),
            false => sum.mul_scalar(1.0 / self.mined(places)),
        })
    }
}

/// Stands for a distance beyond all others.
const FAR: f64 = 1e30;

impl Triplet {
    /// The sum of the terms of one negative for a positive, and how many are not zero.
    fn dense_choice<B: RecallBackend>(
        &self,
        of: &Dense<B>,
        distances: Tensor<B, 2>,
        places: &Places,
    ) -> (Tensor<B, 1>, Tensor<B, 1>) {
        let device = distances.device();
        let fixed = distances.clone().detach();
        let others = of.negative.clone().bool_not();
        let (positives, negatives, some) = match self.0.mining {
            TripletMining::BatchHard => {
                let not_positive = of.positive.clone().bool_not();
                let some = places.rows.iter().map(|row| row.positive_count() > 0);
                (
                    fixed.clone().mask_fill(not_positive, -1.0).argmax(1),
                    fixed.mask_fill(others, FAR).argmin(1),
                    numbers(some.map(i64::from).collect(), &device),
                )
            }
            _ => {
                let farthest = fixed.clone().mask_fill(others, -1.0).argmax(1);
                let members = (0..most(places)).map(|nth| {
                    let (column, some) = member(places, nth, &device);
                    let positive = fixed.clone().gather(1, column.clone());
                    let farther = (fixed.clone())
                        .greater(positive.expand(fixed.dims()))
                        .bool_and(of.negative.clone());
                    let values = fixed.clone().mask_fill(farther.bool_not(), FAR);
                    let nearest = values.clone().argmin(1);
                    let none = values.gather(1, nearest.clone()).greater_equal_elem(FAR);
                    (column, nearest.mask_where(none, farthest.clone()), some)
                });
                let members: Vec<_> = members.collect();
                let joined = |of: &dyn Fn(&Member<B>) -> Tensor<B, 2, Int>| {
                    Tensor::cat(members.iter().map(of).collect(), 1)
                };
                (
                    joined(&|member| member.0.clone()),
                    joined(&|member| member.1.clone()),
                    joined(&|member| member.2.clone()),
                )
            }
        };
        // Whoever has no negative has no triplet.
        let columns = places.references.len();
        let opposed = places
            .rows
            .iter()
            .map(|row| row.negative_count(columns) > 0);
        let opposed = numbers(opposed.map(i64::from).collect(), &device);
        let some = (some * opposed).equal_elem(1);
        let gaps = distances.clone().gather(1, positives) - distances.gather(1, negatives);
        let terms = match self.0.soft {
            true => log_sigmoid(gaps.neg()).neg(),
            false => gaps.add_scalar(self.0.margin).clamp_min(0.0),
        };
        let terms = only(terms, &some);
        let count = ones(&terms, terms.clone().greater_elem(0.0)).sum();
        (terms.sum(), count)
    }

    /// The sum of the terms of windows, and how many there are: one pass over the matrix for each positive of a
    /// row. The sum is linear in the distances, so passes find values and weights, and one product is tracked.
    fn dense_windows<B: RecallBackend>(
        &self,
        of: &Dense<B>,
        distances: Tensor<B, 2>,
        places: &Places,
    ) -> (Tensor<B, 1>, Tensor<B, 1>) {
        let fixed = distances.clone().detach();
        let shape = fixed.dims();
        let numbers = Tensor::<B, 1, Int>::arange(0..shape[1] as i64, &fixed.device());
        let numbers = numbers.reshape([1, shape[1]]).expand(shape);
        let mut weights = fixed.zeros_like();
        let mut value = fixed.zeros_like().sum();
        let mut count = value.clone();
        for nth in 0..most(places) {
            let (column, some) = member(places, nth, &fixed.device());
            let some = some.equal_elem(1).expand(shape);
            let positive = fixed.clone().gather(1, column.clone()).expand(shape);
            let gaps = fixed.clone() - positive;
            let inside = gaps.clone().lower_elem(self.0.margin);
            let inside = match self.0.mining {
                TripletMining::SemihardWindow => inside.bool_and(gaps.clone().greater_elem(0.0)),
                TripletMining::HardWindow => inside.bool_and(gaps.clone().lower_equal_elem(0.0)),
                _ => inside,
            };
            let inside = inside.bool_and(of.negative.clone()).bool_and(some.clone());
            let short = gaps.neg().add_scalar(self.0.margin);
            value = value + only(short, &inside).sum();
            let inside = ones(&fixed, inside);
            let counts = inside.clone().sum_dim(1);
            count = count + counts.clone().sum();
            let here = numbers.clone().equal(column.expand(shape)).bool_and(some);
            weights = weights - inside + only(counts.expand(shape), &here);
        }
        let pull = (distances * weights).sum();
        (value + (pull.clone() - pull.detach()), count)
    }
}

/// The columns of a positive and of its negative in each row, and 1 where there are such.
type Member<B> = (Tensor<B, 2, Int>, Tensor<B, 2, Int>, Tensor<B, 2, Int>);

/// The size of the largest class.
fn most(places: &Places) -> usize {
    let sizes = places.rows.iter().map(|row| row.class.len());
    sizes.max().unwrap_or(0)
}

/// The column of the `nth` item of each row's class, `[n, 1]`, and 1 where that is a positive.
fn member<B: RecallBackend>(
    places: &Places,
    nth: usize,
    device: &B::Device,
) -> (Tensor<B, 2, Int>, Tensor<B, 2, Int>) {
    let (columns, some): (Vec<i64>, Vec<i64>) = (places.rows.iter())
        .map(|row| {
            let column = row.class.start + nth;
            match column < row.class.end && Some(column) != row.own {
                true => (column as i64, 1),
                false => (0, 0),
            }
        })
        .unzip();
    (numbers(columns, device), numbers(some, device))
}

/// Whole numbers as a column.
fn numbers<B: RecallBackend>(values: Vec<i64>, device: &B::Device) -> Tensor<B, 2, Int> {
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [count, 1]), device)
}

/// 1 where the mask is true, in the type of `like`.
fn ones<B: RecallBackend>(
    like: &Tensor<B, 2>,
    mask: Tensor<B, 2, burn::tensor::Bool>,
) -> Tensor<B, 2> {
    like.clone().detach().zeros_like().mask_fill(mask, 1.0)
}

/// Up to as many positives each negative is compared with all of them, in vector instructions.
const FEW: usize = 16;

impl RowLoss for Triplet {
    type Note = ();
    type Whole = f64;
    const MEASURE: Measure = Measure::SquaredDistance;
    const LOOKS: bool = false;

    fn look(&self, _: usize, _: &Place, _: &[f32]) {}

    fn whole(&self, _: Vec<()>, places: &Places) -> f64 {
        self.mined(places)
    }

    #[inline(always)]
    fn term(&self, _: &f64, _: usize, place: &Place, row: &mut [f32]) -> Term {
        if place.positive_count() == 0 || place.negative_count(row.len()) == 0 {
            row.fill(0.0);
            return Term::default();
        }
        if !self.0.squared {
            for square in row.iter_mut() {
                *square = square.sqrt();
            }
        }
        match self.0.chooses() {
            true => self.choice(place, row),
            false => self.windows(place, row),
        }
    }

    fn scale(&self, mined: &f64, counted: u64) -> f64 {
        match self.counts() {
            true => 1.0 / counted.max(1) as f64,
            false => 1.0 / mined,
        }
    }
}

impl Triplet {
    /// What the derivative with respect to a distance is with respect to its square, if the loss is of distances.
    #[inline(always)]
    fn slope(&self, weight: f32, distance: f32) -> f32 {
        let halved = 0.5 * weight / distance;
        if self.0.squared {
            weight
        } else if distance > 0.0 {
            halved
        } else {
            0.0
        }
    }

    #[inline(always)]
    fn choice(&self, place: &Place, row: &mut [f32]) -> Term {
        let pairs = self.chosen(place, row);
        let distances = pairs.iter().map(|pair| pair.map(|column| row[column]));
        let distances: Vec<[f32; 2]> = distances.collect();
        row.fill(0.0);
        let mut term = Term::default();
        for (&[positive, negative], [near, far]) in pairs.iter().zip(distances) {
            let gap = f64::from(near) - f64::from(far);
            let (value, weight) = match self.0.soft {
                true => (log1p_exp(gap), (1.0 / (1.0 + (-gap).exp())) as f32),
                false => {
                    let value = (gap + self.0.margin).max(0.0);
                    (value, f32::from(value > 0.0))
                }
            };
            term.value += value;
            term.counted += u64::from(value > 0.0);
            row[positive] += self.slope(weight, near);
            row[negative] -= self.slope(weight, far);
        }
        term
    }

    /// The columns of the chosen positives and their negatives in a row of distances.
    #[inline(always)]
    fn chosen(&self, place: &Place, row: &[f32]) -> Vec<[usize; 2]> {
        let negatives = place.negatives(row.len());
        if place.positive_count() == 0 || place.negative_count(row.len()) == 0 {
            return Vec::new();
        }
        if self.0.mining == TripletMining::BatchHard {
            let positives = place.positives();
            let farthest = positives.max_by(|&a, &b| row[a].total_cmp(&row[b]));
            let nearest = greatest_column(&negatives, row, |x| -x);
            return farthest.zip(nearest).map(Into::into).into_iter().collect();
        }
        let Some(farthest) = greatest_column(&negatives, row, |x| x) else {
            return Vec::new();
        };
        if place.positive_count() > FEW {
            return nearest_of_many(place, row, farthest);
        }
        let nearest = |positive: usize| {
            let distance = row[positive];
            let farther = |x: f32| if x > distance { -x } else { f32::MIN };
            greatest_column(&negatives, row, farther).unwrap_or(farthest)
        };
        let positives = place.positives();
        positives
            .map(|positive| [positive, nearest(positive)])
            .collect()
    }

    /// The distances of negatives that make a triplet with a positive of a distance: from one up to another.
    fn window(&self, positive: f32) -> [f32; 2] {
        let short = positive + self.0.margin as f32;
        match self.0.mining {
            TripletMining::SemihardWindow => {
                let start = positive.next_up();
                [start, short.max(start)]
            }
            TripletMining::HardWindow => [f32::MIN, positive.next_up().min(short)],
            _ => [f32::MIN, short],
        }
    }

    #[inline(always)]
    fn windows(&self, place: &Place, row: &mut [f32]) -> Term {
        let mut positives: Vec<usize> = place.positives().collect();
        positives.sort_unstable_by(|&a, &b| row[a].total_cmp(&row[b]));
        let windows = positives.iter().map(|&column| self.window(row[column]));
        let windows: Vec<[f32; 2]> = windows.collect();
        let mut counts = vec![0.0; positives.len()];
        let mut taken = 0.0;
        for range in place.negatives(row.len()) {
            taken += match windows.len() <= FEW {
                true => self.few(&mut row[range], &windows, &mut counts),
                false => self.many(&mut row[range], &windows, &mut counts),
            };
        }
        let mut term = Term {
            value: -taken,
            counted: 0,
        };
        if let Some(own) = place.own {
            row[own] = 0.0;
        }
        for (&column, count) in positives.iter().zip(counts) {
            let distance = row[column];
            term.value += count * (f64::from(distance) + self.0.margin);
            term.counted += count as u64;
            row[column] = self.slope(count as f32, distance);
        }
        term
    }

    /// Turns distances of negatives into derivatives: each is in as many triplets as windows hold it. Adds to
    /// the counts of the windows and returns the sum of all their distances.
    #[inline(always)]
    fn few(&self, negatives: &mut [f32], windows: &[[f32; 2]], counts: &mut [f64]) -> f64 {
        let mut held = [[0.0f32; LANES]; FEW];
        let mut sums = [0.0f64; LANES];
        let (whole, rest) = negatives.as_chunks_mut::<LANES>();
        for lane in whole {
            self.turn(lane, windows, &mut held, &mut sums);
        }
        // What fills the last lanes is beyond all windows.
        let mut last = [f32::MAX; LANES];
        last[..rest.len()].copy_from_slice(rest);
        self.turn(&mut last, windows, &mut held, &mut sums);
        rest.copy_from_slice(&last[..rest.len()]);
        for (count, held) in counts.iter_mut().zip(held) {
            *count += held.iter().map(|&count| f64::from(count)).sum::<f64>();
        }
        sums.iter().sum()
    }

    /// One step of this: a lane of distances becomes derivatives.
    #[inline(always)]
    fn turn(
        &self,
        lane: &mut [f32; LANES],
        windows: &[[f32; 2]],
        held: &mut [[f32; LANES]; FEW],
        sums: &mut [f64; LANES],
    ) {
        let mut weights = [0.0f32; LANES];
        for (&[start, end], held) in windows.iter().zip(held) {
            for at in 0..LANES {
                let inside = f32::from((lane[at] >= start) & (lane[at] < end));
                weights[at] += inside;
                held[at] += inside;
            }
        }
        for at in 0..LANES {
            sums[at] += f64::from(weights[at]) * f64::from(lane[at]);
            lane[at] = self.slope(-weights[at], lane[at]);
        }
    }

    /// The same for windows in the order of their starts, which is that of their ends: those that hold a number
    /// are neighbours, so two searches find them.
    #[inline(always)]
    fn many(&self, negatives: &mut [f32], windows: &[[f32; 2]], counts: &mut [f64]) -> f64 {
        let mut steps = vec![0.0; windows.len() + 1];
        let mut sum = 0.0;
        for x in negatives {
            let first = windows.partition_point(|window| window[1] <= *x);
            let end = windows.partition_point(|window| window[0] <= *x);
            steps[first] += 1.0;
            steps[end] -= 1.0;
            let weight = (end - first) as f32;
            sum += f64::from(weight) * f64::from(*x);
            *x = self.slope(-weight, *x);
        }
        let mut held = 0.0;
        for (count, step) in counts.iter_mut().zip(steps) {
            held += step;
            *count += held;
        }
        sum
    }
}

/// The column within the ranges whose `of(x)` is the greatest, if that is above the least number.
#[inline(always)]
fn greatest_column(
    ranges: &[Range<usize>; 2],
    row: &[f32],
    of: impl Fn(f32) -> f32,
) -> Option<usize> {
    let values = ranges.clone().map(|range| greatest(&row[range], &of));
    let (range, value) = match values[0] >= values[1] {
        true => (ranges[0].clone(), values[0]),
        false => (ranges[1].clone(), values[1]),
    };
    let start = range.start;
    // A search that may end at each value is no vector instruction: first the part, then the place in it.
    const PART: usize = 128;
    let found = |x: f32| of(x) == value;
    let has = |part: &[f32]| part.iter().fold(false, |any, &x| any | found(x));
    let mut parts = row[range].chunks(PART).enumerate();
    let (part, values) = parts.find(|(_, values)| has(values))?;
    let at = values.iter().position(|&x| found(x))?;
    (value > f32::MIN).then_some(start + part * PART + at)
}

/// The nearest farther negative of each positive, else the farthest one. Each negative is looked up once among
/// the positives, however many these are.
fn nearest_of_many(place: &Place, row: &[f32], farthest: usize) -> Vec<[usize; 2]> {
    let mut positives: Vec<usize> = place.positives().collect();
    positives.sort_unstable_by(|&a, &b| row[a].total_cmp(&row[b]));
    // The nearest of those that are farther than so many positives.
    let mut nearest: Vec<Option<usize>> = vec![None; positives.len() + 1];
    let nearer = |a: Option<usize>, b: Option<usize>| match (a, b) {
        (Some(a), Some(b)) => Some(if row[b] < row[a] { b } else { a }),
        _ => a.or(b),
    };
    for column in place.negatives(row.len()).into_iter().flatten() {
        let passed = positives.partition_point(|&positive| row[positive] < row[column]);
        nearest[passed] = nearer(nearest[passed], Some(column));
    }
    let mut best = None;
    let pairs = positives.iter().zip(&nearest[1..]).rev();
    pairs
        .map(|(&positive, &negative)| {
            best = nearer(best, negative);
            [positive, best.unwrap_or(farthest)]
        })
        .collect()
}
