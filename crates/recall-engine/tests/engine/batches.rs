//! Batches whose parts do not fit together are refused in a sentence.

use burn::backend::Autodiff;
use burn_flex::Flex;
use recall_engine::{Device, EngineConfig, Pixels, StepRequest, of_backend};

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
