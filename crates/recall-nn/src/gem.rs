use burn::tensor::Tensor;

use crate::backend::{primitive, tensor};
use crate::{Layer, NnBackend};

/// Generalised-mean pooling of each channel over space with the exponent `p` (Radenović, Tolias and Chum,
/// TPAMI 2019): `(mean of max(x, 10⁻⁶)ᵖ)^(1/p)`.
///
/// # Shapes
///
/// - map: `[n, channels, height, width]`
/// - p: `[1]`, above zero
/// - output: `[n, channels]`
pub fn gem<B: NnBackend>(map: Tensor<B, 4>, p: Tensor<B, 1>) -> Tensor<B, 2> {
    tensor(B::layer(Layer::GeM, vec![primitive(map), primitive(p)]))
}
