//! Losses by kind: each takes steps, and what it keeps is written and read.

use std::path::Path;

use burn::backend::Autodiff;
use burn_flex::Flex;
use recall_engine::{
    Backbone, Device, Engine, EngineConfig, Features, LossConfig, LossKind, MemoryConfig,
    ModelFiles, Start, StepRequest, SynthesisConfig, of_backend,
};

use crate::support::alone;

const DIM: usize = 12;
const CLASSES: usize = 6;
const EACH: usize = 4;

fn engine(loss: LossConfig) -> Box<dyn Engine> {
    let mut config = EngineConfig::default();
    config.model.backbone = Backbone::Linear;
    config.model.features = Some(DIM);
    config.model.dim = 8;
    config.model.start = Start::Random;
    config.optimiser.weight_decay = 0.0;
    config.loss = loss;
    let device = of_backend::<Autodiff<Flex>>(Default::default());
    let mut engine = device.engine(&config).unwrap();
    engine.set_classes(CLASSES);
    engine
}

/// Rows that are those of their class, and something else.
fn rows() -> (Vec<f32>, Vec<i64>) {
    let drawn = |at: usize| {
        let mixed = (at as u32).wrapping_mul(2_654_435_761) ^ 0x9e37_79b9;
        let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(2_246_822_519);
        f64::from((mixed ^ (mixed >> 13)) >> 8) / f64::from(1 << 24) - 0.5
    };
    let labels: Vec<i64> = (0..CLASSES * EACH)
        .map(|row| (row % CLASSES) as i64)
        .collect();
    let number = |at: usize| {
        let (row, column) = (at / DIM, at % DIM);
        (drawn(10_000 + row % CLASSES * DIM + column) + 0.8 * drawn(at)) as f32
    };
    ((0..labels.len() * DIM).map(number).collect(), labels)
}

/// The losses of some steps on all rows.
fn train(engine: &mut dyn Engine, steps: std::ops::Range<u64>) -> Vec<f64> {
    let (values, labels) = rows();
    let step = |seed| {
        let request = StepRequest {
            inputs: Features {
                values: &values,
                dim: DIM,
            }
            .into(),
            labels: &labels,
            chunk: 10,
            first_chunk: 0,
            learning_rate: 0.01,
            model_seed: seed,
            loss_seed: seed,
        };
        let result = engine.step(&request, &mut |_, _| ()).unwrap();
        assert_eq!(result.broken, None);
        assert!(result.gradient_norm.is_some());
        result.loss.unwrap()
    };
    steps.map(step).collect()
}

fn files(folder: &Path) -> ModelFiles {
    ModelFiles {
        judged: folder.join("judged"),
        trained: folder.join("judged"),
        optimiser: folder.join("optimiser"),
        loss: folder.join("loss"),
    }
}

/// Every kind, and what can be around them.
fn all() -> Vec<LossConfig> {
    let mut all: Vec<LossConfig> = LossKind::ALL.map(LossConfig::of).to_vec();
    for kind in LossKind::ALL {
        let of = LossConfig::of(kind);
        let optional = kind.optional_settings();
        if of.mixup == Some(false) {
            let mixup = Some(true);
            all.push(LossConfig {
                mixup,
                ..of.clone()
            });
        }
        if optional.contains(&"memory") {
            let memory = MemoryConfig {
                size: 30,
                start: 2,
                ..MemoryConfig::default()
            };
            let memory = Some(memory);
            all.push(LossConfig {
                memory,
                ..of.clone()
            });
        }
        if optional.contains(&"input_mixup") {
            let input_mixup = Some(0.2);
            all.push(LossConfig {
                input_mixup,
                ..of.clone()
            });
        }
        if optional.contains(&"synthesis") {
            let synthesis = Some(SynthesisConfig::default());
            all.push(LossConfig { synthesis, ..of });
        }
    }
    all
}

