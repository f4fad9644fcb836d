//! Heads on rows of features: they learn, are written and read, and refuse what they do not take.

use std::collections::BTreeMap;
use std::path::Path;

use burn::backend::Autodiff;
use burn_flex::Flex;
use recall_engine::{
    Backbone, Device, Engine, EngineConfig, EngineError, FeatureStatistics, Features, ModelFiles,
    Pixels, Start, StepRequest, of_backend,
};
use safetensors::SafeTensors;

use crate::support::alone;

const FEATURES: usize = 12;
const CLASSES: usize = 8;
const EACH: usize = 6;

fn config(backbone: Backbone, start: Start) -> EngineConfig {
    let mut config = EngineConfig::default();
    config.model.backbone = backbone;
    config.model.features = Some(FEATURES);
    config.model.dim = 10;
    config.model.start = start;
    config.loss.ks = Some(vec![1, 2]);
    config
}

fn engine(config: &EngineConfig) -> Box<dyn Engine> {
    let device = of_backend::<Autodiff<Flex>>(Default::default());
    device.engine(config).unwrap()
}

/// Classes that differ in the last four numbers of a row, beneath noise in the others that is ten times as
/// large: what a linear map can find, and what the rows themselves do not show.
fn rows() -> (Vec<f32>, Vec<i64>) {
    let drawn = |at: usize| {
        let mixed = (at as u32).wrapping_mul(2_654_435_761) ^ 0x9e37_79b9;
        let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(2_246_822_519);
        f64::from((mixed ^ (mixed >> 13)) >> 8) / f64::from(1 << 24) - 0.5
    };
    let labels: Vec<i64> = (0..CLASSES * EACH).map(|row| (row / EACH) as i64).collect();
    let number = |row: usize, column: usize| match column < FEATURES - 4 {
        true => 10.0 * drawn(row * FEATURES + column),
        false => drawn(90_000 + row / EACH * 4 + column) + 0.2 * drawn(row * FEATURES + column),
    };
    let rows = (0..labels.len()).flat_map(|row| (0..FEATURES).map(move |column| (row, column)));
    let values = rows.map(|(row, column)| number(row, column) as f32);
    (values.collect(), labels)
}

fn features(values: &[f32]) -> Features<'_> {
    Features {
        values,
        dim: FEATURES,
    }
}

fn statistics(values: &[f32]) -> FeatureStatistics {
    let mut statistics = FeatureStatistics::new(FEATURES, true);
    statistics.add(values).unwrap();
    statistics
}

/// The losses of some steps on all rows.
fn train(engine: &mut dyn Engine, steps: u64, chunk: usize) -> Vec<f64> {
    let (values, labels) = rows();
    let step = |seed| {
        let request = StepRequest {
            inputs: features(&values).into(),
            labels: &labels,
            chunk,
            first_chunk: 0,
            learning_rate: 0.02,
            model_seed: seed,
            loss_seed: seed,
        };
        let result = engine.step(&request, &mut |_, _| ()).unwrap();
        assert_eq!(result.broken, None);
        result.loss.unwrap()
    };
    (0..steps).map(step).collect()
}

fn files(folder: &Path) -> ModelFiles {
    ModelFiles {
        judged: folder.join("judged"),
        trained: folder.join("trained"),
        optimiser: folder.join("optimiser"),
        loss: folder.join("loss"),
    }
}

#[test]
fn steps_find_what_tells_classes_apart() {
    let _alone = alone();
    let (values, _) = rows();
    for backbone in [Backbone::Linear, Backbone::Residual] {
        for start in [Start::Random, Start::Identity, Start::Standard, Start::Pca] {
            let mut engine = engine(&config(backbone, start));
            engine.start_from(&statistics(&values)).unwrap();
            let losses = train(&mut *engine, 60, 16);
            let (first, last) = (losses[0], losses[losses.len() - 1]);
            println!("{backbone} {start}: {first:.3} to {last:.3}");
            assert!(last < 0.7 * first, "{backbone} {start}: {first} to {last}");
        }
    }
}

#[test]
fn the_same_steps_give_the_same_bits_and_chunks_the_same_loss() {
    let _alone = alone();
    let (values, _) = rows();
    let losses = |chunk, dropout| {
        let mut config = config(Backbone::Residual, Start::Pca);
        config.model.dropout = dropout;
        let mut engine = engine(&config);
        engine.start_from(&statistics(&values)).unwrap();
        train(&mut *engine, 5, chunk)
    };
    assert_eq!(losses(16, 0.2), losses(16, 0.2));
    for (a, b) in losses(7, 0.0).iter().zip(losses(48, 0.0)) {
        assert!((a - b).abs() < 1e-4, "{a} and {b}");
    }
}

