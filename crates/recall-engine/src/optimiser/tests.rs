mod against_burn;

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

fn values(model: &Network<B>, gradients: Option<&GradientsParams>) -> BTreeMap<String, Vec<f32>> {
    let mut visitor = Values {
        gradients,
        ..Values::default()
    };
    model.visit(&mut visitor);
    visitor.values
}

/// A small network, the optimiser of `config` and gradients of something.
fn prepared(config: &OptimiserConfig) -> (Network<B>, Optimiser<B>, GradientsParams) {
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
    optimiser: &mut Optimiser<B>,
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
        optimiser.save(&model, None, &path).unwrap();
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
    optimiser.save(&model, None, &path).unwrap();
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
    optimiser.save(&model, None, &path).unwrap();
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
