//! Similarity mixup, SiMix (Patel, Tolias and Matas, "Recall@k Surrogate Loss with Large Batches and Similarity
//! Mixup", CVPR 2022), around losses other than its own.

use burn::tensor::Tensor;
use recall_loss::{Mixup, RecallBackend};

use crate::dense::{column_like, ordered};
use crate::{Batch, LossError, MetricLoss, Parameters};

/// A loss of a batch and of virtual rows: mixtures `α · first + (1 − α) · second` of all pairs of a class, with `α`
/// uniform from 0 to 1.
///
/// Virtual rows are not normalised again, so their similarities are mixtures of similarities. That makes sense for
/// losses of similarities alone, of which [`MetricLoss::compares_similarities`] tells; others are refused. A class
/// of `m` items gets `m (m − 1) / 2` virtual ones, lonely items none.
///
/// For the Recall@k surrogate `RecallAtKLoss::forward_mixed` comes to the same in less time. They differ if a k is greater
/// than the number of real rows: there it counts as that number, here virtual rows count, too.
#[derive(Debug, Clone, PartialEq)]
pub struct SimilarityMixup<L> {
    loss: L,
}

impl<L> SimilarityMixup<L> {
    /// Puts similarity mixup around a loss.
    pub fn new(loss: L) -> Self {
        Self { loss }
    }

    /// The loss of a batch and of given mixtures of its rows, `[1]`.
    ///
    /// # Errors
    ///
    /// Those of the loss, [`LossError::Setting`] if it does not compare similarities, and
    /// [`LossError::Ranking`] if the mixup does not belong to the batch.
    pub fn mixed<B: RecallBackend>(
        &self,
        batch: Batch<'_, B>,
        mixup: &Mixup,
    ) -> Result<Tensor<B, 1>, LossError>
    where
        L: MetricLoss<B>,
    {
        batch.dims()?;
        if !self.loss.compares_similarities() {
            return Err(LossError::Setting {
                name: "similarity_mixup",
                value: "true".into(),
                problem: "it needs a loss of similarities, and not one of distances or proxies",
            });
        }
        let mut labels = batch.labels.to_vec();
        let (mut first, mut second, mut alpha) = (Vec::new(), Vec::new(), Vec::new());
        for (pair, (a, b, weight)) in mixup.pairs().enumerate() {
            if let Some(row) = [a, b].into_iter().find(|&row| row >= batch.labels.len()) {
                return Err(LossError::Ranking(recall_loss::LossError::MixupRow {
                    pair,
                    row,
                    items: batch.labels.len(),
                }));
            }
            if labels[a] != labels[b] {
                return Err(LossError::Ranking(recall_loss::LossError::MixupClasses {
                    pair,
                    first: a,
                    second: b,
                }));
            }
            labels.push(labels[a]);
            first.push(a);
            second.push(b);
            alpha.push(weight);
        }
        if mixup.is_empty() {
            return self.loss.evaluate(batch);
        }
        let rows = batch.embeddings;
        let rest = alpha.iter().map(|alpha| 1.0 - alpha).collect();
        let (alpha, rest) = (column_like(&rows, alpha), column_like(&rows, rest));
        let mixtures =
            ordered(rows.clone(), &first) * alpha + ordered(rows.clone(), &second) * rest;
        self.loss.evaluate(Batch {
            embeddings: Tensor::cat(vec![rows, mixtures], 0),
            labels: &labels,
            ..batch
        })
    }
}

impl<B: RecallBackend, L: MetricLoss<B>> MetricLoss<B> for SimilarityMixup<L> {
    fn parameters(&self, classes: usize, dim: usize) -> Option<Parameters> {
        self.loss.parameters(classes, dim)
    }

    fn compares_similarities(&self) -> bool {
        self.loss.compares_similarities()
    }

    fn evaluate(&self, batch: Batch<'_, B>) -> Result<Tensor<B, 1>, LossError> {
        let mixup = Mixup::all_pairs(batch.labels, batch.seed);
        self.mixed(batch, &mixup)
    }
}
