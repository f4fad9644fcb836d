use burn::tensor::Tensor;

use crate::backend::{primitive, tensor};
use crate::{Layer, NnBackend};

/// `x Φ(x)`, Φ the distribution function of the normal distribution (Hendrycks and Gimpel, 2016).
pub fn gelu<B: NnBackend, const D: usize>(input: Tensor<B, D>) -> Tensor<B, D> {
    tensor(B::layer(Layer::Gelu, vec![primitive(input)]))
}
