//! Models that turn images into embeddings.

mod convnet;
mod head;
mod network;
mod resnet;
mod vit;

pub use convnet::{ConvNet, ConvNetConfig};
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
