//! Models that turn images into embeddings.

mod convnet;
mod frozen_batch_norm;
mod head;
mod network;
mod resnet;
mod vit;

pub use convnet::{ConvNet, ConvNetConfig};
pub use frozen_batch_norm::{FrozenBatchNorm, FrozenBatchNormConfig};
pub use head::{EmbeddingHead, GeM};
pub use network::{Backbone, ModelConfig, Network, Pooling};
pub use resnet::ResNet50;
pub use vit::{VisionTransformer, VisionTransformerConfig};

use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};

/// A model that the trainer can train: images in, unit embeddings out.
pub trait Embedder<B: Backend>: Module<B> {
    /// Embeds normalised images.
    ///
    /// # Shapes
    ///
    /// - images: `[n, 3, height, width]`, standardised as the model expects
    /// - output: `[n, d]`, rows of unit length
    fn embed(&self, images: Tensor<B, 4>) -> Tensor<B, 2>;
}

/// Scales each row to unit length, so that dot products are cosines.
///
/// A row shorter than 10⁻⁶ is divided by that instead, and stays finite.
///
/// # Shapes
///
/// - rows: `[n, d]`
/// - output: `[n, d]`
pub fn l2_normalise<B: Backend>(rows: Tensor<B, 2>) -> Tensor<B, 2> {
    // Clamped before the root: its slope at 0 is infinite. No division: its backward pass takes a
    // reciprocal, which burn-ndarray approximates to four digits.
    let squared = rows.clone().powf_scalar(2.0).sum_dim(1).clamp_min(1e-12);
    rows * squared.powf_scalar(-0.5)
}
