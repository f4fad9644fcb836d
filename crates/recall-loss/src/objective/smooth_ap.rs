use std::ops::Range;

use burn::{
    config::Config,
    tensor::{Int, Tensor},
};

use super::{Objective, check_block_size, check_temperature};
use crate::{LossAndGrad, LossError, Mixup, RecallBackend, RecallBatch, loss};

/// Settings of the Smooth-AP loss; [`init`](Self::init) checks them.
///
/// The defaults are those of the paper. Its authors' released code differs in
/// [`query_included`](Self::query_included). It also clamps the sigmoids' exponents at ±50, which
/// alters no comparison by more than 2·10⁻²² and therefore needs no switch.
#[derive(Config, Debug, PartialEq)]
pub struct SmoothApConfig {
    /// Temperature of a comparison `σ(Δs / τ)`, in units of similarity. Default 0.01.
    #[config(default = 0.01)]
    pub tau: f64,
    /// Whether a query stays in its own list and counts as a positive of itself, as in the released
    /// code. There it comes first, so its own part of the average, one in the size of its class, is
    /// about 1 whatever a model has learned, and the others rank one later, in the list and among the
    /// positives. Default false: the list of a query is every item but itself, as in the paper.
    #[config(default = false)]
    pub query_included: bool,
    /// Whether items alone in their class count in the mean, with an average precision of 1 and no
    /// gradient. Default false: they are in the lists of the others, and not counted.
    #[config(default = false)]
    pub count_lonely: bool,
    /// How many queries are handled at once by [`plain`](crate::plain) tensor operations, and at
    /// least by kernels on a GPU. Memory grows with `block_size` times the number of items; the result
    /// changes by rounding only. Kernels on the CPU have tiles of their own size. Default 256.
    #[config(default = 256)]
    pub block_size: usize,
}

impl SmoothApConfig {
    /// The settings under which the paper authors' released code computes its loss.
    pub fn released_code() -> Self {
        Self::new().with_query_included(true)
    }

    /// Checks the settings and makes the loss.
    ///
    /// # Errors
    ///
    /// Names the first setting that makes no sense: [`LossError::Temperature`] or
    /// [`LossError::BlockSize`].
    pub fn init(&self) -> Result<SmoothAp, LossError> {
        check_temperature("tau", self.tau)?;
        check_block_size(self.block_size)?;
        Ok(SmoothAp {
            tau: self.tau,
            query_included: self.query_included,
            count_lonely: self.count_lonely,
            block_size: self.block_size,
        })
    }
}

/// The Smooth-AP loss of Brown, Xie, Kalogeiton and Zisserman ("Smooth-AP: Smoothing the Path Towards
/// Large-Scale Image Retrieval", ECCV 2020); made by [`SmoothApConfig::init`].
///
/// ```text
/// R(q,i)  = 1 + Σ_{j ∈ L_q, j ≠ i} σ((s_qj − s_qi) / τ)   soft rank of positive i in the list L_q
/// R⁺(q,i) = 1 + Σ_{j ∈ P_q, j ≠ i} σ((s_qj − s_qi) / τ)   and among the positives P_q
/// AP_q    = mean over i ∈ P_q of R⁺(q,i) / R(q,i)
/// loss    = mean over q of 1 − AP_q
/// ```
///
/// with `s` the dot products of the embeddings of a batch. It has the comparisons of
/// [`RecallAtKLoss`](crate::RecallAtKLoss), and so its kernels on the CPU, its memory and similarity
/// mixup. CubeCL backends (CUDA, wgpu) compute it by [`plain`](crate::plain) tensor operations, in blocks
/// of queries.
///
/// Classes may have any sizes and rows any order. Other implementations differ:
///
/// - the authors' released code wants classes of one size, side by side, and includes the query
///   ([`SmoothApConfig::released_code`]);
/// - ROADMAP's (Ramzi et al., 2021) includes the query and counts items alone in their class
///   ([`SmoothApConfig::count_lonely`]);
/// - version 2.9 of PyTorch Metric Learning takes the size of the classes for their number, and is right
///   only where the two are equal.
#[derive(Debug, Clone, PartialEq)]
pub struct SmoothAp {
    pub(crate) tau: f64,
    pub(crate) query_included: bool,
    pub(crate) count_lonely: bool,
    pub(crate) block_size: usize,
}

