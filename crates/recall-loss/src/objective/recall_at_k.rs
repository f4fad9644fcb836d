use std::ops::Range;

use burn::{
    config::Config,
    tensor::{Int, Tensor},
};

use super::{Objective, check_block_size, check_temperature};
use crate::{LossAndGrad, LossError, Mixup, RecallBackend, RecallBatch, loss};

/// Settings of the Recall@k surrogate loss; [`init`](Self::init) checks them.
///
/// The defaults are those of the paper. Its authors' released code differs in one point that
/// changes numbers, [`query_in_rank`](Self::query_in_rank). It also clamps the sigmoids' exponents
/// at ±50, which alters no comparison by more than 2·10⁻²² and therefore needs no switch.
#[derive(Config, Debug, PartialEq)]
pub struct RecallAtKLossConfig {
    /// The values of k whose recall is averaged; distinct, at least 1. A k beyond the number of
    /// embeddings in a batch counts as that number. Default 1, 2, 4, 8, 16.
    #[config(default = "vec![1, 2, 4, 8, 16]")]
    pub ks: Vec<usize>,
    /// Temperature of the soft count `σ((k − rank) / τ_k)`, in ranks (the paper's τ₁): one value for
    /// all k or one for each. Default 1.
    #[config(default = "vec![1.0]")]
    pub tau_k: Vec<f64>,
    /// Temperature of the soft rank `σ(Δs / τ_rank)`, in units of similarity (the paper's τ₂).
    /// Default 0.01.
    #[config(default = 0.01)]
    pub tau_rank: f64,
    /// Whether a query's similarity to itself takes part in the ranks of its positives, as in the
    /// released code: about 1 is added to each rank, and the loss of perfectly separated classes of
    /// 4 stays near 0.29 (0.22 where each class is one point). Default false: a query is no part of its own database.
    #[config(default = false)]
    pub query_in_rank: bool,
    /// Whether the soft count is capped at k, as in the paper and the released code. Default true.
    #[config(default = true)]
    pub cap_at_k: bool,
    /// How many queries are handled at once by [`plain`](crate::plain) tensor operations, and at
    /// least by kernels on a GPU. Memory grows with `block_size` times the number of items; the result
    /// changes by rounding only. Kernels on the CPU have tiles of their own size. Default 256.
    #[config(default = 256)]
    pub block_size: usize,
}

impl RecallAtKLossConfig {
    /// The settings under which the paper authors' released code computes its loss.
    pub fn released_code() -> Self {
        Self::new().with_query_in_rank(true)
    }

    /// Checks the settings and makes the loss.
    ///
    /// # Errors
    ///
    /// Names the first setting that makes no sense: [`LossError::Ks`], [`LossError::TauKLength`],
    /// [`LossError::Temperature`] or [`LossError::BlockSize`].
    pub fn init(&self) -> Result<RecallAtKLoss, LossError> {
        let refuse_ks = |reason| {
            Err(LossError::Ks {
                ks: self.ks.clone(),
                reason,
            })
        };
        if self.ks.is_empty() {
            return refuse_ks("there is no k");
        }
        if self.ks.contains(&0) {
            return refuse_ks("recall@0 does not exist");
        }
        if (1..self.ks.len()).any(|i| self.ks[..i].contains(&self.ks[i])) {
            return refuse_ks("a value appears twice");
        }
        if self.tau_k.len() != 1 && self.tau_k.len() != self.ks.len() {
            return Err(LossError::TauKLength {
                temperatures: self.tau_k.len(),
                ks: self.ks.len(),
            });
        }
        for &tau in &self.tau_k {
            check_temperature("tau_k", tau)?;
        }
        check_temperature("tau_rank", self.tau_rank)?;
        check_block_size(self.block_size)?;

        let tau_of = |i: usize| {
            if self.tau_k.len() == 1 {
                self.tau_k[0]
            } else {
                self.tau_k[i]
            }
        };
        Ok(RecallAtKLoss {
            cutoffs: self
                .ks
                .iter()
                .enumerate()
                .map(|(i, &k)| Cutoff {
                    k: k as f64,
                    tau: tau_of(i),
                })
                .collect(),
            tau_rank: self.tau_rank,
            query_in_rank: self.query_in_rank,
            cap_at_k: self.cap_at_k,
            block_size: self.block_size,
        })
    }
}

