//! The optimiser and its learning rate schedule.

use burn::module::AutodiffModule;
use burn::optim::adaptor::OptimizerAdaptor;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::{Adam, AdamConfig, AdamW, AdamWConfig, GradientsParams, Optimizer};
use burn::tensor::backend::AutodiffBackend;
use serde::{Deserialize, Serialize};

/// Which optimiser, how fast and for how long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimiserConfig {
    /// `adam` (decay through the gradient, as PyTorch's `Adam`) or `adamw` (decoupled decay).
    pub kind: OptimiserKind,
    /// Learning rate after the warm-up. Default 0.002.
    pub learning_rate: f64,
    /// Weight decay. Default 4·10⁻⁴, as in the paper.
    pub weight_decay: f32,
    /// Steps over which the learning rate rises linearly from 0. Default 10.
    pub warmup_steps: u64,
    /// Epochs (from 0) at whose start the learning rate is multiplied by `factor`. Default 28 and 36.
    pub milestones: Vec<u64>,
    /// What a milestone multiplies the learning rate by. Default 0.3, as in the paper.
    pub factor: f64,
}

/// The optimisers there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimiserKind {
    /// Adam with the weight decay added to the gradient.
    Adam,
    /// Adam with decoupled weight decay.
    AdamW,
}

impl Default for OptimiserConfig {
    fn default() -> Self {
        Self {
            kind: OptimiserKind::AdamW,
            learning_rate: 2e-3,
            weight_decay: 4e-4,
            warmup_steps: 10,
            milestones: vec![28, 36],
            factor: 0.3,
        }
    }
}

/// PyTorch's epsilon; Burn's default is larger.
const EPSILON: f32 = 1e-8;

impl OptimiserConfig {
    /// Makes the optimiser.
    pub fn init<B, M>(&self) -> Optimiser<B, M>
    where
        B: AutodiffBackend,
        M: AutodiffModule<B>,
    {
        match self.kind {
            OptimiserKind::Adam => Optimiser::Adam(
                AdamConfig::new()
                    .with_epsilon(EPSILON)
                    .with_weight_decay(Some(WeightDecayConfig::new(self.weight_decay)))
                    .init(),
            ),
            OptimiserKind::AdamW => Optimiser::AdamW(
                AdamWConfig::new()
                    .with_epsilon(EPSILON)
                    .with_weight_decay(self.weight_decay)
                    .init(),
            ),
        }
    }

    /// The learning rate of a step: `step` counts from 0 over the whole run.
    ///
    /// ```
    /// use recall_train::OptimiserConfig;
    ///
    /// let config = OptimiserConfig {
    ///     learning_rate: 1.0,
    ///     warmup_steps: 4,
    ///     milestones: vec![2],
    ///     ..OptimiserConfig::default()
    /// };
    /// assert_eq!(config.learning_rate_at(0, 0), 0.25);
    /// assert_eq!(config.learning_rate_at(1, 10), 1.0);
    /// assert_eq!(config.learning_rate_at(2, 20), 0.3);
    /// ```
    pub fn learning_rate_at(&self, epoch: u64, step: u64) -> f64 {
        let warm = ((step + 1) as f64 / self.warmup_steps.max(1) as f64).min(1.0);
        let passed = self
            .milestones
            .iter()
            .filter(|&&milestone| milestone <= epoch)
            .count();
        self.learning_rate * warm * self.factor.powi(passed as i32)
    }
}

/// Adam or AdamW over a module.
#[derive(Clone)]
pub enum Optimiser<B: AutodiffBackend, M: AutodiffModule<B>> {
    /// See [`OptimiserKind::Adam`].
    Adam(OptimizerAdaptor<Adam, M, B>),
    /// See [`OptimiserKind::AdamW`].
    AdamW(OptimizerAdaptor<AdamW, M, B>),
}

impl<B: AutodiffBackend, M: AutodiffModule<B>> Optimiser<B, M> {
    /// Updates the model.
    pub fn step(&mut self, learning_rate: f64, model: M, gradients: GradientsParams) -> M {
        match self {
            Self::Adam(adam) => adam.step(learning_rate, model, gradients),
            Self::AdamW(adamw) => adamw.step(learning_rate, model, gradients),
        }
    }
}
