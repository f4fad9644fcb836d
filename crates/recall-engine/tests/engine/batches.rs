//! Batches whose parts do not fit together are refused in a sentence.

use burn::backend::Autodiff;
use burn_flex::Flex;
use recall_engine::{Device, EngineConfig, Inputs, Pixels, StepRequest, of_backend};

use crate::support::alone;

#[test]
fn what_does_not_fit_together_is_refused() {
    let _alone = alone();
    let device = of_backend::<Autodiff<Flex>>(Default::default());
    let mut engine = device.engine(&EngineConfig::default()).unwrap();
    let bytes = vec![1; 4 * 3 * 32 * 32];
    let images = |shape| Pixels {
        bytes: &bytes,
        shape,
    };
    let whole = images([4, 3, 32, 32]);
    for shape in [
        [5, 3, 32, 32],
        [3, 3, 32, 32],
        [4, 1, 32, 96],
        [4, 3, 0, 32],
        [0, 3, 32, 32],
        [usize::MAX, 3, 32, 32],
    ] {
        let refused = engine.embed(images(shape).into()).unwrap_err().to_string();
        assert!(refused.contains("12288 bytes are no images"), "{refused}");
        assert!(engine.try_step(images(shape).into(), 2).is_err());
    }
    let mut step = |pixels: Pixels<'_>, labels: &[i64], chunk| {
        let request = StepRequest {
            inputs: pixels.into(),
            labels,
            chunk,
            first_chunk: 0,
            learning_rate: 1e-3,
            model_seed: 0,
            loss_seed: 0,
        };
        engine
            .step(&request, &mut |_, _| ())
            .map_err(|error| error.to_string())
    };
    let labels = [0, 0, 1, 1];
    assert!(step(images([4, 3, 32, 31]), &labels, 2).is_err());
    let refused = step(whole, &labels[..3], 2).unwrap_err();
    assert_eq!(refused, "there are 3 labels for 4 images: each needs one");
    let refused = step(whole, &labels, 0).unwrap_err();
    assert!(refused.contains('0'), "{refused}");
    assert_eq!(step(whole, &labels, 2).unwrap().broken, None);
}

/// A step over images of several shapes is the same in chunks of any size, also where a chunk has two shapes.
#[test]
fn images_of_several_shapes_are_one_batch() {
    let _alone = alone();
    let device = of_backend::<Autodiff<Flex>>(Default::default());
    let bytes: Vec<u8> = (0..3 * 32 * 48 * 3).map(|i| (i * 7 % 251) as u8).collect();
    let shapes = [[3, 3, 32, 48], [2, 3, 32, 32], [2, 3, 48, 32]].map(|shape: [usize; 4]| Pixels {
        bytes: &bytes[..shape.iter().product()],
        shape,
    });
    let labels = [0, 1, 2, 0, 1, 2, 2];
    let inputs = Inputs::Shapes(&shapes);
    let stepped = |chunk| {
        let mut engine = device.engine(&EngineConfig::default()).unwrap();
        let request = StepRequest {
            inputs,
            labels: &labels,
            chunk,
            first_chunk: 0,
            // Adam's first step is as long where a gradient is rounding alone.
            learning_rate: 1e-4,
            model_seed: 0,
            loss_seed: 0,
        };
        let result = engine.step(&request, &mut |_, _| ()).unwrap();
        assert_eq!(result.broken, None);
        (result, engine.embed(inputs).unwrap())
    };
    let (whole, after) = stepped(7);
    for chunk in [1, 2, 4, 5] {
        let (result, embeddings) = stepped(chunk);
        let (ours, theirs) = (result.loss.unwrap(), whole.loss.unwrap());
        assert!((ours - theirs).abs() < 1e-5, "{chunk}: {ours} {theirs}");
        let pairs = embeddings.as_slice().iter().zip(after.as_slice());
        let apart = pairs.fold(0.0_f32, |most, (a, b)| most.max((a - b).abs()));
        assert!(apart < 1e-4, "{chunk}: {apart}");
    }

    let engine = device.engine(&EngineConfig::default()).unwrap();
    let together = engine.embed(inputs).unwrap();
    let each = shapes.iter().flat_map(|&pixels| {
        let rows = engine.embed(pixels.into()).unwrap();
        rows.as_slice().to_vec()
    });
    assert_eq!(together.as_slice(), each.collect::<Vec<_>>());

    assert!(engine.embed(Inputs::Shapes(&[])).is_err());
    let mut cut = shapes;
    cut[1].shape[0] = 3;
    assert!(engine.embed(Inputs::Shapes(&cut)).is_err());
}