/// The Recall@k surrogate loss; made by [`RecallAtKLossConfig::init`].
#[derive(Debug, Clone, PartialEq)]
pub struct RecallAtKLoss {
    pub(crate) cutoffs: Vec<Cutoff>,
    pub(crate) tau_rank: f64,
    pub(crate) query_in_rank: bool,
    pub(crate) cap_at_k: bool,
    pub(crate) block_size: usize,
}

impl RecallAtKLoss {
    /// The loss of a batch, differentiable by Burn's autodiff.
    ///
    /// Around a backend of this crate, [`Autodiff`](burn::backend::Autodiff) computes the gradient
    /// together with the value and keeps nothing else for the backward pass. Second derivatives do
    /// not exist.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[n, d]`, rows of unit length
    /// - labels: `[n]`, the class of each row, in any order and with any class sizes; items alone in
    ///   their class are part of every database but no queries
    /// - output: `[1]`, from 0 to 1 under the default settings
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

    /// The loss and its gradient with respect to the embeddings, by the chain rule written out.
    ///
    /// No autodiff graph is built: call it on the inner backend, and hand the gradient to the model
    /// by back-propagating `Σ embeddings · grad`. Memory grows with `block_size · n` and not with n².
    /// Only similarities of real embeddings are computed; those of virtual ones are mixed from them.
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

    /// The share of some queries in the loss and in its gradient, for ranks that divide a batch among them.
    ///
    /// Each rank has the embeddings of the whole batch and asks for the queries of its own `rows`. The sum over
    /// ranks of [`loss`](LossAndGrad::loss) is then the loss of the batch and that of
    /// [`grad`](LossAndGrad::grad) its gradient, if their ranges cover the rows once; an empty range is a share
    /// of 0. [`recall`](LossAndGrad::recall) speaks of the queries of these rows alone, and of the virtual ones
    /// that go with them ([`RecallBatch::share`]).
    ///
    /// A share costs what its queries cost: four products of `rows · n · d` where every comparison counts, three
    /// where similarities are few enough to be kept. The whole takes two of `n² · d`, as a similarity serves both of its
    /// items there. On a CPU no copy of the embeddings is made, so that besides them and the gradient little is
    /// held that does not shrink with the share.
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

    /// The loss for a batch of `n` embeddings: no k lies beyond it.
    pub(super) fn for_batch(mut self, n: usize) -> Self {
        for cutoff in &mut self.cutoffs {
            cutoff.k = cutoff.k.min(n as f64);
        }
        self
    }
}

impl From<&RecallAtKLoss> for Objective {
    fn from(loss: &RecallAtKLoss) -> Self {
        Self::RecallAtK(loss.clone())
    }
}

/// One k and the temperature of its soft count.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Cutoff {
    pub(crate) k: f64,
    pub(crate) tau: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(config: RecallAtKLossConfig) -> String {
        config.init().expect_err("must be refused").to_string()
    }

    #[test]
    fn settings_without_sense_are_refused_by_name() {
        let config = RecallAtKLossConfig::new;
        assert!(refusal(config().with_ks(vec![])).starts_with("ks = []"));
        assert!(refusal(config().with_ks(vec![1, 0])).contains("recall@0"));
        assert!(refusal(config().with_ks(vec![2, 1, 2])).contains("twice"));
        assert!(refusal(config().with_tau_k(vec![1.0, 2.0])).contains("tau_k has 2 values for 5"));
        assert!(refusal(config().with_tau_k(vec![-1.0])).contains("tau_k = -1"));
        assert!(refusal(config().with_tau_rank(0.0)).contains("tau_rank = 0"));
        assert!(refusal(config().with_tau_rank(f64::NAN)).contains("tau_rank = NaN"));
        assert!(refusal(config().with_block_size(0)).contains("block_size"));
    }

    #[test]
    fn one_temperature_serves_every_k() {
        let loss = RecallAtKLossConfig::new()
            .with_tau_k(vec![2.0])
            .init()
            .unwrap();
        assert!(loss.cutoffs.iter().all(|cutoff| cutoff.tau == 2.0));
        assert_eq!(loss.cutoffs.len(), 5);
    }
}
