//! The moving average of a model's weights.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Tensor, backend::Backend};

/// Moves each number of `average` towards that of `model` by the share `1 − decay`.
pub(crate) fn move_towards<B: Backend, M: Module<B>>(average: M, model: &M, decay: f64) -> M {
    // A container by parameter is what this type is, whatever its name.
    let mut weights = Weights(GradientsParams::new());
    model.visit(&mut weights);
    average.map(&mut Mix {
        weights: weights.0,
        decay,
    })
}

struct Weights(GradientsParams);

impl<B: Backend> ModuleVisitor<B> for Weights {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        self.0.register(param.id, param.val());
    }
}

struct Mix {
    weights: GradientsParams,
    decay: f64,
}

impl<B: Backend> ModuleMapper<B> for Mix {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        match self.weights.remove::<B, D>(param.id) {
            Some(weights) => param.map(|average| {
                average.mul_scalar(self.decay) + weights.mul_scalar(1.0 - self.decay)
            }),
            None => param,
        }
    }
}
