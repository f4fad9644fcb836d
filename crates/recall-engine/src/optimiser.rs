//! The optimiser and its learning rate schedule.

mod average;
mod groups;
mod schedule;
mod state;

use burn::module::AutodiffModule;
use burn::optim::adaptor::OptimizerAdaptor;
use burn::optim::decay::WeightDecayConfig;
use burn::optim::{Adam, AdamConfig, AdamW, AdamWConfig, GradientsParams, Optimizer};
use burn::tensor::backend::AutodiffBackend;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Embedder;
pub(crate) use average::move_towards;
use groups::Groups;
pub use schedule::Extent;

/// Which optimiser, how fast and for how long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OptimiserConfig {
    /// `adam` (decay through the gradient, as PyTorch's `Adam`) or `adamw` (decoupled decay).
    pub kind: OptimiserKind,
    /// Learning rate after the warm-up.
    ///
    /// Default 0.002.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub learning_rate: f64,
    /// Weight decay.
    ///
    /// Default 4·10⁻⁴, as in the paper.
    #[schemars(range(min = 0))]
    pub weight_decay: f32,
    /// Steps over which the learning rate rises linearly from 0, or their share of the run; 0 for
    /// none.
    ///
    /// Default 0.0225: 10 steps of the default run.
    pub warmup_steps: Extent,
    /// Where the learning rate is multiplied by `factor`: at the start of an epoch, from 0, or after a
    /// share of the run's steps.
    ///
    /// Default 0.7 and 0.9.
    pub milestones: Vec<Extent>,
    /// What a milestone multiplies the learning rate by.
    ///
    /// Default 0.3, as in the paper.
    #[schemars(range(max = 1), extend("exclusiveMinimum" = 0))]
    pub factor: f64,
    /// What the learning rate of the backbone is multiplied by.
    ///
    /// Default 1.
    #[schemars(range(min = 0))]
    pub backbone_rate: f64,
    /// What the learning rate of the head (pooling, LayerNorm, Linear) is multiplied by.
    ///
    /// Default 1.
    #[schemars(range(min = 0))]
    pub head_rate: f64,
    /// Whether the weights of normalisations, biases, layer scales, class token and position
    /// embeddings decay like all others.
    ///
    /// Default true, as in the paper.
    pub decay_norms_and_biases: bool,
    /// First stages of the backbone that are not trained: for `resnet50` the stem and `layer1` to
    /// `layer4`, for transformers the embedding of patches and each block.
    ///
    /// Default 0.
    pub freeze_stages: usize,
    /// Whether the head alone is trained.
    ///
    /// Default false.
    pub freeze_backbone: bool,
    /// The length to which the gradient of all parameters together is cut.
    ///
    /// Default none.
    #[schemars(extend("exclusiveMinimum" = 0))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// How much the moving average of the weights keeps of itself at a step, such as 0.999; it is the
    /// average that is evaluated and written.
    ///
    /// Default none.
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average: Option<f64>,
    /// What happens to a step whose loss or gradient is not finite: `stop` ends the run, `skip` leaves
    /// the weights as they are and goes on.
    ///
    /// Default `stop`.
    pub non_finite: NonFinite,
}

/// What happens to a step whose loss or gradient is not finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NonFinite {
    /// The run ends; its checkpoints stay.
    #[default]
    Stop,
    /// The step is left out and counted.
    Skip,
}

/// The optimisers there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
            warmup_steps: Extent::Share(0.0225),
            milestones: vec![Extent::Share(0.7), Extent::Share(0.9)],
            factor: 0.3,
            backbone_rate: 1.0,
            head_rate: 1.0,
            decay_norms_and_biases: true,
            freeze_stages: 0,
            freeze_backbone: false,
            clip_norm: None,
            average: None,
            non_finite: NonFinite::Stop,
        }
    }
}

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
mod tests {
    use std::collections::BTreeMap;

    use burn::backend::Autodiff;
    use burn::module::{Module, ModuleVisitor, Param};
    use burn::tensor::Tensor;
    use burn_flex::Flex;

    use super::*;
    use crate::{ModelConfig, Network};

    type B = Autodiff<Flex>;

