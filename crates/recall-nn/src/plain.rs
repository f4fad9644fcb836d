//! The layers as tensor operations, for backends that bring no kernels, and the oracle of those that do.
//! Burn differentiates them.

mod adam;
mod conv2d;

use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{DType, Tensor, TensorMetadata, activation, module};

use crate::Layer;
use crate::backend::{primitive, tensor};

pub use adam::adam_step;

/// The sum of the squares of all numbers of a tensor by tensor operations alone, as `[1]`.
pub fn sum_of_squares<B: Backend>(tensor: FloatTensor<B>) -> FloatTensor<B> {
    B::float_sum(B::float_mul(tensor.clone(), tensor))
}

/// The output of `layer` by tensor operations alone.
///
/// In half precision products are in the type of the first input, to which weights are rounded, and statistics,
/// exponentials and logarithms are in `f32`.
///
/// # Panics
///
/// If there are fewer inputs than the layer has, or of other ranks.
pub fn forward<B: Backend>(layer: Layer, inputs: Vec<FloatTensor<B>>) -> FloatTensor<B> {
    let input = |index: usize| inputs[index].clone();
    let dtype = inputs[0].dtype();
    let wide = match is_half(dtype) {
        true => DType::F32,
        false => dtype,
    };
    let widened = |index: usize| cast::<B>(input(index), wide);
    match layer {
        Layer::Conv2d(settings) => primitive(conv2d::conv2d::<B>(settings, inputs)),
        Layer::MaxPool2d {
            kernel,
            stride,
            padding,
        } => primitive(module::max_pool2d::<B>(
            tensor(input(0)),
            [kernel; 2],
            [stride; 2],
            [padding; 2],
            [1; 2],
            false,
        )),
        Layer::LayerNorm { epsilon } => {
            let shape = input(0).shape();
            let width = shape[shape.num_dims() - 1];
            let rows = [shape.num_elements() / width.max(1), width];
            let rows: Tensor<B, 2> = tensor(B::float_reshape(widened(0), rows.into()));
            let (variance, mean) = rows.clone().var_mean_bias(1);
            let normal = (rows - mean) / variance.add_scalar(epsilon).sqrt();
            let [gamma, beta] = [1, 2].map(|index| tensor::<B, 1>(widened(index)).unsqueeze::<2>());
            let rows = cast::<B>(primitive(normal * gamma + beta), dtype);
            B::float_reshape(rows, shape)
        }
        Layer::Gelu => cast::<B>(gelu::<B>(widened(0)), dtype),
        Layer::GeM => {
            let pooled = gem::<B>(tensor(widened(0)), tensor(widened(1)));
            cast::<B>(primitive(pooled), dtype)
        }
        Layer::Attention { heads } => primitive(attention::<B>(tensor(input(0)), heads)),
        Layer::Linear { bias } => {
            let weight = tensor::<B, 2>(cast::<B>(input(1), dtype));
            let bias = bias.then(|| tensor::<B, 1>(cast::<B>(input(2), dtype)));
            primitive(module::linear(tensor::<B, 2>(input(0)), weight, bias))
        }
        Layer::Cast { to } => cast::<B>(input(0), to.into()),
    }
}

fn is_half(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16)
}

/// The same numbers in another type.
fn cast<B: Backend>(values: FloatTensor<B>, dtype: DType) -> FloatTensor<B> {
    match values.dtype() == dtype {
        true => values,
        false => B::float_cast(values, dtype.into()),
    }
}

/// By the error function, which Burn differentiates. Its own GELU has the gradient of an approximation by
/// tanh on most backends, off by up to 3 · 10⁻⁴.
fn gelu<B: Backend>(input: FloatTensor<B>) -> FloatTensor<B> {
    let root = std::f64::consts::FRAC_1_SQRT_2;
    let distribution = B::float_erf(B::float_mul_scalar(input.clone(), root.into()));
    let distribution = B::float_mul_scalar(B::float_add_scalar(distribution, 1.into()), 0.5.into());
    B::float_mul(input, distribution)
}

fn gem<B: Backend>(map: Tensor<B, 4>, p: Tensor<B, 1>) -> Tensor<B, 2> {
    // Powers through logarithms: the exponent is a tensor that has a gradient of its own.
    let logarithms = map.flatten::<3>(2, 3).clamp_min(1e-6).log();
    let mean = (logarithms * p.clone().reshape([1, 1, 1]))
        .exp()
        .mean_dim(2);
    let inverse = p.powf_scalar(-1.0).reshape([1, 1]);
    (mean.squeeze_dim::<2>(2).log() * inverse).exp()
}

fn attention<B: Backend>(packed: Tensor<B, 3>, heads: usize) -> Tensor<B, 3> {
    let [n, tokens, triple] = packed.dims();
    let (width, each) = (triple / 3, triple / 3 / heads);
    let packed = packed.reshape([n, tokens, 3, heads, each]);
    let packed = packed.permute([2, 0, 3, 1, 4]);
    let part = |index: usize| -> Tensor<B, 4> { packed.clone().narrow(0, index, 1).squeeze_dim(0) };
    let queries = part(0).mul_scalar((each as f64).powf(-0.5));
    let dtype = packed.dtype();
    let scores = primitive(queries.matmul(part(1).swap_dims(2, 3)));
    let scores: Tensor<B, 4> = match is_half(dtype) {
        true => tensor(cast::<B>(scores, DType::F32)),
        false => tensor(scores),
    };
    let weights = primitive(activation::softmax(scores, 3));
    let weights: Tensor<B, 4> = tensor(cast::<B>(weights, dtype));
    let mixed = weights.matmul(part(2)).swap_dims(1, 2);
    mixed.reshape([n, tokens, width])
}