#[test]
fn every_loss_falls_and_goes_on_from_what_was_written_as_if_nothing_had_been() {
    let _alone = alone();
    for loss in all() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        let mut straight = engine(loss.clone());
        let mut losses = train(&mut *straight, 0..5);
        straight.save(&files).unwrap();
        losses.extend(train(&mut *straight, 5..30));

        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
        let (first, last) = (mean(&losses[..4]), mean(&losses[26..]));
        // The memory counts from the third step on, so the loss rises first.
        assert!(
            last < first || loss.memory.is_some(),
            "{loss:?}: {first} to {last}"
        );

        let mut resumed = engine(loss.clone());
        resumed.load(&files).unwrap();
        assert_eq!(train(&mut *resumed, 5..30), losses[5..], "{loss:?}");
    }
}

#[test]
fn proxies_are_for_so_many_classes() {
    let _alone = alone();
    let mut engine = engine(LossConfig::of(LossKind::CosFace));
    engine.set_classes(CLASSES - 1);
    let (values, labels) = rows();
    let request = StepRequest {
        inputs: Features {
            values: &values,
            dim: DIM,
        }
        .into(),
        labels: &labels,
        chunk: 10,
        first_chunk: 0,
        learning_rate: 0.01,
        model_seed: 0,
        loss_seed: 0,
    };
    // The labels of the first step are believed, as there may be nobody who counted the classes.
    assert!(engine.step(&request, &mut |_, _| ()).is_ok());
    let mut others = labels.clone();
    others[3] = 6;
    let request = StepRequest {
        labels: &others,
        ..request
    };
    let refused = engine
        .step(&request, &mut |_, _| ())
        .unwrap_err()
        .to_string();
    assert!(refused.contains("row 3 has label 6"), "{refused}");
}

#[test]
fn a_damaged_state_of_a_loss_is_refused_in_a_sentence() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    let mut first = engine(LossConfig::of(LossKind::ProxyAnchor));
    train(&mut *first, 0..2);
    first.save(&files).unwrap();
    let whole = std::fs::read(&files.loss).unwrap();
    let load = || {
        let mut engine = engine(LossConfig::of(LossKind::ProxyAnchor));
        engine.load(&files).map_err(|error| error.to_string())
    };
    assert_eq!(load(), Ok(()));
    std::fs::write(&files.loss, &whole[..whole.len() - 5]).unwrap();
    assert!(load().unwrap_err().contains("cannot load the weights"));
    // The last numbers are those of the parameters' moments or of themselves: a NaN in them.
    let mut broken = whole.clone();
    let end = broken.len();
    broken[end - 12..].copy_from_slice(&[0xff; 12]);
    std::fs::write(&files.loss, &broken).unwrap();
    let refused = load().unwrap_err();
    assert!(
        refused.contains("not finite") || refused.contains("single number"),
        "{refused}"
    );
}

#[test]
fn proxies_start_where_they_are_told() {
    let _alone = alone();
    let mut engine = engine(LossConfig::of(LossKind::SoftTriple));
    let means: Vec<f32> = (0..CLASSES * 8).map(|at| (at % 9) as f32 / 9.0).collect();
    engine.start_loss(&means, 8);
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path());
    engine.save(&files).unwrap();
    let bytes = std::fs::read(&files.loss).unwrap();
    let stored = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let parameters = stored.tensor("parameters").unwrap();
    assert_eq!(parameters.shape(), [CLASSES * 10, 8]);
    let (numbers, _) = parameters.data().as_chunks::<4>();
    for (at, &bytes) in numbers.iter().enumerate() {
        let (row, column) = (at / 8, at % 8);
        let off = f32::from_le_bytes(bytes) - means[row / 10 * 8 + column];
        assert!(off.abs() < 0.2, "{row}: {off}");
    }
    engine.forget_loss();
    std::fs::remove_file(&files.loss).unwrap();
    engine.save(&files).unwrap();
    assert!(!files.loss.exists());
}
