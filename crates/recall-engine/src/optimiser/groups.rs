//! Which parameters are trained how.

use std::collections::HashMap;

use burn::module::{AutodiffModule, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{ElementConversion, Tensor, TensorPrimitive};
use recall_nn::NnBackend;

use crate::walk::Walk;
use crate::{Embedder, EngineBackend, OptimiserConfig};

/// What a group's parameters have in common.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Treatment {
    /// What the learning rate is multiplied by.
    pub rate: f64,
    /// Whether weights decay.
    pub decays: bool,
}

/// How each parameter of a model is treated.
#[derive(Debug, Clone)]
pub(super) struct Groups(HashMap<ParamId, Treatment>);

impl Groups {
    pub fn new<B: Backend, M: Embedder<B>>(model: &M, config: &OptimiserConfig) -> Self {
        let mut sort = Sort::<M> {
            walk: Walk::new(model),
            config,
            groups: Self(HashMap::new()),
        };
        model.visit(&mut sort);
        sort.groups
    }

    /// How a parameter is treated, if it is one of the model.
    pub fn of(&self, id: ParamId) -> Option<Treatment> {
        self.0.get(&id).copied()
    }
}

struct Sort<'a, M> {
    walk: Walk<'a, M>,
    config: &'a OptimiserConfig,
    groups: Groups,
}

impl<B: Backend, M: Embedder<B>> ModuleVisitor<B> for Sort<'_, M> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.walk.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.walk.exit(container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        let config = self.config;
        let name = self.walk.path.last().map_or("", String::as_str);
        // Vectors are the affine maps of normalisations, biases, layer scales and GeM's exponent.
        let spared = D == 1 || ["cls_token", "reg_token", "pos_embed"].contains(&name);
        let treatment = Treatment {
            rate: match self.walk.stage() {
                Some(_) => config.backbone_rate,
                None => config.head_rate,
            },
            decays: config.decay_norms_and_biases || !spared,
        };
        self.groups.0.insert(param.id, treatment);
    }
}

/// Takes the gradient off the first stages of a model, so that they are not trained and no graph is
/// kept for them.
pub(super) fn freeze<B: Backend, M: Embedder<B>>(model: M, stages: usize) -> M {
    if stages == 0 {
        return model;
    }
    // The names come from a copy: the model itself is taken apart while it is mapped.
    let names = model.clone();
    model.map(&mut Freeze {
        walk: Walk::new(&names),
        stages,
    })
}

struct Freeze<'a, M> {
    walk: Walk<'a, M>,
    stages: usize,
}

impl<B: Backend, M: Embedder<B>> ModuleMapper<B> for Freeze<'_, M> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.walk.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.walk.exit(container);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        match self.walk.stage() {
            Some(stage) if stage < self.stages => param.set_require_grad(false),
            _ => param,
        }
    }
}

/// The length of all gradients as one vector.
pub(super) fn norm<B: EngineBackend, M: AutodiffModule<B>>(
    model: &M,
    gradients: &GradientsParams,
) -> f64 {
    let mut length = Length::<B> {
        gradients,
        squared: None,
    };
    model.visit(&mut length);
    length.squared.map_or(0.0, |squared| {
        f64::from(squared.into_scalar().elem::<f32>()).sqrt()
    })
}

/// Scales gradients of length `norm` so that it is at most `limit`, as PyTorch's `clip_grad_norm_`
/// does.
pub(super) fn clip<B: AutodiffBackend, M: AutodiffModule<B>>(
    model: &M,
    gradients: &mut GradientsParams,
    norm: f64,
    limit: f64,
) {
    let factor = shrunk(norm, limit);
    if factor < 1.0 {
        scale::<B, _>(model, gradients, factor);
    }
}

/// Multiplies all gradients by `factor`.
pub(super) fn scale<B: AutodiffBackend, M: AutodiffModule<B>>(
    model: &M,
    gradients: &mut GradientsParams,
    factor: f64,
) {
    model.visit(&mut Scale { gradients, factor });
}

/// What a gradient of length `norm` is multiplied by so that it is at most `limit` long.
pub(super) fn shrunk(norm: f64, limit: f64) -> f64 {
    (limit / (norm + 1e-6)).min(1.0)
}

/// The names of parameters whose gradient is not finite.
pub(super) fn not_finite<B: AutodiffBackend, M: AutodiffModule<B>>(
    model: &M,
    gradients: &GradientsParams,
) -> Vec<String> {
    let mut search = NotFinite::<M> {
        walk: Walk::new(model),
        gradients,
        names: Vec::new(),
    };
    model.visit(&mut search);
    search.names
}

struct NotFinite<'a, M> {
    walk: Walk<'a, M>,
    gradients: &'a GradientsParams,
    names: Vec<String>,
}

impl<B: AutodiffBackend, M> ModuleVisitor<B> for NotFinite<'_, M> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.walk.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, container: &str) {
        self.walk.exit(container);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some(gradient) = self.gradients.get::<B::InnerBackend, D>(param.id)
            && gradient.into_data().iter::<f32>().any(|x| !x.is_finite())
        {
            self.names.push(self.walk.path.join("."));
        }
    }
}

/// Summed on the device, so that it is read once.
struct Length<'a, B: AutodiffBackend> {
    gradients: &'a GradientsParams,
    squared: Option<Tensor<B::InnerBackend, 1>>,
}

impl<B: EngineBackend> ModuleVisitor<B> for Length<'_, B> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        if let Some(gradient) = self.gradients.get::<B::InnerBackend, D>(param.id) {
            let gradient = gradient.into_primitive().tensor();
            let squared = TensorPrimitive::Float(B::InnerBackend::sum_of_squares(gradient));
            let squared = Tensor::from_primitive(squared);
            self.squared = Some(match self.squared.take() {
                Some(sum) => sum + squared,
                None => squared,
            });
        }
    }
}

struct Scale<'a> {
    gradients: &'a mut GradientsParams,
    factor: f64,
}

impl<B: AutodiffBackend> ModuleVisitor<B> for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
        // Removed, so that it is nobody else's and Flex scales it in place.
        if let Some(gradient) = self.gradients.remove::<B::InnerBackend, D>(param.id) {
            self.gradients
                .register(param.id, gradient.mul_scalar(self.factor));
        }
    }
}
