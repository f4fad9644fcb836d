//! Metrix (Venkataramanan, Psomas, Kijak, Amsaleg, Karantzalos and Avrithis, "It Takes Two to Tango: Mixup for Deep
//! Metric Learning", ICLR 2022), at the embeddings.

use burn::config::Config;
use burn::tensor::{IndexingUpdateOp, Tensor};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use recall_loss::RecallBackend;
use serde::{Deserialize, Serialize};

use super::beta::beta;
use crate::dense::{column_like, count, indices, log1p, ordered, root, unit};
use crate::error::{finite, not_negative, positive};
use crate::pairs::no_positives;
use crate::{Batch, ContrastiveConfig, LossError, MetricLoss, MultiSimilarityConfig, Places};

/// The loss whose labels are mixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MetrixForm {
    /// [The hinges of the contrastive loss](ContrastiveConfig::hinges), as in the released code.
    Contrastive,
    /// The multi-similarity loss of all pairs, without its miner, by the paper's general formula.
    MultiSimilarity,
}

/// Settings of Metrix: [`contrastive`](Self::contrastive) or [`multi_similarity`](Self::multi_similarity), and
/// [`init`](Self::init).
#[derive(Config, Debug, PartialEq)]
pub struct MetrixConfig {
    /// The loss.
    pub form: MetrixForm,
    /// Weight of the mixtures. Default 0.4; one branch of the released code has 0.3.
    #[config(default = 0.4)]
    pub weight: f64,
    /// Mixtures are drawn from the Beta distribution with this as both parameters. Default 2.
    #[config(default = 2.0)]
    pub concentration: f64,
    /// Whether all mixtures of a batch have the same weights, as in the released code, and not each its own. Default
    /// true.
    #[config(default = true)]
    pub one_lambda: bool,
    /// Distance to which the contrastive form pushes negatives. Default 0.5.
    #[config(default = 0.5)]
    pub margin: f64,
    /// Factor of positive similarities in the multi-similarity form. Default 2.
    #[config(default = 2.0)]
    pub alpha: f64,
    /// Factor of negative similarities in the multi-similarity form. Default 50.
    #[config(default = 50.0)]
    pub beta: f64,
    /// Similarity around which the multi-similarity form weighs. Default 0.5.
    #[config(default = 0.5)]
    pub base: f64,
}

impl MetrixConfig {
    /// Around the contrastive loss, as in the released code.
    pub fn contrastive() -> Self {
        Self::new(MetrixForm::Contrastive)
    }

    /// Around the multi-similarity loss, with the constants of pytorch-metric-learning: the code of Metrix has the
    /// contrastive form only.
    pub fn multi_similarity() -> Self {
        Self::new(MetrixForm::MultiSimilarity)
    }

    /// Checks the settings and makes the loss.
    ///
    /// # Errors
    ///
    /// [`LossError::Setting`].
    pub fn init(&self) -> Result<Metrix, LossError> {
        not_negative("weight", self.weight)?;
        positive("concentration", self.concentration)?;
        not_negative("margin", self.margin)?;
        positive("alpha", self.alpha)?;
        positive("beta", self.beta)?;
        finite("base", self.base)?;
        Ok(Metrix(self.clone()))
    }
}

/// `clean + w · mixed`: a loss of pairs, and the same of anchors `a` with mixtures `v` of a positive and a negative
/// each; made by [`MetrixConfig::init`].
///
/// `v` is `λ x⁺ + (1 − λ) x⁻` at unit length, where `x⁺` is a positive of `a`, or `a` itself, which a coin decides for
/// each batch. It counts as a positive by `λ` and as a negative by the rest:
///
/// - contrastive: the mean of the `λ |a − v|` that are not zero, plus that of the `(1 − λ) [m − |a − v|]₊`
/// - multi-similarity: `1/n Σ_a (1/α log(1 + Σ_v λ e^(−α (a·v − b))) + 1/β log(1 + Σ_v (1 − λ) e^(β (a·v − b))))`
///
/// Each ordered pair of a class is mixed once, with a negative drawn uniformly; `λ` is from Beta(2, 2). Lonely items
/// are negatives and no anchors of mixtures. Rows are of unit length.
///
/// Mixtures of inputs and features, and Metrix around Proxy-Anchor, are not here.
///
/// Elsewhere: the released code has the contrastive form only. It mixes each anchor with its first positive alone, and
/// the coin's other side leaves out all anchors with positives, so that every second step of class-balanced
/// batches has no mixture at all.
#[derive(Debug, Clone, PartialEq)]
pub struct Metrix(MetrixConfig);

