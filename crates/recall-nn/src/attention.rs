use burn::tensor::Tensor;

use crate::backend::{primitive, tensor};
use crate::{Layer, NnBackend};

/// Self-attention of every token on all tokens of its image (Vaswani et al., NeurIPS 2017).
///
/// # Shapes
///
/// - packed: `[n, tokens, 3 · width]`: queries, keys and values in this order, each `heads` times
///   `width / heads` numbers
/// - output: `[n, tokens, width]`
pub fn attention<B: NnBackend>(packed: Tensor<B, 3>, heads: usize) -> Tensor<B, 3> {
    tensor(B::layer(
        Layer::Attention { heads },
        vec![primitive(packed)],
    ))
}
