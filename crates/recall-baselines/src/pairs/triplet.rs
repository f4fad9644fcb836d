//! Triplet loss (Schroff, Kalenichenko and Philbin, "FaceNet", CVPR 2015), and what is mined for it.

mod dense;
mod rows;

use burn::config::Config;
use burn::tensor::Tensor;
use recall_loss::RecallBackend;
use serde::{Deserialize, Serialize};

use super::{PairLoss, no_triplets, places_of, with_itself};
use crate::dense::{Dense, root};
use crate::error::{not_negative, require};
use crate::rows::{Place, rows, suit};
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
        with_itself(self, batch)
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
