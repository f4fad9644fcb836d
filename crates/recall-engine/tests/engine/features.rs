//! A frozen backbone hands out its features once: steps on them are steps on the images, bit for bit.

use burn::backend::Autodiff;
use burn_flex::Flex;
use recall_engine::{
    Backbone, Device, Engine, EngineConfig, Features, Inputs, ModelFiles, Pixels, Pooling,
    StepRequest, of_backend,
};

use crate::support::alone;

const IMAGES: usize = 6;
const LABELS: [i64; IMAGES] = [0, 0, 1, 1, 2, 2];

fn config(backbone: Backbone, pooling: Pooling, side: usize) -> EngineConfig {
    let mut config = EngineConfig::default();
    config.model.backbone = backbone;
    config.model.pooling = pooling;
    config.model.dim = 8;
    (config.model.widths, config.model.grid) = (vec![3, 4], 2);
    config.image = [side, side];
    config.loss.ks = Some(vec![1]);
    config.optimiser.freeze_backbone = true;
    config
}

fn engine(config: &EngineConfig) -> Box<dyn Engine> {
    let device = of_backend::<Autodiff<Flex>>(Default::default());
    device.engine(config).unwrap()
}

fn bytes(side: usize) -> Vec<u8> {
    let mixed =
        (0..(IMAGES * 3 * side * side) as u32).map(|at| at.wrapping_mul(2_654_435_761) >> 24);
    mixed.map(|byte| byte as u8).collect()
}

fn pixels(bytes: &[u8], side: usize) -> Pixels<'_> {
    Pixels {
        bytes,
        shape: [bytes.len() / (3 * side * side), 3, side, side],
    }
}

/// The features of all images, computed so many at a time.
fn features(engine: &dyn Engine, bytes: &[u8], side: usize, at_once: usize) -> (Vec<f32>, usize) {
    let (mut values, mut dim) = (Vec::new(), 0);
    for some in bytes.chunks(at_once * 3 * side * side) {
        let rows = engine.features(pixels(some, side)).unwrap().unwrap();
        dim = rows.dim();
        values.extend_from_slice(rows.as_slice());
    }
    (values, dim)
}

/// The weights as they are written.
fn weights(engine: &dyn Engine) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let files = ModelFiles {
        judged: folder.path().join("judged"),
        trained: folder.path().join("trained"),
        optimiser: folder.path().join("optimiser"),
        loss: folder.path().join("loss"),
    };
    engine.save(&files).unwrap();
    std::fs::read(files.judged).unwrap()
}

fn steps_are_the_same(backbone: Backbone, pooling: Pooling, side: usize) {
    let config = config(backbone, pooling, side);
    let bytes = bytes(side);
    for (chunk, at_once) in [(1, 6), (2, 5), (4, 1), (6, 3)] {
        let mut on_pixels = engine(&config);
        let before = weights(&*on_pixels);
        let step = |engine: &mut dyn Engine, inputs: Inputs<'_>, seed| {
            let request = StepRequest {
                inputs,
                labels: &LABELS,
                chunk,
                first_chunk: 0,
                learning_rate: 0.01,
                model_seed: seed,
                loss_seed: seed,
            };
            engine.step(&request, &mut |_, _| ()).unwrap()
        };
        let results: Vec<_> = (0..2)
            .map(|seed| step(&mut *on_pixels, pixels(&bytes, side).into(), seed))
            .collect();
        assert!(results.iter().all(|result| result.broken.is_none()));
        let trained = weights(&*on_pixels);
        assert!(trained != before);
        // The backbone is frozen, so its features are what they were.
        let (values, dim) = features(&*on_pixels, &bytes, side, at_once);
        let rows = Features {
            values: &values,
            dim,
        };
        let mut on_features = engine(&config);
        let found: Vec<_> = (0..2)
            .map(|seed| step(&mut *on_features, rows.into(), seed))
            .collect();
        let how = format!("{backbone} {pooling:?}, steps of {chunk}, features of {at_once}");
        assert_eq!(found, results, "{how}");
        assert!(weights(&*on_features) == trained, "{how}");
        let by_pixels = on_pixels.embed(pixels(&bytes, side).into()).unwrap();
        assert_eq!(on_features.embed(rows.into()).unwrap(), by_pixels, "{how}");
    }
}

#[test]
fn of_convnet() {
    let _alone = alone();
    steps_are_the_same(Backbone::Convnet, Pooling::AsPublished, 8);
}

#[test]
fn of_resnet50_with_gem() {
    let _alone = alone();
    steps_are_the_same(Backbone::Resnet50, Pooling::AsPublished, 40);
}

#[test]
fn of_resnet50_with_the_mean() {
    let _alone = alone();
    steps_are_the_same(Backbone::Resnet50, Pooling::Mean, 40);
}

#[test]
fn of_transformers() {
    let _alone = alone();
    steps_are_the_same(Backbone::VitS16, Pooling::AsPublished, 32);
    steps_are_the_same(Backbone::Dinov2S14, Pooling::Mean, 28);
}

#[test]
fn their_number_is_that_of_what_the_head_takes() {
    let _alone = alone();
    for (backbone, pooling, side, expected) in [
        (Backbone::Convnet, Pooling::AsPublished, 8, 16),
        (Backbone::Resnet50, Pooling::AsPublished, 40, 2048 * 4),
        (Backbone::Resnet50, Pooling::Mean, 40, 2048),
        (Backbone::VitS16, Pooling::Cls, 32, 384),
    ] {
        let mut engine = engine(&config(backbone, pooling, side));
        let bytes = bytes(side);
        let (values, dim) = features(&*engine, &bytes, side, IMAGES);
        assert_eq!((dim, values.len()), (expected, IMAGES * expected));
        let other = Features {
            values: &values,
            dim: dim / 8,
        };
        let refused = engine.embed(other.into()).unwrap_err().to_string();
        assert!(refused.starts_with("the head takes rows of"), "{refused}");
        assert!(engine.try_step(other.into(), 2).is_err());
    }
}

#[test]
fn random_layers_leave_none() {
    let _alone = alone();
    let side = 32;
    for which in 0..2 {
        let mut config = config(Backbone::VitS16, Pooling::Cls, side);
        match which {
            0 => config.model.dropout = 0.1,
            _ => config.model.drop_path = 0.1,
        }
        let found = engine(&config).features(pixels(&bytes(side), side));
        assert_eq!(found.unwrap(), None);
    }
}
