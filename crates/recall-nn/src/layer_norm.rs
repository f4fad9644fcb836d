use burn::nn::LayerNorm;
use burn::tensor::Tensor;

use crate::backend::{primitive, tensor};
use crate::{Layer, NnBackend};

/// What `norm` computes over the last axis. `epsilon` is the one that it was configured with, which Burn
/// keeps to itself.
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