impl<B: RecallBackend> MetricLoss<B> for Metrix {
    fn evaluate(&self, batch: Batch<'_, B>) -> Result<Tensor<B, 1>, LossError> {
        batch.dims()?;
        let (triples, lambdas) = self.draw(batch.labels, batch.seed)?;
        self.total(batch, &triples, &lambdas)
    }
}

impl Metrix {
    /// What is mixed: anchor, `x⁺` and `x⁻`, and `λ` of each, or one for all. It follows from labels and seed.
    ///
    /// # Errors
    ///
    /// [`LossError::Lacking`] without two classes, one of them of two items.
    pub fn draw(
        &self,
        labels: &[i64],
        seed: u64,
    ) -> Result<(Vec<[usize; 3]>, Vec<f64>), LossError> {
        let places = Places::within(labels);
        no_positives("metrix", &places)?;
        if !places.have_triplets() {
            return Err(LossError::Lacking {
                loss: "metrix",
                needs: "items of two classes, one of them with two items",
                items: labels.len(),
                remedy: "sample several classes",
            });
        }
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let of_anchors = random.random::<bool>();
        let columns = places.references.len();
        let mut triples = Vec::new();
        for (row, place) in places.rows.iter().enumerate() {
            let others = place.negative_count(columns);
            for column in place.positives() {
                if others == 0 {
                    continue;
                }
                let drawn = random.random_range(0..others);
                let negative = match drawn < place.class.start {
                    true => drawn,
                    false => drawn + place.class.len(),
                };
                let first = if of_anchors { row } else { column };
                triples.push([row, first, negative].map(|at| places.references[at]));
            }
        }
        let lambdas = if self.0.one_lambda { 1 } else { triples.len() };
        let lambdas = (0..lambdas).map(|_| beta(self.0.concentration, &mut random));
        let lambdas = lambdas.collect::<Result<_, _>>()?;
        Ok((triples, lambdas))
    }

    /// The loss of a batch with given mixtures, `[1]`: anchor, `x⁺` and `x⁻` of each are rows of the batch, and `lambdas`
    /// are the weights of `x⁺`, one for each or one for all.
    ///
    /// # Errors
    ///
    /// [`LossError::Lacking`] without two items of a class, [`LossError::Mixture`] if the mixtures do not belong to the
    /// batch.
    pub fn total<B: RecallBackend>(
        &self,
        batch: Batch<'_, B>,
        triples: &[[usize; 3]],
        lambdas: &[f64],
    ) -> Result<Tensor<B, 1>, LossError> {
        batch.dims()?;
        let mixed = self.mixed(batch.embeddings.clone(), triples, lambdas)?;
        let config = &self.0;
        let clean = match config.form {
            MetrixForm::Contrastive => {
                let clean = ContrastiveConfig::hinges().with_margin(config.margin);
                clean.init()?.evaluate(batch)?
            }
            MetrixForm::MultiSimilarity => {
                no_positives("metrix", &Places::within(batch.labels))?;
                let clean = MultiSimilarityConfig {
                    alpha: config.alpha,
                    beta: config.beta,
                    base: config.base,
                    epsilon: None,
                };
                clean.init()?.evaluate(batch)?
            }
        };
        Ok(clean + mixed.mul_scalar(config.weight))
    }

