//! The gradients of the tensor operations against finite differences in f64.

use burn::backend::Autodiff;
use burn_ndarray::NdArray;

use crate::cases::{Case, conv2d, others};

const STEP: f64 = 1e-6;

fn check(case: &Case) {
    let found = case.plainly::<Autodiff<NdArray<f64>>>();
    let inputs = case.inputs();
    for (index, grad) in found.grads.iter().enumerate() {
        // A few of each input, spread over it.
        for at in (0..grad.len()).step_by(grad.len().div_ceil(7)) {
            let moved = |by: f64| {
                let mut inputs = inputs.clone();
                inputs[index][at] += by;
                case.sum(&inputs)
            };
            let slope = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
            assert!(
                (slope - grad[at]).abs() < 1e-6 * slope.abs().max(1.0),
                "{case:?}: input {index}, number {at}: {slope} by differences, {} found",
                grad[at]
            );
        }
    }
}

#[test]
fn gradients_are_slopes() {
    for case in others() {
        check(&case);
    }
    for case in [
        conv2d([2, 2, 6, 5], 3, [3, 1, 1], [true; 4]),
        conv2d([1, 3, 7, 7], 2, [4, 2, 1], [false, true, false, true]),
        conv2d([2, 2, 4, 4], 3, [1, 2, 0], [true, false, true, false]),
    ] {
        check(&case);
    }
}