#[test]
fn they_are_written_under_plain_names_and_read_again() {
    let _alone = alone();
    let (values, _) = rows();
    let (dim, hidden) = (10, 7);
    let linear: BTreeMap<&str, Vec<usize>> = BTreeMap::from([
        ("mean", vec![FEATURES]),
        ("scale", vec![FEATURES]),
        ("linear.weight", vec![dim, FEATURES]),
        ("linear.bias", vec![dim]),
    ]);
    let mut residual = linear.clone();
    residual.extend([
        ("hidden.weight", vec![hidden, FEATURES]),
        ("hidden.bias", vec![hidden]),
        ("out.weight", vec![dim, hidden]),
    ]);
    for (backbone, expected) in [(Backbone::Linear, linear), (Backbone::Residual, residual)] {
        let mut config = config(backbone, Start::Pca);
        config.model.hidden = (backbone == Backbone::Residual).then_some(hidden);
        config.optimiser.average = Some(0.9);
        let mut first = engine(&config);
        first.start_from(&statistics(&values)).unwrap();
        train(&mut *first, 3, 16);
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        first.save(&files).unwrap();

        let bytes = std::fs::read(&files.trained).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let found: BTreeMap<_, _> = tensors
            .iter()
            .map(|(n, t)| (n, t.shape().to_vec()))
            .collect();
        assert_eq!(found, expected);
        // Training leaves what was taken off and divided by as it was.
        let means: Vec<u8> = statistics(&values)
            .mean()
            .iter()
            .flat_map(|mean| (*mean as f32).to_le_bytes())
            .collect();
        assert_eq!(tensors.tensor("mean").unwrap().data(), means);

        let mut second = engine(&config);
        second.load(&files).unwrap();
        let embed = |engine: &dyn Engine| engine.embed(features(&values).into()).unwrap();
        assert_eq!(embed(&*second), embed(&*first));
        assert_eq!(train(&mut *second, 2, 16), train(&mut *first, 2, 16));
        assert_eq!(embed(&*second), embed(&*first));
    }
}

#[test]
fn a_start_begins_optimiser_and_average_anew() {
    let _alone = alone();
    let (values, _) = rows();
    let mut config = config(Backbone::Linear, Start::Standard);
    config.optimiser.average = Some(0.9);
    let started = |before| {
        let mut engine = engine(&config);
        train(&mut *engine, before, 16);
        engine.start_from(&statistics(&values)).unwrap();
        let judged = engine.embed(features(&values).into()).unwrap();
        (judged, train(&mut *engine, 3, 16))
    };
    assert_eq!(started(2), started(0));
}

#[test]
fn what_they_do_not_take_is_refused_in_a_sentence() {
    let _alone = alone();
    let (values, labels) = rows();
    let mut head = engine(&config(Backbone::Linear, Start::Standard));
    let black = vec![0; 3 * 2 * 2];
    let pixels = Pixels {
        bytes: &black,
        shape: [1, 3, 2, 2],
    };
    let said = |error: EngineError| error.to_string();
    let no_images = "the model is a head on rows of features and takes no images";
    assert_eq!(said(head.embed(pixels.into()).unwrap_err()), no_images);
    assert_eq!(said(head.features(pixels).unwrap_err()), no_images);
    assert_eq!(
        said(head.try_step(pixels.into(), 1).unwrap_err()),
        no_images
    );
    let other = Features {
        values: &values,
        dim: FEATURES / 2,
    };
    let refused = said(head.embed(other.into()).unwrap_err());
    assert_eq!(refused, "the head takes rows of 12 features, not of 6");
    let ragged = features(&values[1..]);
    assert!(said(head.embed(ragged.into()).unwrap_err()).contains("no rows of 12"));
    let request = StepRequest {
        inputs: features(&values).into(),
        labels: &labels[1..],
        chunk: 4,
        first_chunk: 0,
        learning_rate: 0.1,
        model_seed: 0,
        loss_seed: 0,
    };
    let refused = said(head.step(&request, &mut |_, _| ()).unwrap_err());
    assert!(
        refused.contains("47 labels for 48 rows of features"),
        "{refused}"
    );

    let mut convnet = engine(&EngineConfig::default());
    let refused = said(convnet.start_from(&statistics(&values)).unwrap_err());
    assert!(refused.contains("no head on features"), "{refused}");

    let mut nameless = config(Backbone::Residual, Start::Standard);
    nameless.model.features = None;
    let device = of_backend::<Autodiff<Flex>>(Default::default());
    let refused = device.engine(&nameless).err().map(said).unwrap();
    assert!(refused.contains("model.features has to say"), "{refused}");
}

#[test]
fn settings_that_make_no_sense_are_named() {
    let _alone = alone();
    let problem = |change: &dyn Fn(&mut recall_engine::ModelConfig)| {
        let mut model = config(Backbone::Linear, Start::Standard).model;
        change(&mut model);
        model.problem().map(|(key, _)| key)
    };
    assert_eq!(problem(&|_| ()), None);
    assert_eq!(problem(&|model| model.dropout = 0.5), None);
    assert_eq!(problem(&|model| model.features = None), None);
    assert_eq!(
        problem(&|model| model.drop_path = 0.5),
        Some("model.drop_path")
    );
    assert_eq!(
        problem(&|model| model.hidden = Some(3)),
        Some("model.hidden")
    );
    let gem = recall_engine::Pooling::Gem;
    assert_eq!(problem(&|model| model.pooling = gem), Some("model.pooling"));
    let whitening = recall_engine::Head::Whitening;
    assert_eq!(problem(&|model| model.head = whitening), Some("model.head"));
    let resnet = |model: &mut recall_engine::ModelConfig| {
        (model.backbone, model.features, model.head) = (Backbone::Resnet18, None, whitening);
        model.start = Start::default();
    };
    assert_eq!(problem(&resnet), None);
    let large = |model: &mut recall_engine::ModelConfig| {
        (model.start, model.features) = (Start::Pca, Some(100_000));
    };
    assert_eq!(problem(&large), Some("model.start"));
    let images = |model: &mut recall_engine::ModelConfig| model.backbone = Backbone::Convnet;
    assert_eq!(problem(&images), Some("model.features"));
    let start = |model: &mut recall_engine::ModelConfig| {
        (model.backbone, model.features) = (Backbone::VitS16, None);
        model.start = Start::Identity;
    };
    assert_eq!(problem(&start), Some("model.start"));
}
