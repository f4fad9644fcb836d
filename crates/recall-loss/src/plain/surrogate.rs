//! The formulas of the surrogate for a block of queries, as tensor operations.
//!
//! Scalars multiply and never divide: the backward pass of Burn's `div_scalar` rounds its scalar to
//! f32, which an f64 backend would notice. Nothing that is differentiated is divided by a tensor
//! either: that backward pass takes a reciprocal, which burn-ndarray approximates to four digits.

use burn::tensor::{DType, Int, Tensor, activation, backend::Backend};

use super::blocks::DeviceQueryBlock;
use crate::{RecallAtKLoss, config::Cutoff};

/// Stands for "less similar than anything": far below any similarity and far from overflow when
/// divided by a temperature in f32.
const EXCLUDED: f64 = -1e30;

/// Where `σ(x)` is 0 or 1 to within 2·10⁻²².
const SATURATED: f64 = 50.0;

impl RecallAtKLoss {
    /// Takes each query out of its own database, unless the settings keep it there.
    ///
    /// `[b, N]` → `[b, N]`
    pub(crate) fn exclude_query<B: Backend>(
        &self,
        similarities: Tensor<B, 2>,
        block: &DeviceQueryBlock<B>,
    ) -> Tensor<B, 2> {
        if self.query_in_rank {
            return similarities;
        }
        let [rows, items] = similarities.dims();
        let columns = Tensor::<B, 1, Int>::arange(0..items as i64, &similarities.device())
            .reshape([1, items])
            .expand([rows, items]);
        let own = block.own.clone().expand([rows, items]);
        similarities.mask_fill(columns.equal(own), EXCLUDED)
    }

    /// `σ((s_z − s_x) / τ_rank)` of every item `z` against the positives `x` in one slot: the soft
    /// version of "z ranks before x".
    ///
    /// `[b, N]`, `[b, 1]` → `[b, N]`
    pub(crate) fn precedes<B: Backend>(
        &self,
        similarities: Tensor<B, 2>,
        positive: Tensor<B, 2>,
    ) -> Tensor<B, 2> {
        sigmoid((similarities - positive).mul_scalar(1.0 / self.tau_rank))
    }

    /// Soft ranks of the positives: 1 and what precedes them, themselves left out.
    ///
    /// `[b, N]` → `[b, p]`
    pub(crate) fn soft_ranks<B: Backend>(
        &self,
        similarities: Tensor<B, 2>,
        block: &DeviceQueryBlock<B>,
    ) -> Tensor<B, 2> {
        let [rows, width] = block.positives.dims();
        let ranks = (0..width)
            .map(|slot| {
                let index = block.positives.clone().slice([0..rows, slot..slot + 1]);
                let positive = similarities.clone().gather(1, index.clone());
                let precedes = self.precedes(similarities.clone(), positive);
                let itself = precedes.clone().gather(1, index);
                (precedes.sum_dim(1) - itself).add_scalar(1.0)
            })
            .collect();
        Tensor::cat(ranks, 1)
    }

    /// Soft recall of each query, averaged over k.
    ///
    /// `[b, p]` → `[b, 1]`
    pub(crate) fn soft_recall<B: Backend>(
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
    pub(crate) fn soft_recall_slope<B: Backend>(
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

/// `σ'` from `σ`.
pub(crate) fn sigmoid_slope<B: Backend, const D: usize>(sigmoid: Tensor<B, D>) -> Tensor<B, D> {
    sigmoid.clone() * sigmoid.neg().add_scalar(1.0)
}

fn sigmoid<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
    match x.dtype() {
        // Burn's default body of `sigmoid` computes in f32 whatever it is given. The clamp keeps the
        // derivative of this form, ∞ · 0 at the far end, a number.
        DType::F64 => x
            .clamp(-SATURATED, SATURATED)
            .neg()
            .exp()
            .add_scalar(1.0)
            .recip(),
        _ => activation::sigmoid(x),
    }
}
