//! The optimiser: groups of parameters, each with a rate and a decay of its own.

mod average;
mod config;
mod extent;
mod groups;
mod schedule;
mod state;

use burn::module::AutodiffModule;
use burn::optim::adaptor::OptimizerAdaptor;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::{Adam, AdamConfig, AdamW, AdamWConfig, GradientsParams, Optimizer};
use burn::tensor::backend::AutodiffBackend;

use crate::Embedder;
pub(crate) use average::move_towards;
pub use config::{NonFinite, OptimiserConfig, OptimiserKind};
pub use extent::Extent;
use groups::Groups;

/// PyTorch's epsilon; Burn's default is larger.
const EPSILON: f32 = 1e-8;

impl OptimiserConfig {
    /// Creates the optimiser, and returns with it the model that it trains: without gradients where it is
    /// frozen.
    pub fn init<B, M>(&self, model: M) -> (M, Optimiser<B, M>)
    where
        B: AutodiffBackend,
        M: AutodiffModule<B> + Embedder<B>,
    {
        let frozen = match self.freeze_backbone {
            true => usize::MAX,
            false => self.freeze_stages,
        };
        let optimiser = self.optimiser(&model);
        (groups::freeze(model, frozen), optimiser)
    }

    /// The optimiser of `model`, before its first step.
    pub(crate) fn optimiser<B, M>(&self, model: &M) -> Optimiser<B, M>
    where
        B: AutodiffBackend,
        M: AutodiffModule<B> + Embedder<B>,
    {
        let groups = Groups::new(model, self);
        let steppers = groups
            .treatments
            .iter()
            .map(|treatment| {
                let decay = if treatment.decays {
                    self.weight_decay
                } else {
                    0.0
                };
                self.stepper(decay)
            })
            .collect();
        Optimiser {
            groups,
            steppers,
            clip_norm: self.clip_norm,
        }
    }

    fn stepper<B: AutodiffBackend, M: AutodiffModule<B>>(&self, decay: f32) -> Stepper<B, M> {
        match self.kind {
            OptimiserKind::Adam => Stepper::Adam(
                AdamConfig::new()
                    .with_epsilon(EPSILON)
                    .with_weight_decay(Some(WeightDecayConfig::new(decay)))
                    .init(),
            ),
            OptimiserKind::AdamW => Stepper::AdamW(
                AdamWConfig::new()
                    .with_epsilon(EPSILON)
                    .with_weight_decay(decay)
                    .init(),
            ),
        }
    }
}

/// Trains a model's parameters, group by group.
pub struct Optimiser<B: AutodiffBackend, M: AutodiffModule<B>> {
    groups: Groups,
    steppers: Vec<Stepper<B, M>>,
    clip_norm: Option<f64>,
}

impl<B: AutodiffBackend, M: AutodiffModule<B> + Embedder<B>> Optimiser<B, M> {
    /// The length of all gradients as one vector, before it is cut: infinite or NaN if one of them is.
    pub fn gradient_norm(&self, model: &M, gradients: &GradientsParams) -> f64 {
        groups::norm::<B, _>(model, gradients)
    }

    /// The names of the parameters whose gradient is not finite.
    pub fn not_finite(&self, model: &M, gradients: &GradientsParams) -> Vec<String> {
        groups::not_finite(model, gradients)
    }

    /// Updates the model. `gradient_norm` is what [`gradient_norm`](Self::gradient_norm) gives.
    pub fn step(
        &mut self,
        learning_rate: f64,
        mut model: M,
        mut gradients: GradientsParams,
        gradient_norm: f64,
    ) -> M {
        if let Some(limit) = self.clip_norm {
            groups::clip::<B, _>(&model, &mut gradients, gradient_norm, limit);
        }
        let parts = self.groups.split::<B, _>(&model, gradients);
        let groups = self.groups.treatments.iter().zip(&mut self.steppers);
        for ((treatment, stepper), gradients) in groups.zip(parts) {
            model = stepper.step(learning_rate * treatment.rate, model, gradients);
        }
        model
    }
}

/// Adam or AdamW over a module.
enum Stepper<B: AutodiffBackend, M: AutodiffModule<B>> {
    Adam(OptimizerAdaptor<Adam, M, B>),
    AdamW(OptimizerAdaptor<AdamW, M, B>),
}

impl<B: AutodiffBackend, M: AutodiffModule<B>> Stepper<B, M> {
    fn step(&mut self, learning_rate: f64, model: M, gradients: GradientsParams) -> M {
        match self {
            Self::Adam(adam) => adam.step(learning_rate, model, gradients),
            Self::AdamW(adamw) => adamw.step(learning_rate, model, gradients),
        }
    }
}

#[cfg(test)]
mod tests;
