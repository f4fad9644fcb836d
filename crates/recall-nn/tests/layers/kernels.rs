//! What Flex computes by kernels is what the tensor operations give.

use burn::backend::Autodiff;
use burn_flex::Flex;
use burn_ndarray::NdArray;
use proptest::prelude::*;

use crate::cases::{Case, conv2d, others};

type Kernels = Autodiff<Flex>;
/// The oracle: the same formulas in twice the precision.
type Oracle = Autodiff<NdArray<f64>>;

fn check(case: &Case) {
    let expected = case.plainly::<Oracle>();
    let what = format!("{case:?}");
    case.by_backend::<Kernels>()
        .assert_close(&expected, 1e-5, &what);
}

#[test]
fn rows_pools_and_attention_agree() {
    for case in others() {
        check(&case);
    }
}

#[test]
fn convolutions_agree() {
    let all = [true; 4];
    for case in [
        conv2d([2, 3, 32, 32], 8, [4, 2, 1], [false, false, false, true]),
        conv2d([2, 3, 30, 31], 5, [7, 2, 3], [true, true, false, true]),
        conv2d([1, 1, 1, 1], 1, [1, 1, 0], all),
        conv2d([2, 5, 7, 9], 13, [1, 1, 0], all),
        conv2d([2, 5, 7, 9], 6, [1, 2, 0], [true, true, false, false]),
        conv2d([3, 4, 5, 5], 7, [3, 1, 1], all),
        conv2d([3, 4, 9, 6], 7, [3, 2, 1], all),
        conv2d([1, 3, 28, 42], 6, [14, 14, 0], [false, true, false, false]),
        conv2d([1, 3, 32, 48], 6, [16, 16, 0], [false, true, false, false]),
        conv2d([1, 3, 64, 64], 6, [32, 32, 0], [false, true, false, false]),
        // Wider than the blocks of a kernel: depth, channels and positions.
        conv2d([3, 40, 13, 13], 30, [3, 1, 1], all),
    ] {
        check(&case);
    }
}

/// Why gradients of a whole network may be farther apart than 1e-5 though every layer is not: among
/// millions of inputs of ReLU a few are so near zero that rounding takes them to its other side. Then
/// outputs agree to the last digit, and the gradient that passes there is all or nothing.
#[test]
fn rounding_can_close_a_relu() {
    let case = conv2d([1, 3, 1, 1], 1, [1, 1, 0], [false, false, false, true]);
    // 10⁻⁸ in f64; in f32 it is lost in the one.
    let inputs = [vec![1.0, 1e-8, -1.0], vec![1.0; 3]];
    let [kernel, oracle] = case.both_ways::<Kernels, Oracle>(&inputs);
    assert_eq!(kernel.output, [0.0]);
    assert!((oracle.output[0] - 1e-8).abs() < 1e-15);
    assert_eq!(kernel.grads[1], [0.0; 3]);
    assert!(oracle.grads[1][0].abs() > 0.1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_convolution_agrees(
        n in 1_usize..4, cin in 1_usize..6, cout in 1_usize..15,
        height in 1_usize..13, width in 1_usize..13,
        kernel in 1_usize..5, stride in 1_usize..6, padding in 0_usize..4,
        rest in any::<[bool; 4]>(),
    ) {
        prop_assume!(padding < kernel && kernel <= height.min(width) + 2 * padding);
        check(&conv2d([n, cin, height, width], cout, [kernel, stride, padding], rest));
    }
}
