//! Layers in half precision are those in f32 on numbers that were rounded before, with a rounding at the end.

use burn::backend::Autodiff;
use burn::tensor::{DType, bf16, f16};
use burn_flex::Flex;
use recall_nn::{Layer, NnBackend, plain};

use crate::cases::{Case, conv2d, others};

type B = Autodiff<Flex>;

/// Types, and how far a number may be off by one rounding to them, of its size.
const HALVES: [(DType, f64); 2] = [(DType::F16, 1.0 / 2048.0), (DType::BF16, 1.0 / 256.0)];

fn rounded(dtype: DType, values: &[f64]) -> Vec<f64> {
    let round = |&x: &f64| match dtype {
        DType::F16 => f16::from_f64(x).to_f64(),
        _ => bf16::from_f64(x).to_f64(),
    };
    values.iter().map(round).collect()
}

/// Inputs that are in half precision, and the weights of products, are rounded; other weights stay.
fn inputs(case: &Case, dtype: DType) -> Vec<Vec<f64>> {
    let inputs = case.inputs().into_iter().enumerate();
    let inputs = inputs.map(|(index, input)| {
        let product = matches!(case.layer, Layer::Conv2d(_) | Layer::Linear { .. });
        match case.is_of_images(index) || (product && index == 1) {
            true => rounded(dtype, &input),
            false => input,
        }
    });
    inputs.collect()
}

fn linear(rows: usize, width: usize, out: usize, bias: bool) -> Case {
    let mut shapes = vec![vec![rows, width], vec![width, out]];
    shapes.extend(bias.then(|| vec![out]));
    Case {
        layer: Layer::Linear { bias },
        shapes,
    }
}

fn cases() -> Vec<Case> {
    let all = [true; 4];
    let mut cases = others();
    cases.extend([
        linear(1, 1, 1, true),
        linear(7, 5, 9, true),
        linear(40, 33, 17, false),
        conv2d([2, 3, 32, 32], 8, [4, 2, 1], [false, false, false, true]),
        conv2d([2, 3, 30, 31], 5, [7, 2, 3], [true, true, false, true]),
        conv2d([2, 5, 7, 9], 13, [1, 1, 0], all),
        conv2d([2, 5, 7, 9], 6, [1, 2, 0], [true, true, false, false]),
        conv2d([3, 4, 9, 6], 7, [3, 2, 1], [true, false, true, false]),
        conv2d([1, 3, 32, 48], 6, [16, 16, 0], [false, true, false, false]),
    ]);
    cases
}

/// Of a sum of the outputs times numbers that are rounded as well, as gradients in half precision are.
fn in_f32(case: &Case, inputs: &[Vec<f64>]) -> crate::cases::Found {
    // Burn's own product of rows in f32 is the plain one.
    case.run::<B>(B::layer, inputs)
}

#[test]
fn kernels_are_those_of_f32_on_rounded_numbers() {
    for case in cases() {
        for (dtype, off) in HALVES {
            let inputs = inputs(&case, dtype);
            let half = case.in_half::<B>(B::layer, dtype, &inputs);
            let what = format!("{dtype:?} {case:?}");
            half.assert_close(&in_f32(&case, &inputs), 2.0 * off, &what);
            // In half precision, to the last bit.
            assert_eq!(half.output, rounded(dtype, &half.output));
            assert_eq!(half.grads[0], rounded(dtype, &half.grads[0]));
        }
    }
}

/// Gradients of weights are sums in f32: rounded to half precision they would be further off than this.
#[test]
fn gradients_of_weights_stay_single() {
    for (dtype, off) in HALVES {
        let case = linear(64, 8, 8, true);
        let inputs = inputs(&case, dtype);
        let half = case.in_half::<B>(B::layer, dtype, &inputs);
        for grad in &half.grads[1..] {
            assert_ne!(grad, &rounded(dtype, grad));
        }
        half.assert_close(&in_f32(&case, &inputs), off, "a linear layer");
    }
}

/// Burn's own convolution adds up the gradients of weights in half precision, so these are further off.
/// Where a ReLU is so near to zero that a rounding closes it, the gradient is all or nothing: without it.
#[test]
fn kernels_are_the_tensor_operations() {
    for mut case in cases() {
        if let Layer::Conv2d(settings) = &mut case.layer {
            settings.relu = false;
        }
        for (dtype, off) in HALVES {
            let inputs = inputs(&case, dtype);
            let plain = case.in_half::<B>(plain::forward::<B>, dtype, &inputs);
            let half = case.in_half::<B>(B::layer, dtype, &inputs);
            half.assert_close(&plain, 16.0 * off, &format!("{dtype:?} {case:?}"));
        }
    }
}

/// Larger than what is widened at a time.
#[test]
fn many_pieces_are_one_batch() {
    let case = |layer, shapes: &[&[usize]]| Case {
        layer,
        shapes: shapes.iter().map(|shape| shape.to_vec()).collect(),
    };
    let pool = Layer::MaxPool2d {
        kernel: 3,
        stride: 2,
        padding: 1,
    };
    let norm = Layer::LayerNorm { epsilon: 1e-5 };
    for case in [
        conv2d([70, 4, 64, 63], 5, [3, 2, 1], [true; 4]),
        case(pool, &[&[70, 4, 64, 63]]),
        case(norm, &[&[5, 431, 517], &[517], &[517]]),
        case(Layer::Gelu, &[&[1_100_003]]),
        case(Layer::GeM, &[&[301, 64, 8, 7], &[1]]),
        case(Layer::Attention { heads: 2 }, &[&[801, 9, 150]]),
        linear(4099, 300, 7, true),
    ] {
        let (dtype, off) = HALVES[0];
        let inputs = inputs(&case, dtype);
        let half = case.in_half::<B>(B::layer, dtype, &inputs);
        half.assert_close(&in_f32(&case, &inputs), 2.0 * off, &format!("{case:?}"));
    }
}

#[test]
fn casts_round_and_their_gradients_are_of_the_type_before() {
    for (dtype, _) in HALVES {
        let cast = |to: DType| Case {
            layer: Layer::Cast { to: to.into() },
            shapes: vec![vec![3, 70]],
        };
        let case = cast(dtype);
        let found = case.run::<B>(B::layer, &case.inputs());
        let single: Vec<f64> = case.inputs()[0]
            .iter()
            .map(|&x| f64::from(x as f32))
            .collect();
        assert_eq!(found.output, rounded(dtype, &single));
        assert_eq!(found, case.plainly::<B>());
        let back = cast(DType::F32);
        let inputs = inputs(&back, dtype);
        assert_eq!(back.run::<B>(B::layer, &inputs).output, inputs[0]);
    }
}

#[test]
fn the_number_of_threads_does_not_matter() {
    for case in [
        conv2d([6, 40, 13, 13], 30, [3, 1, 1], [true; 4]),
        linear(300, 384, 100, true),
    ] {
        let inputs = case.inputs();
        let found = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let pool = pool.build().unwrap();
            pool.install(|| case.in_half::<B>(B::layer, DType::BF16, &inputs))
        };
        assert!(found(1) == found(2) && found(1) == found(3));
    }
}
