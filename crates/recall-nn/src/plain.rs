//! The layers as tensor operations, for backends that bring no kernels, and the oracle of those that do.
//! Burn differentiates them.

mod adam;

use burn::tensor::backend::Backend;
use burn::tensor::ops::{ConvOptions, FloatTensor};
use burn::tensor::{Tensor, TensorMetadata, activation, module};

use crate::backend::{primitive, tensor};
use crate::{Conv2d, Layer};

pub use adam::adam_step;

/// The sum of the squares of all numbers of a tensor by tensor operations alone, as `[1]`.
pub fn sum_of_squares<B: Backend>(tensor: FloatTensor<B>) -> FloatTensor<B> {
    B::float_sum(B::float_mul(tensor.clone(), tensor))
}

/// The output of `layer` by tensor operations alone.
///
/// # Panics
///
/// If there are fewer inputs than the layer has, or of other ranks.
pub fn forward<B: Backend>(layer: Layer, inputs: Vec<FloatTensor<B>>) -> FloatTensor<B> {
    let input = |index: usize| inputs[index].clone();
    match layer {
        Layer::Conv2d(settings) => conv2d::<B>(settings, inputs),
        Layer::MaxPool2d(pool) => primitive(module::max_pool2d::<B>(
            tensor(input(0)),
            [pool.kernel; 2],
            [pool.stride; 2],
            [pool.padding; 2],
            [1; 2],
            false,
        )),
        Layer::LayerNorm { epsilon } => {
            let shape = input(0).shape();
            let width = shape[shape.num_dims() - 1];
            let rows = [shape.num_elements() / width.max(1), width];
            let rows: Tensor<B, 2> = tensor(B::float_reshape(input(0), rows.into()));
            let (variance, mean) = rows.clone().var_mean_bias(1);
            let normal = (rows - mean) / variance.add_scalar(epsilon).sqrt();
            let [gamma, beta] = [1, 2].map(|index| tensor::<B, 1>(input(index)).unsqueeze::<2>());
            B::float_reshape(primitive(normal * gamma + beta), shape)
        }
        Layer::Gelu => B::gelu(input(0)),
        Layer::Attention { heads } => primitive(attention::<B>(tensor(input(0)), heads)),
    }
}

fn conv2d<B: Backend>(settings: Conv2d, inputs: Vec<FloatTensor<B>>) -> FloatTensor<B> {
    let mut inputs = inputs.into_iter();
    let mut next = || inputs.next().expect("as many inputs as the settings say");
    let (images, mut weight) = (tensor::<B, 4>(next()), tensor::<B, 4>(next()));
    // The scale goes into the weights: they are smaller than the output.
    let shift = settings.affine.then(|| {
        let scale: Tensor<B, 1> = tensor(next());
        weight = weight.clone() * scale.reshape([-1, 1, 1, 1]);
        tensor::<B, 1>(next())
    });
    let options = ConvOptions::new([settings.stride; 2], [settings.padding; 2], [1; 2], 1);
    let mut output = module::conv2d(images, weight, shift, options);
    if settings.residual {
        output = output + tensor(next());
    }
    primitive(match settings.relu {
        true => activation::relu(output),
        false => output,
    })
}

fn attention<B: Backend>(packed: Tensor<B, 3>, heads: usize) -> Tensor<B, 3> {
    let [n, tokens, triple] = packed.dims();
    let (width, each) = (triple / 3, triple / 3 / heads);
    let packed = packed.reshape([n, tokens, 3, heads, each]);
    let packed = packed.permute([2, 0, 3, 1, 4]);
    let part = |index: usize| -> Tensor<B, 4> { packed.clone().narrow(0, index, 1).squeeze_dim(0) };
    let queries = part(0).mul_scalar((each as f64).powf(-0.5));
    let weights = activation::softmax(queries.matmul(part(1).swap_dims(2, 3)), 3);
    let mixed = weights.matmul(part(2)).swap_dims(1, 2);
    mixed.reshape([n, tokens, width])
}
