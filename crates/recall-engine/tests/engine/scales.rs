//! Images of any shape at several scales, beside cirtorch's recipe in PyTorch. `xtask/peers/scales.py` made what is
//! expected; weights and pixels come from a formula.

use burn::backend::Autodiff;
use burn_flex::Flex;
use recall_engine::{
    Backbone, Device, Engine, EngineConfig, EngineError, Head, ModelConfig, Pixels, Pooling,
    Scales, Standardisation, of_backend,
};
use safetensors::SafeTensors;

use crate::backbones::{difference, fixture, floats, formula, write_weights};
use crate::support::alone;

fn engine(backbone: Backbone, head: Head, side: usize, pad_patches: bool) -> Box<dyn Engine> {
    let model = ModelConfig {
        backbone,
        head,
        pad_patches,
        pooling: Pooling::AsPublished,
        dim: 32,
        ..ModelConfig::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("weights.safetensors");
    let network = model.init::<Flex>([side, side], &Default::default());
    write_weights(&network.unwrap(), &weights);
    let config = EngineConfig {
        model,
        image: [side, side],
        standardise: Standardisation::IMAGENET,
        ..EngineConfig::default()
    };
    let device = of_backend::<Autodiff<Flex>>(Default::default());
    let mut engine = device.engine(&config).unwrap();
    engine.load_pretrained(&weights).unwrap();
    engine
}

fn resnet18() -> Box<dyn Engine> {
    engine(Backbone::Resnet18, Head::Whitening, 64, false)
}

fn bytes(count: usize, height: usize, width: usize) -> Vec<u8> {
    let unit = formula("bytes", count * 3 * height * width).into_iter();
    unit.map(|u| ((u + 1.0) / 2.0 * 255.0) as u8).collect()
}

/// Embeddings of two images of this size.
fn embedded(engine: &dyn Engine, [height, width]: [usize; 2], scales: &Scales) -> Vec<f32> {
    let bytes = bytes(2, height, width);
    let pixels = Pixels {
        bytes: &bytes,
        shape: [2, 3, height, width],
    };
    engine.embed_at(pixels, scales).unwrap().as_slice().to_vec()
}

fn scales(factors: &[f64]) -> Scales {
    Scales {
        factors: factors.to_vec(),
        ..Scales::default()
    }
}

fn assert_equal(found: &[f32], name: &str) {
    let file = std::fs::read(fixture("scales.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&file).unwrap();
    let apart = difference(found, &floats(file.tensor(name).unwrap().data()));
    println!("{name}: {apart:.1e}");
    assert!(apart < 1e-4, "{name}: {apart}");
}

#[test]
fn descriptors_of_several_scales_equal_cirtorchs() {
    let _alone = alone();
    let engine = resnet18();
    let three = scales(&[1.0, 0.5_f64.sqrt(), 0.5]);
    for size in [[362, 500], [70, 45]] {
        let name = format!("resnet18.{}x{}", size[0], size[1]);
        let plain = embedded(&*engine, size, &Scales::default());
        assert_equal(&plain, &format!("{name}.plain"));
        assert_equal(&embedded(&*engine, size, &three), &name);
    }
    let larger = embedded(&*engine, [70, 45], &scales(&[1.0, 2_f64.sqrt()]));
    assert_equal(&larger, "resnet18.70x45.large");
}

#[test]
fn a_transformer_takes_images_of_other_shapes_as_timm_does() {
    let _alone = alone();
    for (backbone, side, sizes) in [
        (Backbone::Dinov2S14, 56, [[42, 70], [98, 56]]),
        // The whole patches of 362 × 500.
        (Backbone::Dinov2S14Reg4, 56, [[42, 70], [364, 504]]),
        (Backbone::ClipB32, 64, [[64, 96], [352, 512]]),
    ] {
        let padding = engine(backbone, Head::LayerNorm, side, true);
        let [height, width] = [sizes[0][0] + 3, sizes[0][1] + 9];
        let three = scales(&[1.0, 0.5_f64.sqrt(), 0.5]);
        let padded = embedded(&*padding, [height, width], &three);
        assert_equal(&padded, &format!("{backbone}.{height}x{width}.padded"));

        let engine = engine(backbone, Head::LayerNorm, side, false);
        for [height, width] in sizes {
            let plain = embedded(&*engine, [height, width], &Scales::default());
            assert_equal(&plain, &format!("{backbone}.{height}x{width}.plain"));
        }
        // At half the size sides are no whole patches any more, and are brought to some.
        let half = embedded(&*engine, sizes[0], &scales(&[0.5]));
        assert!(half.iter().all(|value| value.is_finite()));
    }
}

#[test]
fn an_image_is_embedded_alone_as_in_a_batch() {
    let _alone = alone();
    let engine = resnet18();
    for scales in [
        Scales::default(),
        scales(&[0.5]),
        Scales {
            power: 3.0,
            ..scales(&[1.0, 0.7, 2.0])
        },
    ] {
        for [height, width] in [[1, 1], [33, 20], [40, 64]] {
            let together = embedded(&*engine, [height, width], &scales);
            let bytes = bytes(2, height, width);
            let alone = bytes.chunks(3 * height * width).flat_map(|bytes| {
                let pixels = Pixels {
                    bytes,
                    shape: [1, 3, height, width],
                };
                let rows = engine.embed_at(pixels, &scales).unwrap();
                rows.as_slice().to_vec()
            });
            let alone: Vec<f32> = alone.collect();
            let apart = difference(&alone, &together);
            assert!(apart < 1e-6, "{height} × {width}: {apart}");
        }
    }
}

#[test]
fn scales_out_of_range_are_refused() {
    let _alone = alone();
    let engine = of_backend::<Autodiff<Flex>>(Default::default())
        .engine(&EngineConfig::default())
        .unwrap();
    let bytes = vec![1; 3 * 32 * 32];
    let pixels = Pixels {
        bytes: &bytes,
        shape: [1, 3, 32, 32],
    };
    // As small as the network takes.
    assert!(engine.embed_at(pixels, &scales(&[0.01])).is_ok());
    let Err(EngineError::Batch(refused)) = engine.embed_at(pixels, &scales(&[0.0])) else {
        panic!("no image has no pixels");
    };
    assert!(refused.contains("0 is no factor of size"), "{refused}");
}
