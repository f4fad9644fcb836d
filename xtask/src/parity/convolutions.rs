//! Convolutions and their gradients against Flex. Burn chooses among several kernels by time, so a whole network may
//! pass one that is wrong by luck.

use std::io::Write;

use anyhow::Context;
use burn::backend::Autodiff;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Initializer, PaddingConfig2d};
use burn::tensor::{Tensor, TensorData, backend::Backend};
use burn_flex::Flex;
use recall_nn::{Epilogue, NnBackend, conv2d};

const EXACT: f64 = 1e-5;
const TF32: f64 = 5e-3;

/// Kernel, stride and padding, as in ResNets, vision transformers and the small network. Strides larger than the kernel are
/// those of a ResNet's shortcuts.
const CONVOLUTIONS: [[usize; 3]; 6] = [
    [1, 1, 0],
    [1, 2, 0],
    [2, 3, 1],
    [3, 1, 1],
    [3, 2, 1],
    [4, 4, 0],
];
const IMAGES: [usize; 4] = [2, 8, 9, 9];
const CHANNELS: usize = 16;

/// Output, gradient of the images, gradient of the weight.
type Found = [Vec<f64>; 3];

/// Prints a row for each convolution, and gives the number of failures. `exact` is whether products are those of f32.
pub fn check<B: NnBackend>(name: &str, exact: bool) -> anyhow::Result<usize> {
    println!(
        "\n{name}: convolutions, against the CPU\n{:<42} {:>8} {:>8} {:>8}",
        "", "output", "images", "weight"
    );
    let tolerance = if exact { EXACT } else { TF32 };
    let mut failures = 0;
    for convolution in CONVOLUTIONS {
        let expected = by::<Flex>(convolution)?;
        let found = by::<B>(convolution)?;
        let mut errors = [0.0; 3];
        for (error, (expected, found)) in errors.iter_mut().zip(expected.iter().zip(&found)) {
            *error = apart(expected, found);
        }
        let ok = errors.iter().all(|error| *error <= tolerance);
        failures += usize::from(!ok);
        let [kernel, stride, padding] = convolution;
        let [output, images, weight] = errors;
        println!(
            "{:<42} {output:>8.0e} {images:>8.0e} {weight:>8.0e}  {}",
            format!("kernel {kernel}, stride {stride}, padding {padding}"),
            if ok { "ok" } else { "WRONG" }
        );
        std::io::stdout().flush()?;
    }
    Ok(failures)
}

fn by<B: NnBackend>([kernel, stride, padding]: [usize; 3]) -> anyhow::Result<Found> {
    let device = B::Device::default();
    let mut convolution: Conv2d<Autodiff<B>> =
        Conv2dConfig::new([IMAGES[1], CHANNELS], [kernel; 2])
            .with_stride([stride; 2])
            .with_padding(PaddingConfig2d::Explicit(
                padding, padding, padding, padding,
            ))
            .with_bias(false)
            .with_initializer(Initializer::Zeros)
            .init(&device);
    let weight = values::<Autodiff<B>>([CHANNELS, IMAGES[1], kernel, kernel], 3);
    convolution.weight = convolution.weight.map(|_| weight.require_grad());
    let images = values::<Autodiff<B>>(IMAGES, 5).require_grad();
    let output = conv2d(images.clone(), &convolution, Epilogue::default());
    let slope = values(output.dims(), 7);
    let gradients = (output.clone() * slope).sum().backward();
    let gradient = |of: Option<Tensor<B, 4>>| of.context("no gradient").map(numbers);
    Ok([
        numbers(output.inner()),
        gradient(images.grad(&gradients))?,
        gradient(convolution.weight.val().grad(&gradients))?,
    ])
}

/// Numbers from −0.5 to 0.5.
fn values<B: Backend>(shape: [usize; 4], seed: usize) -> Tensor<B, 4> {
    let values = (0..shape.iter().product()).map(|at| ((at * at + seed * at) % 31) as f32 / 30.0);
    let values: Vec<f32> = values.map(|value| value - 0.5).collect();
    Tensor::from_data(TensorData::new(values, shape), &B::Device::default())
}

fn numbers<B: Backend>(tensor: Tensor<B, 4>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// The largest difference, as a share of the largest number.
fn apart(expected: &[f64], found: &[f64]) -> f64 {
    let largest = |values: &mut dyn Iterator<Item = f64>| values.map(f64::abs).fold(0.0, f64::max);
    let differences = expected.iter().zip(found).map(|(a, b)| a - b);
    largest(&mut { differences }) / largest(&mut expected.iter().copied())
}
