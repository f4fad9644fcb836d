//! Recall and average precision with the gradient of blackbox rankings (Rolínek et al., "Optimizing Rank-based Metrics
//! with Blackbox Differentiation", CVPR 2020).
//!
//! A query ranks all others by their scores. The gradient of a rank with respect to scores is that of an
//! interpolation: scores are moved by `λ` times what comes in, and the ranks that these would have are taken from
//! those there are. What comes in is zero for negatives, so these keep their order: their ranks change by how
//! many positives pass them.

mod noise;
mod objective;
mod rows;
mod score;

use burn::config::Config;
use burn::tensor::Tensor;
use recall_loss::RecallBackend;
use serde::{Deserialize, Serialize};

use crate::error::{not_negative, positive, require};
use crate::pairs::with_itself;
use crate::{Batch, LossError, MetricLoss, PairLoss, Places};
use noise::Noise;
use objective::{Objective, Of};

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
        with_itself(self, batch)
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
