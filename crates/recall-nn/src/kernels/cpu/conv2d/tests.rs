//! The kernels against loops in f64, on every set of instructions that this machine has.

use pulp::Arch;
use rayon::ThreadPoolBuilder;

use super::forward::forward_on;
use super::input_grad::input_grad_on;
use super::weight_grad::weight_grad_on;
use super::{Conv2dShape, Finish, relu_grad};

/// `[n, cin, height, width, cout, kernel, stride, padding]`.
const SHAPES: &[[usize; 8]] = &[
    [1, 1, 1, 1, 1, 1, 1, 0],
    [1, 1, 5, 7, 1, 3, 1, 1],
    [2, 3, 9, 8, 5, 3, 1, 0],
    [3, 2, 4, 4, 13, 3, 1, 1],
    [2, 4, 8, 8, 7, 3, 1, 1],
    [1, 3, 33, 31, 14, 3, 1, 1],
    [2, 3, 6, 5, 4, 3, 1, 2],
    [2, 2, 13, 11, 3, 3, 2, 1],
    [1, 2, 16, 16, 6, 4, 2, 1],
    [1, 3, 7, 9, 5, 4, 1, 3],
    [1, 3, 23, 21, 9, 7, 2, 3],
    [1, 2, 3, 2, 3, 7, 1, 6],
    [1, 2, 29, 15, 3, 14, 14, 0],
    [1, 1, 20, 33, 2, 16, 16, 0],
    [2, 1, 40, 35, 3, 16, 2, 15],
    [1, 2, 64, 32, 3, 32, 32, 0],
    [1, 1, 32, 32, 2, 32, 1, 0],
    [1, 1, 5, 3, 2, 32, 14, 31],
    [2, 3, 9, 9, 4, 1, 2, 0],
    [1, 2, 17, 15, 3, 1, 16, 0],
    [1, 2, 40, 37, 3, 3, 14, 1],
    [1, 1, 70, 35, 2, 4, 32, 3],
    [2, 5, 6, 7, 3, 1, 1, 0],
    // Rows of outputs longer than a patch, and of one column.
    [1, 1, 3, 900, 2, 3, 1, 1],
    [1, 2, 900, 1, 2, 3, 1, 1],
    [1, 2, 1, 1000, 3, 1, 1, 0],
    // More channels than a panel, a depth of more than one part, more positions than a patch.
    [3, 30, 12, 13, 26, 3, 1, 1],
    [2, 290, 15, 14, 13, 1, 1, 0],
    [1, 13, 11, 12, 290, 1, 1, 0],
    [1, 40, 21, 22, 27, 3, 2, 1],
    [18, 14, 7, 7, 140, 3, 1, 1],
    [60, 33, 4, 4, 15, 3, 1, 1],
];

fn shape(sizes: [usize; 8]) -> Conv2dShape {
    let [n, cin, height, width, cout, kernel, stride, padding] = sizes;
    Conv2dShape {
        n,
        cin,
        height,
        width,
        cout,
        kernel,
        stride,
        padding,
    }
}

/// Numbers between -1 and 1.
fn values(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn architectures() -> Vec<Arch> {
    let mut all = vec![Arch::new(), Arch::Scalar];
    #[cfg(target_arch = "x86_64")]
    all.extend(pulp::x86::V3::try_new().map(Arch::V3));
    all
}

/// Calls `visit(output, pixel, weight)` with the indices of each product of a convolution.
fn products(s: &Conv2dShape, mut visit: impl FnMut(usize, usize, usize)) {
    let (rows, columns, kernel) = (s.out_height(), s.out_width(), s.kernel);
    for output in 0..s.n * s.cout * rows * columns {
        let (column, row) = (output % columns, output / columns % rows);
        let (channel, image) = (
            output / columns / rows % s.cout,
            output / columns / rows / s.cout,
        );
        for tap in 0..s.depth() {
            let (right, down, input) = (tap % kernel, tap / kernel % kernel, tap / kernel / kernel);
            let (y, x) = (row * s.stride + down, column * s.stride + right);
            let inside = |at: usize, side: usize| (s.padding..side + s.padding).contains(&at);
            if inside(y, s.height) && inside(x, s.width) {
                let line = (image * s.cin + input) * s.height + y - s.padding;
                visit(
                    output,
                    line * s.width + x - s.padding,
                    channel * s.depth() + tap,
                );
            }
        }
    }
}

fn assert_close(actual: &[f32], expected: &[f64], what: &str) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    let largest = expected
        .iter()
        .fold(1e-30, |largest: f64, value| largest.max(value.abs()));
    for (index, (&actual, &expected)) in actual.iter().zip(expected).enumerate() {
        let error = (f64::from(actual) - expected).abs();
        assert!(
            error <= 1e-5 * largest,
            "{what}: {actual} instead of {expected} at {index}, the largest is {largest}"
        );
    }
}

#[test]
fn forward_is_the_sum_of_products_finished() {
    for &sizes in SHAPES {
        let s = shape(sizes);
        let (images, weight) = (values(s.input_len(), 1), values(s.weight_len(), 2));
        let (scale, shift) = (values(s.cout, 3), values(s.cout, 4));
        let residual = values(s.output_len(), 5);
        let mut sums = vec![0.0; s.output_len()];
        products(&s, |output, pixel, tap| {
            sums[output] += f64::from(images[pixel]) * f64::from(weight[tap]);
        });
        let plane = s.out_height() * s.out_width();
        for parts in 0..16 {
            let [scaled, shifted, added, relu] = [1, 2, 4, 8].map(|part| parts & part > 0);
            let finish = Finish {
                shift: shifted.then_some(&shift[..]),
                residual: added.then_some(&residual[..]),
                relu,
            };
            let expected = sums.iter().enumerate().map(|(index, &sum)| {
                let channel = index / plane % s.cout;
                let mut sum = if scaled {
                    sum * f64::from(scale[channel])
                } else {
                    sum
                };
                sum += if shifted {
                    f64::from(shift[channel])
                } else {
                    0.0
                };
                sum += if added {
                    f64::from(residual[index])
                } else {
                    0.0
                };
                if relu { sum.max(0.0) } else { sum }
            });
            let expected: Vec<f64> = expected.collect();
            let scale = scaled.then_some(&scale[..]);
            for arch in architectures() {
                let actual = forward_on(arch, &s, &images, &weight, scale, finish);
                assert_close(&actual, &expected, &format!("{s:?} {finish:?} {arch:?}"));
            }
        }
    }
}