    /// Every parameter by path, and the length of its gradient if it has one.
    #[derive(Default)]
    struct Values<'a> {
        gradients: Option<&'a GradientsParams>,
        path: Vec<String>,
        values: BTreeMap<String, Vec<f32>>,
    }

    impl ModuleVisitor<B> for Values<'_> {
        fn enter_module(&mut self, name: &str, container: &str) {
            if !container.starts_with("Enum:") {
                self.path.push(name.to_owned());
            }
        }
        fn exit_module(&mut self, _name: &str, container: &str) {
            if !container.starts_with("Enum:") {
                self.path.pop();
            }
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            let tensor = match self.gradients {
                Some(gradients) => gradients.get::<Flex, D>(param.id),
                None => Some(param.val().inner()),
            };
            if let Some(tensor) = tensor {
                let values = tensor.into_data().iter::<f32>().collect();
                self.values.insert(self.path.join("."), values);
            }
        }
    }

    fn values(
        model: &Network<B>,
        gradients: Option<&GradientsParams>,
    ) -> BTreeMap<String, Vec<f32>> {
        let mut visitor = Values {
            gradients,
            ..Values::default()
        };
        model.visit(&mut visitor);
        visitor.values
    }

    /// A small network, the optimiser of `config` and gradients of something.
    fn prepared(
        config: &OptimiserConfig,
    ) -> (Network<B>, Optimiser<B, Network<B>>, GradientsParams) {
        let device = Default::default();
        let model = ModelConfig {
            widths: vec![3, 4],
            grid: 2,
            dim: 5,
            ..ModelConfig::default()
        };
        let (model, optimiser) = config.init(model.init::<B>([8, 8], &device).unwrap());
        let gradients = slopes(&model);
        (model, optimiser, gradients)
    }

    /// The gradients of something.
    fn slopes(model: &Network<B>) -> GradientsParams {
        let device = Default::default();
        let images: Vec<f32> = (0..2 * 3 * 64).map(|i| (i * 29 % 31) as f32).collect();
        let images = burn::tensor::TensorData::new(images, [2, 3, 8, 8]);
        let embedded = model.embed(Tensor::from_data(images, &device));
        let slope =
            Tensor::<B, 2>::from_floats([[1., 2., -1., 0., 3.], [0., 1., 1., -2., 1.]], &device);
        let gradients = (embedded * slope).sum().backward();
        GradientsParams::from_grads(gradients, model)
    }

    fn stepped(
        optimiser: &mut Optimiser<B, Network<B>>,
        model: Network<B>,
        gradients: GradientsParams,
    ) -> Network<B> {
        let norm = optimiser.gradient_norm(&model, &gradients);
        optimiser.step(0.01, model, gradients, norm)
    }

    #[test]
    fn rates_multiply_and_frozen_stages_stay() {
        let config = OptimiserConfig {
            weight_decay: 0.0,
            backbone_rate: 0.1,
            freeze_stages: 1,
            ..OptimiserConfig::default()
        };
        let (model, mut optimiser, gradients) = prepared(&config);
        let slopes = values(&model, Some(&gradients));
        assert!(!slopes.contains_key("stem.weight"));
        let before = values(&model, None);
        let after = values(&stepped(&mut optimiser, model, gradients), None);
        // The first step of Adam moves each number with a slope by the learning rate.
        let moved = |name: &str| {
            let pairs = before[name].iter().zip(&after[name]);
            pairs.fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()))
        };
        assert_eq!(moved("stem.weight"), 0.0);
        assert!((moved("convolutions.0.weight") - 0.001).abs() < 1e-5);
        assert!((moved("head.weight") - 0.01).abs() < 1e-4);
    }

    #[test]
    fn the_head_alone_is_trained_behind_a_frozen_backbone() {
        let config = OptimiserConfig {
            freeze_backbone: true,
            ..OptimiserConfig::default()
        };
        let (model, _, gradients) = prepared(&config);
        let names: Vec<_> = values(&model, Some(&gradients)).into_keys().collect();
        assert_eq!(
            names,
            ["head.bias", "head.weight", "norm.beta", "norm.gamma"]
        );
    }

    #[test]
    fn norms_and_biases_can_be_spared_from_decay() {
        let config = OptimiserConfig {
            weight_decay: 0.5,
            decay_norms_and_biases: false,
            ..OptimiserConfig::default()
        };
        let with = |decay_norms_and_biases| {
            let config = OptimiserConfig {
                decay_norms_and_biases,
                ..config.clone()
            };
            let (model, mut optimiser, gradients) = prepared(&config);
            let before = values(&model, None);
            let after = values(&stepped(&mut optimiser, model, gradients), None);
            // γ starts at 1: the step is ± 0.01, the decay 0.005.
            let pairs = before["norm.gamma"].iter().zip(&after["norm.gamma"]);
            let shrunk: f32 = pairs.map(|(a, b)| ((a - b).abs() - 0.01).abs()).sum();
            shrunk / before["norm.gamma"].len() as f32
        };
        assert!((with(true) - 0.005).abs() < 5e-4);
        assert!(with(false) < 5e-4);
    }

    #[test]
    fn clipping_cuts_the_length_of_all_gradients_together() {
        let (model, _, mut gradients) = prepared(&OptimiserConfig::default());
        let flat = |gradients: &GradientsParams| -> Vec<f32> {
            values(&model, Some(gradients))
                .into_values()
                .flatten()
                .collect()
        };
        let length = |all: &[f32]| {
            all.iter()
                .map(|x| f64::from(*x).powi(2))
                .sum::<f64>()
                .sqrt()
        };
        let before = flat(&gradients);
        let norm = groups::norm::<B, _>(&model, &gradients);
        groups::clip::<B, _>(&model, &mut gradients, norm, norm * 2.0);
        assert!((norm - length(&before)).abs() < 1e-4 * norm);
        assert_eq!(flat(&gradients), before);
        groups::clip::<B, _>(&model, &mut gradients, norm, norm / 4.0);
        let after = flat(&gradients);
        assert!((length(&after) - norm / 4.0).abs() < 1e-4 * norm);
        for (a, b) in after.iter().zip(&before) {
            assert!((a - b / 4.0).abs() <= 1e-5 * b.abs());
        }
    }

    #[test]
    fn the_average_keeps_its_share() {
        let (model, mut optimiser, gradients) = prepared(&OptimiserConfig::default());
        let average = model.valid();
        let before = values(&model, None);
        let model = stepped(&mut optimiser, model, gradients);
        let now = values(&model, None);
        let average = Network::from_inner(move_towards(average, &model.valid(), 0.75));
        for (name, values) in values(&average, None) {
            for ((average, before), now) in values.iter().zip(&before[&name]).zip(&now[&name]) {
                assert!(
                    (average - (0.75 * before + 0.25 * now)).abs() < 1e-6,
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn a_saved_state_goes_on_as_if_nothing_had_happened() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("optimiser.safetensors");
        for kind in [OptimiserKind::Adam, OptimiserKind::AdamW] {
            let config = OptimiserConfig {
                kind,
                backbone_rate: 0.5,
                freeze_stages: 1,
                ..OptimiserConfig::default()
            };
            let (model, mut optimiser, gradients) = prepared(&config);
            let model = stepped(&mut optimiser, model, gradients);
            optimiser.save(&model, &path).unwrap();
            let (model, mut resumed) = config.init(model);
            resumed.load(&model, &path).unwrap();
            let fresh = stepped(
                &mut config.init(model.clone()).1,
                model.clone(),
                slopes(&model),
            );
            let went_on = stepped(&mut optimiser, model.clone(), slopes(&model));
            let resumed = stepped(&mut resumed, model.clone(), slopes(&model));
            assert_eq!(values(&resumed, None), values(&went_on, None));
            assert_ne!(values(&fresh, None), values(&went_on, None));
        }
    }

    #[test]
    fn a_state_that_is_not_finite_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("optimiser.safetensors");
        let config = OptimiserConfig::default();
        let (model, mut optimiser, gradients) = prepared(&config);
        let model = stepped(&mut optimiser, model, gradients);
        optimiser.save(&model, &path).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        let end = bytes.len();
        // The last number of the file is one of a moment.
        bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
        std::fs::write(&path, bytes).unwrap();
        let (model, mut resumed) = config.init(model);
        let problem = resumed.load(&model, &path).unwrap_err().to_string();
        assert!(problem.contains("are not finite"), "{problem}");
    }

    #[test]
    fn the_state_of_another_model_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("optimiser.safetensors");
        let config = OptimiserConfig::default();
        let (model, mut optimiser, gradients) = prepared(&config);
        let model = stepped(&mut optimiser, model, gradients);
        optimiser.save(&model, &path).unwrap();
        let refusal = |shape: ModelConfig| {
            let (model, mut optimiser) =
                config.init(shape.init::<B>([8, 8], &Default::default()).unwrap());
            optimiser.load(&model, &path).unwrap_err().to_string()
        };
        let small = ModelConfig {
            widths: vec![3, 4],
            grid: 2,
            dim: 5,
            ..ModelConfig::default()
        };
        let wider = refusal(ModelConfig {
            dim: 6,
            ..small.clone()
        });
        assert!(wider.contains("head.weight"), "{wider}");
        let shallower = refusal(ModelConfig {
            widths: vec![3],
            ..small
        });
        assert!(shallower.contains("optimiser.safetensors"), "{shallower}");
    }
}
