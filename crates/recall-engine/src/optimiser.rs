//! The optimiser: groups of parameters, each with a rate and a decay of its own.

mod average;
mod config;
mod extent;
mod groups;
mod moments;
mod schedule;
mod state;
mod update;

use std::collections::HashMap;

use burn::module::{AutodiffModule, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::backend::AutodiffBackend;

use crate::{Embedder, EngineBackend};
pub(crate) use average::move_towards;
pub use config::{NonFinite, OptimiserConfig, OptimiserKind};
pub use extent::Extent;
use groups::Groups;
pub(crate) use groups::Treatment;
pub(crate) use moments::Moments;
use update::Update;
pub(crate) use update::step as adam_step;

impl OptimiserConfig {
    /// Creates the optimiser, and returns with it the model that it trains: without gradients where it is
    /// frozen.
    pub fn init<B, M>(&self, model: M) -> (M, Optimiser<B>)
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
    pub(crate) fn optimiser<B, M>(&self, model: &M) -> Optimiser<B>
    where
        B: AutodiffBackend,
        M: AutodiffModule<B> + Embedder<B>,
    {
        Optimiser {
            groups: Groups::new(model, self),
            moments: HashMap::new(),
            config: self.clone(),
        }
    }
}

/// Trains a model's parameters, group by group.
pub struct Optimiser<B: AutodiffBackend> {
    groups: Groups,
    /// Of the parameters that were updated.
    moments: HashMap<ParamId, Moments<B::InnerBackend>>,
    config: OptimiserConfig,
}

impl<B: EngineBackend> Optimiser<B> {
    /// The length of all gradients as one vector, before it is cut: infinite or NaN if one of them is.
    pub fn gradient_norm<M>(&self, model: &M, gradients: &GradientsParams) -> f64
    where
        M: AutodiffModule<B>,
    {
        groups::norm::<B, _>(model, gradients)
    }

    /// The names of the parameters whose gradient is not finite.
    pub fn not_finite<M>(&self, model: &M, gradients: &GradientsParams) -> Vec<String>
    where
        M: AutodiffModule<B>,
    {
        groups::not_finite::<B, _>(model, gradients)
    }

    /// Multiplies all gradients by the same number.
    pub(crate) fn scale_gradients<M>(&self, model: &M, gradients: &mut GradientsParams, factor: f64)
    where
        M: AutodiffModule<B>,
    {
        groups::scale::<B, _>(model, gradients, factor);
    }

    /// What a gradient of this length is multiplied by so that it is not too long: 1, or less.
    pub(crate) fn shrunk(&self, gradient_norm: f64) -> f64 {
        let limit = self.config.clip_norm;
        limit.map_or(1.0, |limit| groups::shrunk(gradient_norm, limit))
    }

    /// Updates the model, in place where the backend can and nobody else has a copy of it. `gradient_norm` is
    /// what [`gradient_norm`](Self::gradient_norm) gives.
    pub fn step<M>(
        &mut self,
        learning_rate: f64,
        model: M,
        mut gradients: GradientsParams,
        gradient_norm: f64,
    ) -> M
    where
        M: AutodiffModule<B>,
    {
        if let Some(limit) = self.config.clip_norm {
            groups::clip::<B, _>(&model, &mut gradients, gradient_norm, limit);
        }
        model.map(&mut Update {
            config: &self.config,
            groups: &self.groups,
            moments: &mut self.moments,
            gradients,
            learning_rate,
        })
    }
}

#[cfg(test)]
mod tests;
