//! From soft ranks to soft average precision.

use burn::tensor::{Tensor, backend::Backend};

use super::{blocks::DeviceQueryBlock, comparisons::Parts};
use crate::SmoothAp;

impl SmoothAp {
    /// Soft average precision of each query: the mean of its positives' ranks among the positives,
    /// over their ranks in the whole list.
    ///
    /// `[b, p]` → `[b, 1]`
    pub(super) fn average_precision<B: Backend>(
        ranks: Parts<B>,
        block: &DeviceQueryBlock<B>,
    ) -> Tensor<B, 2> {
        // 1 / R as the square of a power: the backward pass of a division takes a reciprocal, and a
        // reciprocal is approximate on burn-ndarray.
        let root = (ranks.within.clone() + ranks.beyond).powf_scalar(-0.5);
        let precision = ranks.within * root.clone() * root;
        (precision * block.valid.clone()).sum_dim(1) * share(block)
    }

    /// Its derivative with respect to what the positives and what the other items add to each rank.
    /// Written with the latter sum, not with `R − R⁺`, of which little is left where classes are well
    /// separated.
    ///
    /// `[b, p]` → `[b, p]`
    pub(super) fn average_precision_slope<B: Backend>(
        ranks: Parts<B>,
        block: &DeviceQueryBlock<B>,
    ) -> Parts<B> {
        let rank = ranks.within.clone() + ranks.beyond.clone();
        let weight = block.valid.clone() * share(block) / (rank.clone() * rank);
        Parts {
            within: ranks.beyond * weight.clone(),
            beyond: ranks.within.neg() * weight,
        }
    }
}

/// `1 / |P_q|`, `[b, 1]`.
fn share<B: Backend>(block: &DeviceQueryBlock<B>) -> Tensor<B, 2> {
    block.counts.ones_like() / block.counts.clone()
}
