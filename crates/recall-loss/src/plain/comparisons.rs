//! The soft comparisons of a block of queries, as tensor operations.
//!
//! Scalars multiply and never divide: the backward pass of Burn's `div_scalar` rounds its scalar to
//! f32, which an f64 backend would notice. Nothing that is differentiated is divided by a tensor
//! either: that backward pass takes a reciprocal, which burn-ndarray approximates to four digits.

use burn::tensor::{DType, IndexingUpdateOp, Tensor, activation, backend::Backend};

use super::{blocks::DeviceQueryBlock, gather::gather_in_rows};
use crate::{
    SmoothAp,
    objective::{Itself, Objective},
};

/// Stands for "less similar than anything": far below any similarity and far from overflow when
/// divided by a temperature in f32.
const EXCLUDED: f64 = -1e30;

/// Where `σ(x)` is 0 or 1 to within 2·10⁻²².
const SATURATED: f64 = 50.0;

/// What the positives of a query and what the other items of its list add to something known of each
/// positive, `[b, p]` each.
#[derive(Debug, Clone)]
pub(crate) struct Parts<B: Backend> {
    pub(crate) within: Tensor<B, 2>,
    pub(crate) beyond: Tensor<B, 2>,
}

/// The similarities of some queries, those to their positives apart from the others.
#[derive(Debug, Clone)]
pub(crate) struct Comparisons<B: Backend> {
    /// `[b, p]`: to the positives; excluded where there is only padding.
    within: Tensor<B, 2>,
    /// `[b, N]`: to the other items of the list; excluded where an item is none of them.
    beyond: Tensor<B, 2>,
    /// `1 / τ`
    sharpness: f64,
}

impl<B: Backend> Comparisons<B> {
    /// From the similarities `[b, N]` of the block's queries to all items.
    pub(crate) fn new(
        similarities: Tensor<B, 2>,
        block: &DeviceQueryBlock<B>,
        objective: &Objective,
    ) -> Self {
        let within = gather_in_rows(similarities.clone(), block.positives.clone())
            .mask_fill(block.valid.clone().lower_elem(0.5), EXCLUDED);
        let mut apart = similarities.zeros_like().scatter(
            1,
            block.positives.clone(),
            block.valid.clone(),
            IndexingUpdateOp::Add,
        );
        if objective.itself() == Itself::Absent {
            let own = block.counts.ones_like();
            apart = apart.scatter(1, block.own.clone(), own, IndexingUpdateOp::Add);
        }
        Self {
            within,
            beyond: similarities.mask_fill(apart.greater_elem(0.5), EXCLUDED),
            sharpness: 1.0 / objective.tau(),
        }
    }

    /// Soft ranks of the positives among each other, and how many other items precede them.
    pub(crate) fn ranks(&self) -> Parts<B> {
        let [_, width] = self.within.dims();
        let (mut within, mut beyond) = (Vec::with_capacity(width), Vec::with_capacity(width));
        for slot in 0..width {
            let precedes = self.preceding(slot);
            within.push(precedes.within.sum_dim(1).add_scalar(1.0));
            beyond.push(precedes.beyond.sum_dim(1));
        }
        Parts {
            within: Tensor::cat(within, 1),
            beyond: Tensor::cat(beyond, 1),
        }
    }

    /// From the derivatives of something with respect to the two parts of each rank to those with
    /// respect to the similarities, `[b, N]`.
    pub(crate) fn slope(&self, ranks: Parts<B>, block: &DeviceQueryBlock<B>) -> Tensor<B, 2> {
        let [rows, width] = self.within.dims();
        let weights = Parts {
            within: ranks.within.mul_scalar(self.sharpness),
            beyond: ranks.beyond.mul_scalar(self.sharpness),
        };
        // A rank rises with the similarity of each item z, by σ'/τ, and falls with that of its own
        // positive x, by the sum of all those.
        let (mut within, mut beyond) = (self.within.zeros_like(), self.beyond.zeros_like());
        let mut falls = (Vec::with_capacity(width), Vec::with_capacity(width));
        for slot in 0..width {
            let weight = |weights: &Tensor<B, 2>| weights.clone().slice([0..rows, slot..slot + 1]);
            let precedes = self.preceding(slot);
            let step = sigmoid_slope(precedes.within) * weight(&weights.within);
            falls.0.push(step.clone().sum_dim(1));
            within = within + step;
            let step = sigmoid_slope(precedes.beyond) * weight(&weights.beyond);
            falls.1.push(step.clone().sum_dim(1));
            beyond = beyond + step;
        }
        let within = within - Tensor::cat(falls.0, 1) - Tensor::cat(falls.1, 1);
        beyond.scatter(1, block.positives.clone(), within, IndexingUpdateOp::Add)
    }

    /// `σ((s_z − s_x) / τ)` of every item `z` against the positives `x` in one slot: the soft version
    /// of "z ranks before x". `[b, p]` and `[b, N]`
    fn preceding(&self, slot: usize) -> Parts<B> {
        let [rows, _] = self.within.dims();
        let place = [0..rows, slot..slot + 1];
        let positive = self.within.clone().slice(place.clone());
        // x against itself is no comparison. Left in, its two shares of σ'(0)/τ would cancel up to
        // rounding, and in a saturated row that rounding is all there would be.
        let excluded = positive.full_like(EXCLUDED);
        let others = self.within.clone().slice_assign(place, excluded);
        let precedes = |similarities: Tensor<B, 2>| {
            sigmoid((similarities - positive.clone()).mul_scalar(self.sharpness))
        };
        Parts {
            within: precedes(others),
            beyond: precedes(self.beyond.clone()),
        }
    }
}

impl Objective {
    /// The value of each query.
    ///
    /// `[b, p]` → `[b, 1]`
    pub(crate) fn value<B: Backend>(
        &self,
        ranks: Parts<B>,
        block: &DeviceQueryBlock<B>,
    ) -> Tensor<B, 2> {
        match self {
            Self::RecallAtK(loss) => loss.soft_recall(ranks.within + ranks.beyond, block),
            Self::SmoothAp(_) => SmoothAp::average_precision(ranks, block),
        }
    }

    /// Its derivatives with respect to both parts of the soft ranks.
    ///
    /// `[b, p]` → `[b, p]`
    pub(crate) fn value_slope<B: Backend>(
        &self,
        ranks: Parts<B>,
        block: &DeviceQueryBlock<B>,
    ) -> Parts<B> {
        match self {
            Self::RecallAtK(loss) => {
                let slope = loss.soft_recall_slope(ranks.within + ranks.beyond, block);
                Parts {
                    within: slope.clone(),
                    beyond: slope,
                }
            }
            Self::SmoothAp(_) => SmoothAp::average_precision_slope(ranks, block),
        }
    }
}

/// `σ'` from `σ`.
pub(super) fn sigmoid_slope<B: Backend, const D: usize>(sigmoid: Tensor<B, D>) -> Tensor<B, D> {
    sigmoid.clone() * sigmoid.neg().add_scalar(1.0)
}

pub(super) fn sigmoid<B: Backend, const D: usize>(x: Tensor<B, D>) -> Tensor<B, D> {
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
