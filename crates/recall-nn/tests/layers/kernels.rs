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
