//! The update of a model, one parameter after the other.

use std::collections::HashMap;

use burn::module::{ModuleMapper, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Tensor, TensorPrimitive};
use recall_nn::{AdamStep, NnBackend, WeightDecay};

use super::groups::{Groups, Treatment};
use super::moments::Moments;
use crate::{EngineBackend, OptimiserConfig, OptimiserKind};

const BETAS: [f32; 2] = [0.9, 0.999];

/// PyTorch's epsilon; Burn's default is larger.
const EPSILON: f32 = 1e-8;

/// Takes a model apart and puts it together again. Parameter, gradient and moments are moved, so that
/// a backend that updates in place can, and each gradient is freed when it is used.
pub(super) struct Update<'a, B: EngineBackend> {
    pub config: &'a OptimiserConfig,
    pub groups: &'a Groups,
    pub moments: &'a mut HashMap<ParamId, Moments<B::InnerBackend>>,
    pub gradients: GradientsParams,
    pub learning_rate: f64,
}

impl<B: EngineBackend> ModuleMapper<B> for Update<'_, B> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let gradient = self.gradients.remove::<B::InnerBackend, D>(param.id);
        let (Some(gradient), Some(treatment)) = (gradient, self.groups.of(param.id)) else {
            return param;
        };
        let (id, tensor, mapper) = param.consume();
        let is_tracked = tensor.is_require_grad();
        let moments = self.moments.remove(&id);
        let (value, moments) = step(
            self.config,
            treatment,
            self.learning_rate,
            primitive(tensor.inner()),
            primitive(gradient),
            moments,
        );
        self.moments.insert(id, moments);
        let tensor = Tensor::from_primitive(TensorPrimitive::Float(value));
        let tensor = Tensor::from_inner(tensor).set_require_grad(is_tracked);
        Param::from_mapped_value(id, tensor, mapper)
    }
}

/// A parameter and its moments after a step.
pub(crate) fn step<B: NnBackend>(
    config: &OptimiserConfig,
    treatment: Treatment,
    learning_rate: f64,
    value: FloatTensor<B>,
    gradient: FloatTensor<B>,
    moments: Option<Moments<B>>,
) -> (FloatTensor<B>, Moments<B>) {
    let moments = moments.unwrap_or_else(|| Moments::before_any(&value));
    let decay = match treatment.decays {
        true => config.weight_decay,
        false => 0.0,
    };
    let step = AdamStep {
        learning_rate: learning_rate * treatment.rate,
        betas: BETAS,
        epsilon: EPSILON,
        decay: match config.kind {
            OptimiserKind::Adam => WeightDecay::Gradient(decay),
            OptimiserKind::AdamW => WeightDecay::Decoupled(decay),
        },
        time: moments.time + 1,
    };
    let (value, first, second) =
        B::adam_step(&step, value, gradient, moments.first, moments.second);
    let moments = Moments {
        time: step.time,
        first,
        second,
    };
    (value, moments)
}

fn primitive<B: NnBackend, const D: usize>(tensor: Tensor<B, D>) -> FloatTensor<B> {
    tensor.into_primitive().tensor()
}
