//! What the losses of this crate differ in: the function of soft ranks that each query is judged by.

mod recall_at_k;
mod smooth_ap;

pub(crate) use recall_at_k::Cutoff;
pub use recall_at_k::{RecallAtKLoss, RecallAtKLossConfig};
pub use smooth_ap::{SmoothAp, SmoothApConfig};

use std::ops::Range;

use burn::tensor::{Int, Tensor};

use crate::{LossAndGrad, LossError, Mixup, RecallBackend};

/// The loss that a [`RecallBatch`](crate::RecallBatch) is for.
///
/// All of them rank the positives of each query softly, in the same way, and differ in what they make
/// of those ranks: a value from 0 to 1 for each query. The loss is 1 − their mean.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Objective {
    /// The value is the soft recall, averaged over k.
    RecallAtK(RecallAtKLoss),
    /// The value is the soft average precision.
    SmoothAp(SmoothAp),
}

/// What a query is to itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Itself {
    /// Nothing: it is not in the list that it ranks.
    Absent,
    /// One item of the list like others, but no positive.
    Listed,
    /// In the list, and a positive.
    Positive,
}

impl Objective {
    /// The loss and its gradient with respect to the embeddings, as
    /// [`RecallAtKLoss::value_and_grad`] and [`SmoothAp::value_and_grad`] have it.
    ///
    /// # Errors
    ///
    /// As these.
    pub fn value_and_grad<B: RecallBackend>(
        &self,
        embeddings: Tensor<B, 2>,
        labels: Tensor<B, 1, Int>,
        mixup: Option<&Mixup>,
    ) -> Result<LossAndGrad<B>, LossError> {
        crate::loss::value_and_grad(self.clone(), embeddings, labels, mixup)
    }

    /// A share of both, as [`RecallAtKLoss::value_and_grad_of`] and [`SmoothAp::value_and_grad_of`] have it.
    ///
    /// # Errors
    ///
    /// As these.
    pub fn value_and_grad_of<B: RecallBackend>(
        &self,
        rows: Range<usize>,
        embeddings: Tensor<B, 2>,
        labels: Tensor<B, 1, Int>,
        mixup: Option<&Mixup>,
    ) -> Result<LossAndGrad<B>, LossError> {
        crate::loss::value_and_grad_of(self.clone(), rows, embeddings, labels, mixup)
    }

    /// The objective for a batch of `n` embeddings.
    pub(crate) fn for_batch(self, n: usize) -> Self {
        match self {
            Self::RecallAtK(loss) => Self::RecallAtK(loss.for_batch(n)),
            Self::SmoothAp(loss) => Self::SmoothAp(loss),
        }
    }

    /// The temperature of a comparison.
    pub(crate) fn tau(&self) -> f64 {
        match self {
            Self::RecallAtK(loss) => loss.tau_rank,
            Self::SmoothAp(loss) => loss.tau,
        }
    }

    pub(crate) fn itself(&self) -> Itself {
        match self {
            Self::RecallAtK(loss) if loss.query_in_rank => Itself::Listed,
            Self::SmoothAp(loss) if loss.query_included => Itself::Positive,
            _ => Itself::Absent,
        }
    }

    /// Whether items alone in their class count, with the value 1.
    pub(crate) fn counts_lonely(&self) -> bool {
        matches!(self, Self::SmoothAp(loss) if loss.count_lonely)
    }

    pub(crate) fn block_size(&self) -> usize {
        match self {
            Self::RecallAtK(loss) => loss.block_size,
            Self::SmoothAp(loss) => loss.block_size,
        }
    }

    /// How many positives each item has in a class of so many.
    pub(crate) fn positives_in(&self, class: usize) -> usize {
        match self.itself() {
            Itself::Positive if class > 1 => class,
            _ => class.saturating_sub(1),
        }
    }
}

fn check_temperature(name: &'static str, value: f64) -> Result<(), LossError> {
    if value.is_finite() && value > 0.0 {
        Ok(())
    } else {
        Err(LossError::Temperature { name, value })
    }
}

fn check_block_size(block_size: usize) -> Result<(), LossError> {
    if block_size == 0 {
        Err(LossError::BlockSize)
    } else {
        Ok(())
    }
}
