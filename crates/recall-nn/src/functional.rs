use burn::nn::{LayerNorm, Linear};
use burn::tensor::Tensor;

use crate::backend::{primitive, tensor};
use crate::{Conv2d, Layer, MaxPool2d, NnBackend};

/// `relu(scale · (x ∗ w) + shift + residual)`, each part if it is there: a convolution with a square
/// kernel, a frozen batch normalisation, a skip connection and ReLU in one pass over the output.
///
/// # Shapes
///
/// - images: `[n, in, height, width]`
/// - weight: `[out, in, k, k]`
/// - affine: scale and shift, `[out]` each
/// - residual, and output: `[n, out, (height + 2 padding − k) / stride + 1, …]`
pub fn conv2d<B: NnBackend>(
    images: Tensor<B, 4>,
    weight: Tensor<B, 4>,
    affine: Option<[Tensor<B, 1>; 2]>,
    residual: Option<Tensor<B, 4>>,
    settings: Conv2dOptions,
) -> Tensor<B, 4> {
    let layer = Layer::Conv2d(Conv2d {
        stride: settings.stride,
        padding: settings.padding,
        affine: affine.is_some(),
        residual: residual.is_some(),
        relu: settings.relu,
    });
    let mut inputs = vec![primitive(images), primitive(weight)];
    inputs.extend(affine.into_iter().flatten().map(primitive));
    inputs.extend(residual.map(primitive));
    tensor(B::layer(layer, inputs))
}

/// Settings of [`conv2d`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv2dOptions {
    /// Pixels from one position of the kernel to the next, on both axes.
    pub stride: usize,
    /// Zeros around the image.
    pub padding: usize,
    /// Whether negative outputs become zero.
    pub relu: bool,
}

/// The largest number in each window of each channel.
///
/// # Shapes
///
/// - images: `[n, channels, height, width]`
/// - output: `[n, channels, (height + 2 padding − kernel) / stride + 1, …]`
pub fn max_pool2d<B: NnBackend>(images: Tensor<B, 4>, pool: MaxPool2d) -> Tensor<B, 4> {
    tensor(B::layer(Layer::MaxPool2d(pool), vec![primitive(images)]))
}

/// What `norm` computes over the last axis; `epsilon` is the one that it was configured with, which Burn
/// does not tell.
///
/// # Shapes
///
/// - input and output: `[…, d]`
pub fn layer_norm<B: NnBackend, const D: usize>(
    input: Tensor<B, D>,
    norm: &LayerNorm<B>,
    epsilon: f64,
) -> Tensor<B, D> {
    let Some(beta) = &norm.beta else {
        return norm.forward(input);
    };
    let inputs = vec![
        primitive(input),
        primitive(norm.gamma.val()),
        primitive(beta.val()),
    ];
    tensor(B::layer(Layer::LayerNorm { epsilon }, inputs))
}

/// `x Φ(x)`, Φ the distribution function of the normal distribution.
pub fn gelu<B: NnBackend, const D: usize>(input: Tensor<B, D>) -> Tensor<B, D> {
    tensor(B::layer(Layer::Gelu, vec![primitive(input)]))
}

/// Self-attention of every token on all tokens of its image.
///
/// # Shapes
///
/// - packed: `[n, tokens, 3 · width]`: queries, keys and values, each `heads` times `width / heads`
/// - output: `[n, tokens, width]`
pub fn attention<B: NnBackend>(packed: Tensor<B, 3>, heads: usize) -> Tensor<B, 3> {
    tensor(B::layer(Layer::Attention { heads }, vec![primitive(packed)]))
}

/// What `linear` computes, with all leading axes as one: Burn would make a weight gradient for each
/// index of the first axis and add them up.
///
/// # Shapes
///
/// - input: `[…, in]`
/// - output: `[…, out]`
pub fn linear<B: NnBackend, const D: usize>(input: Tensor<B, D>, linear: &Linear<B>) -> Tensor<B, D> {
    let mut shape = input.dims();
    let rows: usize = shape[..D - 1].iter().product();
    let output = linear.forward(input.reshape([rows, shape[D - 1]]));
    shape[D - 1] = output.dims()[1];
    output.reshape(shape)
}
