use burn::nn::LayerNorm;
use burn::tensor::Tensor;

use crate::backend::{primitive, tensor};
use crate::{Layer, NnBackend, cast};

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
        // Burn's wants one type: that of the weights.
        let (dtype, wide) = (input.dtype(), norm.gamma.val().dtype());
        return cast(norm.forward(cast(input, wide)), dtype);
    };
    let inputs = vec![
        primitive(input),
        primitive(norm.gamma.val()),
        primitive(beta.val()),
    ];
    tensor(B::layer(Layer::LayerNorm { epsilon }, inputs))
}
