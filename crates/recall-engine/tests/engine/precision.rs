//! Training in half precision is training in f32 with some rounding, and half the activations.

use std::sync::Arc;

use burn::backend::Autodiff;
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::Tensor;
use burn_flex::Flex;
use burn_ndarray::NdArray;
use recall_engine::{
    Backbone, Broken, Device, Embedder, Engine, EngineConfig, ModelFiles, Network, OnDevice,
    Pixels, Precision, StepRequest, StepResult, of_backend,
};
use recall_nn::{NnBackend, cast};
use recall_step::{in_turns, l2_normalise, share};

use crate::support::alone;

type B = Autodiff<Flex>;

const HALVES: [Precision; 2] = [Precision::Bf16, Precision::F16];

/// A configuration whose loss falls in ten steps.
fn config(backbone: Backbone, side: usize, precision: Precision) -> EngineConfig {
    let mut config = EngineConfig {
        image: [side; 2],
        precision,
        ..EngineConfig::default()
    };
    config.model.backbone = backbone;
    config.model.dim = 32;
    config.loss.ks = Some(vec![1]);
    config
}

/// Images of classes of two each, whose stripes differ more than what they have in common.
struct Images {
    bytes: Vec<u8>,
    shape: [usize; 4],
}

impl Images {
    fn new(count: usize, side: usize) -> Self {
        let shape = [count, 3, side, side];
        let value = |at: usize| {
            let (image, channel) = (at / (3 * side * side), at / (side * side) % 3);
            let stripes = (at % side) * (image % 2 * 3 + image + 2) * 5 / side;
            let class = if channel == 0 { 7 * (image / 2) } else { 0 };
            (stripes * 23 % 140 + at * 31 % 59 + class) as u8
        };
        Self {
            bytes: (0..shape.iter().product()).map(value).collect(),
            shape,
        }
    }

    fn pixels(&self) -> Pixels<'_> {
        Pixels {
            bytes: &self.bytes,
            shape: self.shape,
        }
    }

    fn labels(&self) -> Vec<i64> {
        (0..self.shape[0] as i64).map(|at| at / 2).collect()
    }
}

fn step(engine: &mut dyn Engine, images: &Images, rate: f64, seed: u64) -> StepResult {
    let labels = images.labels();
    let request = StepRequest {
        inputs: images.pixels().into(),
        labels: &labels,
        chunk: 4,
        first_chunk: 0,
        learning_rate: rate,
        model_seed: seed,
        loss_seed: seed,
    };
    engine.step(&request, &mut |_, _| ()).unwrap()
}

fn losses(config: &EngineConfig, images: &Images, steps: u64, rate: f64) -> Vec<f64> {
    let device = of_backend::<B>(Default::default());
    let mut engine = device.engine(config).unwrap();
    let loss = |seed| {
        let result = step(&mut *engine, images, rate, seed);
        assert_eq!(result.broken, None);
        assert!(result.scaling.is_none_or(|scaling| !scaling.overflowed));
        assert!(result.gradient_norm.unwrap() > 0.0);
        result.loss.unwrap()
    };
    (0..steps).map(loss).collect()
}

/// Ten steps within 3 % of the loss in f32, each of them.
fn check_ten_steps(backbone: Backbone, side: usize, rate: f64) {
    let images = Images::new(8, side);
    let of = |precision| losses(&config(backbone, side, precision), &images, 10, rate);
    let single = of(Precision::F32);
    assert!(
        single[9] < 0.98 * single[0],
        "nothing is learned: {single:?}"
    );
    for precision in HALVES {
        let half = of(precision);
        println!("{backbone} {precision}\n{single:.5?}\n{half:.5?}");
        assert_ne!(half, single);
        for (half, single) in half.iter().zip(&single) {
            assert!(
                (half - single).abs() <= 0.03 * single.abs(),
                "{backbone} in {precision}: {half} and {single}"
            );
        }
    }
}

