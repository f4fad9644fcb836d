//! The pixels of the default run, bit for bit: whatever becomes of the image pipeline, a run that
//! was published can be repeated.

use std::sync::Arc;

use recall_data::{
    BatchRequest, ColourJitter, DataSpec, EvalTransform, Loader, LoaderConfig, RandomResizedCrop,
    TrainTransform, Transform,
};

fn checksum(transform: impl Into<Transform>) -> u64 {
    let dataset = Arc::new("emoji".parse::<DataSpec>().unwrap().open().unwrap());
    let loader = Loader::new(dataset, transform, LoaderConfig::default()).unwrap();
    let request = BatchRequest {
        epoch: 3,
        step: 5,
        ids: (0..2_000).step_by(7).collect(),
    };
    // FNV-1a, 64 bits.
    loader
        .load(request)
        .unwrap()
        .pixels()
        .to_vec()
        .into_iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
}

#[test]
fn training_sees_the_pixels_it_always_saw() {
    let train = TrainTransform {
        size: [32, 32],
        random_resized_crop: Some(RandomResizedCrop {
            scale: (0.7, 1.0),
            ratio: (0.9, 1.11),
        }),
        horizontal_flip: 0.5,
        colour_jitter: Some(ColourJitter {
            brightness: 0.4,
            contrast: 0.4,
            saturation: 0.5,
            ..ColourJitter::default()
        }),
        ..TrainTransform::default()
    };
    assert_eq!(checksum(train), 14_841_386_121_875_640_925);
}

#[test]
fn evaluation_sees_the_pixels_it_always_saw() {
    let eval = EvalTransform {
        resize: 32,
        crop: 32,
        longest_side: None,
    };
    assert_eq!(checksum(eval), 7_189_786_438_226_770_100);
}