impl SmoothAp {
    /// The loss of a batch, differentiable by Burn's autodiff, once.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[n, d]`, rows of unit length
    /// - labels: `[n]`, the class of each row, in any order and with any class sizes
    /// - output: `[1]`, from 0 to 1
    ///
    /// # Errors
    ///
    /// [`LossError::LabelCount`], [`LossError::NoPositives`] or [`LossError::NonFinite`].
    pub fn forward<B: RecallBackend>(
        &self,
        embeddings: Tensor<B, 2>,
        labels: Tensor<B, 1, Int>,
    ) -> Result<Tensor<B, 1>, LossError> {
        loss::forward(self, embeddings, labels, None)
    }

    /// [`forward`](Self::forward) over real and virtual items.
    ///
    /// # Errors
    ///
    /// As `forward`, and [`LossError::MixupRow`] or [`LossError::MixupClasses`] if the mixup does not
    /// belong to this batch.
    pub fn forward_mixed<B: RecallBackend>(
        &self,
        embeddings: Tensor<B, 2>,
        labels: Tensor<B, 1, Int>,
        mixup: &Mixup,
    ) -> Result<Tensor<B, 1>, LossError> {
        loss::forward(self, embeddings, labels, Some(mixup))
    }

    /// The loss and its gradient with respect to the embeddings, by the chain rule written out;
    /// [`LossAndGrad::recall`] is the average precision of each query.
    ///
    /// No autodiff graph is built, as in
    /// [`RecallAtKLoss::value_and_grad`](crate::RecallAtKLoss::value_and_grad).
    ///
    /// # Shapes
    ///
    /// - embeddings: `[n, d]`, rows of unit length
    /// - labels: `[n]`
    ///
    /// # Errors
    ///
    /// As [`forward_mixed`](Self::forward_mixed).
    pub fn value_and_grad<B: RecallBackend>(
        &self,
        embeddings: Tensor<B, 2>,
        labels: Tensor<B, 1, Int>,
        mixup: Option<&Mixup>,
    ) -> Result<LossAndGrad<B>, LossError> {
        loss::value_and_grad(self, embeddings, labels, mixup)
    }

    /// The share of some queries in the loss and in its gradient, for ranks that divide a batch among them, as in
    /// [`RecallAtKLoss::value_and_grad_of`](crate::RecallAtKLoss::value_and_grad_of).
    ///
    /// # Shapes
    ///
    /// - rows: a range within `0..n`
    /// - embeddings: `[n, d]`, rows of unit length
    /// - labels: `[n]`
    ///
    /// # Errors
    ///
    /// As [`value_and_grad`](Self::value_and_grad), and [`LossError::ShareRows`] if the range is none of the
    /// batch.
    pub fn value_and_grad_of<B: RecallBackend>(
        &self,
        rows: Range<usize>,
        embeddings: Tensor<B, 2>,
        labels: Tensor<B, 1, Int>,
        mixup: Option<&Mixup>,
    ) -> Result<LossAndGrad<B>, LossError> {
        loss::value_and_grad_of(self, rows, embeddings, labels, mixup)
    }

    /// A batch for [`RecallBackend`] or [`plain`](crate::plain).
    ///
    /// # Errors
    ///
    /// [`LossError::NoPositives`], [`LossError::MixupRow`] or [`LossError::MixupClasses`].
    pub fn batch(&self, labels: &[i64], mixup: Option<&Mixup>) -> Result<RecallBatch, LossError> {
        RecallBatch::new(self, labels, mixup)
    }
}

impl From<&SmoothAp> for Objective {
    fn from(loss: &SmoothAp) -> Self {
        Self::SmoothAp(loss.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_without_sense_are_refused_by_name() {
        let refusal = |config: SmoothApConfig| config.init().unwrap_err().to_string();
        for tau in [0.0, -0.01, f64::NAN, f64::INFINITY] {
            let message = refusal(SmoothApConfig::new().with_tau(tau));
            assert!(message.starts_with(&format!("tau = {tau}")), "{message}");
        }
        assert!(refusal(SmoothApConfig::new().with_block_size(0)).contains("block_size"));
    }
}