#[test]
fn ten_steps_of_the_convnet_are_those_of_f32() {
    let _alone = alone();
    check_ten_steps(Backbone::Convnet, 32, 3e-5);
}

#[test]
fn ten_steps_of_resnet50_are_those_of_f32() {
    let _alone = alone();
    check_ten_steps(Backbone::Resnet50, 64, 1e-5);
}

#[test]
fn ten_steps_of_a_transformer_are_those_of_f32() {
    let _alone = alone();
    check_ten_steps(Backbone::VitS16, 64, 3e-6);
}

/// The small network, with a loss that is `times` as large as one that has something to learn.
fn with_large_loss(times: f64) -> OnDevice<B, Network<B>> {
    let mut config = config(Backbone::Convnet, 16, Precision::F16);
    (config.model.widths, config.model.grid) = (vec![4, 8], 2);
    config.optimiser.average = Some(0.9);
    let engine = OnDevice::of_config(&config, &Default::default()).unwrap();
    engine.with_autodiff_loss(move |embeddings: Tensor<B, 2>, _: &[i64]| {
        let one = embeddings.clone().narrow(1, 0, 1);
        one.sum().mul_scalar(-times)
    })
}

#[test]
fn a_step_that_overflows_is_left_out_and_the_scale_falls() {
    let _alone = alone();
    let images = Images::new(8, 16);
    let mut engine = with_large_loss(1e4);
    let start = engine.weights_hash();
    let (mut scale, mut overflows) = (65_536.0, 0);
    let embedded = engine.embed(images.pixels().into()).unwrap();
    let good = loop {
        let result = step(&mut engine, &images, 1e-6, 0);
        let scaling = result.scaling.unwrap();
        assert_eq!(result.broken, None);
        assert!(result.loss.unwrap().is_finite());
        assert_eq!(scaling.scale, scale);
        if !scaling.overflowed {
            assert_eq!(scaling.overflows, overflows);
            break result;
        }
        overflows += 1;
        scale /= 2.0;
        assert_eq!((scaling.overflows, result.gradient_norm), (overflows, None));
        // Neither the weights nor their average have moved.
        assert_eq!(engine.weights_hash(), start);
        let now = engine.embed(images.pixels().into()).unwrap();
        assert_eq!(now.as_slice(), embedded.as_slice());
    };
    assert!((2..14).contains(&overflows), "{overflows} overflows");
    assert_ne!(engine.weights_hash(), start);
    // The scale is in no number that is told.
    let unscaled = step(&mut with_large_loss(1.0), &images, 1e-6, 0);
    let ratio = good.gradient_norm.unwrap() / unscaled.gradient_norm.unwrap();
    assert!((ratio / 1e4 - 1.0).abs() < 0.01, "{ratio}");
    // It recovers: but for one that may be just too large, the steps after it are taken.
    let after = (1..9).map(|seed| step(&mut engine, &images, 1e-6, seed).scaling.unwrap());
    let after: Vec<_> = after.collect();
    assert!(after.iter().filter(|scaling| scaling.overflowed).count() <= 1);
    for scaling in &after[5..] {
        assert!(!scaling.overflowed && scaling.overflows <= overflows + 1);
        assert_eq!(
            scaling.scale,
            65_536.0 / 2_f64.powi(scaling.overflows as i32)
        );
    }
}