#[test]
fn gradients_are_the_sums_of_products() {
    for &sizes in SHAPES {
        let s = shape(sizes);
        let (images, weight) = (values(s.input_len(), 1), values(s.weight_len(), 2));
        let (grad, scale) = (values(s.output_len(), 3), values(s.cout, 4));
        let mut of_weight = vec![0.0; weight.len()];
        let mut of_images = vec![0.0; images.len()];
        let mut of_images_scaled = of_images.clone();
        products(&s, |output, pixel, tap| {
            let grad = f64::from(grad[output]);
            of_weight[tap] += grad * f64::from(images[pixel]);
            let product = grad * f64::from(weight[tap]);
            of_images[pixel] += product;
            of_images_scaled[pixel] += product * f64::from(scale[tap / s.depth()]);
        });
        for arch in architectures() {
            let what = format!("{s:?} {arch:?}");
            assert_close(&weight_grad_on(arch, &s, &images, &grad), &of_weight, &what);
            let actual = input_grad_on(arch, &s, &grad, &weight, None);
            assert_close(&actual, &of_images, &what);
            let actual = input_grad_on(arch, &s, &grad, &weight, Some(&scale));
            assert_close(&actual, &of_images_scaled, &what);
        }
    }
}

#[test]
fn relu_grad_is_masked_and_summed_by_channel() {
    for (n, channels, plane) in [(1, 1, 1), (3, 2, 7), (2, 3, 16), (2, 2, 49), (1, 2, 20_000)] {
        let (grad, output) = (
            values(n * channels * plane, 1),
            values(n * channels * plane, 2),
        );
        let masked: Vec<f32> = grad
            .iter()
            .zip(&output)
            .map(|(&g, &y)| if y > 0.0 { g } else { 0.0 })
            .collect();
        let sums = |grad: &[f32]| {
            let mut sums = vec![0.0; channels];
            for (index, &value) in grad.iter().enumerate() {
                sums[index / plane % channels] += f64::from(value);
            }
            sums
        };
        let (none, shift) = relu_grad(&grad, None, channels, plane);
        assert_eq!(none, None);
        assert_close(&shift, &sums(&grad), "all");
        let (some, shift) = relu_grad(&grad, Some(&output), channels, plane);
        assert_eq!(some.as_ref(), Some(&masked));
        assert_close(&shift, &sums(&masked), "masked");
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    for &sizes in SHAPES {
        let s = shape(sizes);
        let (images, weight) = (values(s.input_len(), 1), values(s.weight_len(), 2));
        let (grad, scale) = (values(s.output_len(), 3), values(s.cout, 4));
        let run = |threads: usize| {
            let pool = ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| {
                let arch = Arch::new();
                let finish = Finish {
                    shift: Some(&scale),
                    residual: Some(&grad),
                    relu: true,
                };
                let output = forward_on(arch, &s, &images, &weight, Some(&scale), finish);
                let plane = s.out_height() * s.out_width();
                let (masked, shift) = relu_grad(&grad, Some(&output), s.cout, plane);
                [
                    output,
                    input_grad_on(arch, &s, &grad, &weight, Some(&scale)),
                    weight_grad_on(arch, &s, &images, &grad),
                    masked.unwrap_or_default(),
                    shift,
                ]
                .map(|values| values.into_iter().map(f32::to_bits).collect::<Vec<_>>())
            })
        };
        let one = run(1);
        for threads in [2, 3, 8] {
            assert!(run(threads) == one, "{s:?} with {threads} threads");
        }
    }
}

#[test]
fn without_images_or_output_channels_all_is_empty_or_zero() {
    let s = shape([0, 2, 5, 5, 3, 3, 1, 1]);
    let weight = values(s.weight_len(), 1);
    let arch = Arch::new();
    assert!(forward_on(arch, &s, &[], &weight, None, Finish::default()).is_empty());
    assert!(input_grad_on(arch, &s, &[], &weight, None).is_empty());
    assert_eq!(
        weight_grad_on(arch, &s, &[], &[]),
        vec![0.0; s.weight_len()]
    );
    assert_eq!(
        relu_grad(&[], Some(&[]), 3, 25),
        (Some(Vec::new()), vec![0.0; 3])
    );
}

#[test]
fn relu_keeps_what_is_not_a_number() {
    let s = shape([1, 1, 3, 40, 1, 1, 1, 0]);
    let mut images = values(s.input_len(), 1);
    images[7] = f32::NAN;
    images[119] = f32::NAN;
    let finish = Finish {
        relu: true,
        ..Finish::default()
    };
    for arch in architectures() {
        let output = forward_on(arch, &s, &images, &[1.0], None, finish);
        let positions = output
            .iter()
            .enumerate()
            .filter(|(_, value)| value.is_nan());
        assert_eq!(
            positions.map(|(index, _)| index).collect::<Vec<_>>(),
            [7, 119]
        );
    }
}
