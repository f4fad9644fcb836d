use burn::nn::Linear;
use burn::tensor::Tensor;

use crate::backend::{primitive, tensor};
use crate::{Layer, NnBackend};

/// What `linear` computes, with all leading axes as one: of an input of three axes Burn computes a weight
/// gradient for each index of the first axis and adds them up.
///
/// An input of another type than the weights, which are `f32`, gives an output of its own type.
///
/// # Shapes
///
/// - input: `[…, in]`
/// - output: `[…, out]`
pub fn linear<B: NnBackend, const D: usize>(
    input: Tensor<B, D>,
    linear: &Linear<B>,
) -> Tensor<B, D> {
    let mut shape = input.dims();
    let rows: usize = shape[..D - 1].iter().product();
    let rows = input.reshape([rows, shape[D - 1]]);
    let bias = linear.bias.as_ref().map(|bias| primitive(bias.val()));
    let layer = Layer::Linear {
        bias: bias.is_some(),
    };
    let mut inputs = vec![primitive(rows), primitive(linear.weight.val())];
    inputs.extend(bias);
    let output = tensor::<B, 2>(B::layer(layer, inputs));
    shape[D - 1] = output.dims()[1];
    output.reshape(shape)
}
