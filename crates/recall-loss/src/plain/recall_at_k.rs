//! From soft ranks to soft recall.

use burn::tensor::{Tensor, backend::Backend};

use super::{
    blocks::DeviceQueryBlock,
    comparisons::{sigmoid, sigmoid_slope},
};
use crate::{RecallAtKLoss, objective::Cutoff};

impl RecallAtKLoss {
    /// Soft recall of each query, averaged over k.
    ///
    /// `[b, p]` → `[b, 1]`
    pub(super) fn soft_recall<B: Backend>(
        &self,
        ranks: Tensor<B, 2>,
        block: &DeviceQueryBlock<B>,
    ) -> Tensor<B, 2> {
        let recalls = self
            .cutoffs
            .iter()
            .map(|cutoff| {
                let within = sigmoid(cutoff.margin(ranks.clone()));
                let mut count = (within * block.valid.clone()).sum_dim(1);
                if self.cap_at_k {
                    count = count.clamp_max(cutoff.k);
                }
                count * cutoff.share(block)
            })
            .collect();
        // Not added up one by one: fused kernels of Burn 0.21 get a chain of row sums wrong.
        Tensor::cat(recalls, 1).mean_dim(1)
    }

    /// The derivative of a query's soft recall with respect to the soft ranks of its positives,
    /// nowhere positive: what ranks later is recalled less.
    ///
    /// `[b, p]` → `[b, p]`
    pub(super) fn soft_recall_slope<B: Backend>(
        &self,
        ranks: Tensor<B, 2>,
        block: &DeviceQueryBlock<B>,
    ) -> Tensor<B, 2> {
        let mut slope = ranks.zeros_like();
        for cutoff in &self.cutoffs {
            let within = sigmoid(cutoff.margin(ranks.clone())) * block.valid.clone();
            let mut weight = cutoff.share(block).mul_scalar(1.0 / cutoff.tau);
            if self.cap_at_k {
                let count = within.clone().sum_dim(1);
                // A count above k is cut off, and its derivative with it.
                weight = weight.mask_fill(count.greater_elem(cutoff.k), 0.0);
            }
            slope = slope - sigmoid_slope(within) * weight;
        }
        slope.mul_scalar(1.0 / self.cutoffs.len() as f64)
    }
}

impl Cutoff {
    /// `1 / min(k, |P_q|)`, what a positive within k adds to the recall of each query.
    ///
    /// `[b, 1]`
    fn share<B: Backend>(&self, block: &DeviceQueryBlock<B>) -> Tensor<B, 2> {
        block.counts.ones_like() / block.counts.clone().clamp_max(self.k)
    }

    /// `(k − rank) / τ_k`
    fn margin<B: Backend>(&self, ranks: Tensor<B, 2>) -> Tensor<B, 2> {
        ranks.neg().add_scalar(self.k).mul_scalar(1.0 / self.tau)
    }
}