#[test]
fn what_no_scale_mends_is_a_broken_step() {
    let _alone = alone();
    let images = Images::new(8, 16);
    let mut engine = with_large_loss(1e30);
    for overflows in 1..=16 {
        let scaling = step(&mut engine, &images, 1e-3, 0).scaling.unwrap();
        assert_eq!(scaling.overflows, overflows);
    }
    let result = step(&mut engine, &images, 1e-3, 0);
    assert_eq!(result.scaling, None);
    match result.broken {
        Some(Broken::Gradients(names)) => assert!(!names.is_empty()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_saved_engine_goes_on_with_its_scale_bit_for_bit() {
    let _alone = alone();
    let images = Images::new(8, 16);
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name);
    let files = ModelFiles {
        judged: file("judged.safetensors"),
        trained: file("trained.safetensors"),
        optimiser: file("optimiser.safetensors"),
        loss: file("loss.safetensors"),
    };
    let mut straight = with_large_loss(1e4);
    for seed in 0..12 {
        step(&mut straight, &images, 1e-3, seed);
    }
    straight.save(&files).unwrap();
    let mut resumed = with_large_loss(1e4);
    resumed.load(&files).unwrap();
    for seed in 12..16 {
        let ours = step(&mut resumed, &images, 1e-3, seed);
        assert_eq!(ours, step(&mut straight, &images, 1e-3, seed));
        let scaling = ours.scaling.unwrap();
        assert!(scaling.scale < 65_536.0 && scaling.overflows > 0);
        assert_eq!(resumed.weights_hash(), straight.weights_hash());
    }
    // A run in another precision takes the weights and moments over, and no scale.
    let mut config = config(Backbone::Convnet, 16, Precision::F32);
    (config.model.widths, config.model.grid) = (vec![4, 8], 2);
    config.optimiser.average = Some(0.9);
    let mut single = OnDevice::<B, Network<B>>::of_config(&config, &Default::default()).unwrap();
    single.load(&files).unwrap();
    assert_eq!(step(&mut single, &images, 1e-3, 0).scaling, None);
}

#[test]
fn ranks_leave_out_the_same_steps() {
    let _alone = alone();
    let images = Images::new(8, 16);
    let train = |ranks: Arc<dyn recall_step::Collective>| {
        let mut engine = with_large_loss(1e4);
        engine.join(Arc::clone(&ranks)).unwrap();
        let rows = share(&*ranks, 8, 4);
        let each = images.bytes.len() / 8;
        let labels = images.labels();
        let results: Vec<StepResult> = (0..14)
            .map(|seed| {
                let request = StepRequest {
                    inputs: Pixels {
                        bytes: &images.bytes[rows.start * each..rows.end * each],
                        shape: [rows.len(), 3, 16, 16],
                    }
                    .into(),
                    labels: &labels[rows.clone()],
                    chunk: 4,
                    first_chunk: rows.start / 4,
                    learning_rate: 1e-3,
                    model_seed: seed,
                    loss_seed: seed,
                };
                engine.step(&request, &mut |_, _| ()).unwrap()
            })
            .collect();
        (results, engine.weights_hash())
    };
    let alone = train(Arc::new(recall_step::Solo));
    let both = in_turns(2, train);
    assert_eq!(both[0], both[1]);
    let scaling = |results: &[StepResult]| results.last().and_then(|result| result.scaling);
    assert_eq!(scaling(&both[0].0), scaling(&alone.0));
    assert!(scaling(&alone.0).is_some_and(|scaling| scaling.overflows > 0 && !scaling.overflowed));
}

#[test]
fn embeddings_of_half_precision_are_near_and_of_unit_length() {
    let _alone = alone();
    let images = Images::new(8, 32);
    for backbone in [Backbone::Convnet, Backbone::VitS16] {
        let device = of_backend::<B>(Default::default());
        let engine = |precision| device.engine(&config(backbone, 32, precision)).unwrap();
        let single = engine(Precision::F32);
        let expected = single.embed(images.pixels().into()).unwrap();
        for precision in HALVES {
            let engine = engine(precision);
            let rows = engine.embed(images.pixels().into()).unwrap();
            assert!(rows.is_normalised());
            assert_ne!(rows.as_slice(), expected.as_slice());
            let pairs = rows.as_slice().iter().zip(expected.as_slice());
            let off = pairs.fold(0.0_f32, |off, (a, b)| off.max((a - b).abs()));
            assert!(off < 0.03, "{backbone} {precision}: {off}");
            // The head on what the backbone hands over is the model.
            let features = engine.features(images.pixels()).unwrap().unwrap();
            let features = recall_engine::Features {
                values: features.as_slice(),
                dim: features.dim(),
            };
            let again = engine.embed(features.into()).unwrap();
            assert_eq!(again.as_slice(), rows.as_slice());
        }
    }
}

#[test]
fn every_random_layer_of_a_transformer_computes_in_half_precision() {
    let _alone = alone();
    let images = Images::new(4, 28);
    for (backbone, side) in [(Backbone::Dinov2S14, 28), (Backbone::VitS16, 32)] {
        let images = match side {
            28 => &images,
            _ => &Images::new(4, 32),
        };
        let mut config = config(backbone, side, Precision::F16);
        (config.model.dropout, config.model.drop_path) = (0.2, 0.3);
        config.model.pooling = recall_engine::Pooling::Mean;
        let device = of_backend::<B>(Default::default());
        let mut engine = device.engine(&config).unwrap();
        let result = step(&mut *engine, images, 1e-4, 3);
        assert!(result.broken.is_none() && result.gradient_norm.unwrap() > 0.0);
    }
}

#[test]
fn a_trial_leaves_the_weights_alone_in_half_precision_too() {
    let _alone = alone();
    let images = Images::new(8, 32);
    let device = of_backend::<B>(Default::default());
    for precision in HALVES {
        let mut engine = device
            .engine(&config(Backbone::Convnet, 32, precision))
            .unwrap();
        let before = engine.weights_hash();
        engine.try_step(images.pixels().into(), 4).unwrap();
        assert_eq!(engine.weights_hash(), before);
    }
}

#[test]
fn a_backend_without_halves_is_refused_by_name() {
    let _alone = alone();
    let device = of_backend::<Autodiff<NdArray>>(Default::default());
    for precision in HALVES {
        let refused = device.engine(&config(Backbone::Convnet, 32, precision));
        let message = refused.err().unwrap().to_string();
        let expected = format!("precision is `{precision}`, and ndarray computes in f32 alone");
        assert!(message.starts_with(&expected), "{message}");
    }
    device
        .engine(&config(Backbone::Convnet, 32, Precision::F32))
        .unwrap();
}

/// A model of a program's own, by Burn's layers alone unless it knows of half precision.
#[derive(Module, Debug)]
struct Own<B: burn::tensor::backend::Backend> {
    linear: Linear<B>,
    takes_half: bool,
}

impl<B: NnBackend> Embedder<B> for Own<B> {
    fn embed(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        let rows = match self.takes_half {
            true => cast(recall_nn::gelu(images), self.linear.weight.val().dtype()),
            false => images,
        };
        l2_normalise(self.linear.forward(rows.flatten(1, 3)))
    }

    fn takes_half(&self) -> bool {
        self.takes_half
    }
}

#[test]
fn a_model_that_does_not_know_of_half_precision_is_refused_by_name() {
    let _alone = alone();
    let images = Images::new(8, 8);
    let engine = |precision, takes_half| {
        let config = config(Backbone::Own, 8, precision);
        OnDevice::<B, Own<B>>::new(&config, &Default::default(), |device| Own {
            linear: LinearConfig::new(3 * 8 * 8, 4).init(device),
            takes_half,
        })
    };
    let refused = engine(Precision::Bf16, false).err().unwrap().to_string();
    assert!(
        refused.starts_with("precision is `bf16`, and the model computes"),
        "{refused}"
    );
    for (precision, takes_half) in [(Precision::F32, false), (Precision::F16, true)] {
        let mut engine = engine(precision, takes_half).unwrap();
        let result = step(&mut engine, &images, 1e-3, 0);
        assert!(result.broken.is_none() && result.gradient_norm.unwrap() > 0.0);
    }
}
