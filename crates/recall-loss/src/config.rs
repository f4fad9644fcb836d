use burn::config::Config;

use crate::LossError;

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
        let temperatures = self.tau_k.iter().map(|&tau| ("tau_k", tau));
        for (name, value) in temperatures.chain([("tau_rank", self.tau_rank)]) {
            if !(value.is_finite() && value > 0.0) {
                return Err(LossError::Temperature { name, value });
            }
        }
        if self.block_size == 0 {
            return Err(LossError::BlockSize);
        }

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
    /// The loss for a batch of `n` embeddings: no k lies beyond it.
    pub(crate) fn for_batch(&self, n: usize) -> Self {
        let mut loss = self.clone();
        for cutoff in &mut loss.cutoffs {
            cutoff.k = cutoff.k.min(n as f64);
        }
        loss
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