    /// The loss of the mixtures alone, `[1]`; see [`total`](Self::total).
    ///
    /// # Errors
    ///
    /// [`LossError::Mixture`] if the mixtures do not belong to the batch.
    pub fn mixed<B: RecallBackend>(
        &self,
        embeddings: Tensor<B, 2>,
        triples: &[[usize; 3]],
        lambdas: &[f64],
    ) -> Result<Tensor<B, 1>, LossError> {
        let [rows, _] = embeddings.dims();
        let lambdas = match lambdas {
            &[one] => vec![one; triples.len()],
            each if each.len() == triples.len() => each.to_vec(),
            each => {
                return Err(LossError::Mixture(format!(
                    "there are {} weights for {} mixtures; give one for each, or one for all",
                    each.len(),
                    triples.len()
                )));
            }
        };
        if let Some(row) = triples.iter().flatten().find(|&&row| row >= rows) {
            return Err(LossError::Mixture(format!(
                "row {row} is mixed in a batch of {rows}"
            )));
        }
        if let Some(lambda) = lambdas.iter().find(|lambda| !(0.0..=1.0).contains(*lambda)) {
            return Err(LossError::Mixture(format!(
                "a mixture has the weight {lambda}; give weights from 0 to 1"
            )));
        }
        let of =
            |part: usize| -> Vec<usize> { triples.iter().map(|triple| triple[part]).collect() };
        let rest = lambdas.iter().map(|lambda| 1.0 - lambda).collect();
        let (lambda, rest) = (
            column_like(&embeddings, lambdas),
            column_like(&embeddings, rest),
        );
        let taken = |part| ordered(embeddings.clone(), &of(part));
        let mixtures = unit(taken(1) * lambda.clone() + taken(2) * rest.clone());
        let anchors = taken(0);
        Ok(match self.0.form {
            MetrixForm::Contrastive => {
                let difference = anchors - mixtures;
                let distance = root((difference.clone() * difference).sum_dim(1));
                let short = distance.clone().neg().add_scalar(self.0.margin);
                mean_of_some(distance * lambda) + mean_of_some(short.clamp_min(0.0) * rest)
            }
            MetrixForm::MultiSimilarity => {
                let similarity = (anchors * mixtures).sum_dim(1).sub_scalar(self.0.base);
                let sum = |factor: f64, weights| {
                    let terms = similarity.clone().mul_scalar(factor);
                    let logs = log_of_sums(terms, weights, &of(0), rows);
                    logs.mul_scalar(1.0 / (factor.abs() * rows.max(1) as f64))
                };
                sum(-self.0.alpha, lambda) + sum(self.0.beta, rest)
            }
        })
    }
}

/// The mean of what is not zero, 0 if everything is.
fn mean_of_some<B: RecallBackend>(values: Tensor<B, 2>) -> Tensor<B, 1> {
    let some = count(values.clone().greater_elem(0.0)).max(1.0);
    values.sum().mul_scalar(1.0 / some)
}

/// `Σ_a log(1 + Σ_(v of a) w_v e^(x_v))`, `[1]`.
fn log_of_sums<B: RecallBackend>(
    exponents: Tensor<B, 2>,
    weights: Tensor<B, 2>,
    anchors: &[usize],
    rows: usize,
) -> Tensor<B, 1> {
    let known = exponents.clone().detach().into_data();
    let mut greatest = vec![0.0f64; rows];
    for (&anchor, exponent) in anchors.iter().zip(known.iter::<f64>()) {
        greatest[anchor] = greatest[anchor].max(exponent);
    }
    let of_terms = anchors.iter().map(|&anchor| greatest[anchor]).collect();
    let terms = (exponents.clone() - column_like(&exponents, of_terms)).exp() * weights;
    let greatest = column_like(&exponents, greatest);
    let anchors = indices(anchors, &exponents.device());
    let sums = (greatest.zeros_like()).select_assign(0, anchors, terms, IndexingUpdateOp::Add);
    shifted_log(sums, greatest).sum()
}

/// `log(1 + e^g s)` for `g ≥ 0`.
fn shifted_log<B: RecallBackend>(sum: Tensor<B, 2>, greatest: Tensor<B, 2>) -> Tensor<B, 2> {
    let one = greatest.clone().neg().exp().sub_scalar(1.0);
    log1p(sum + one) + greatest
}
