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

    /// The stage of the backbone that the parameter at `path` belongs to, from 0 at the image; none in
    /// the head. Stages can be frozen, and backbone and head have learning rates of their own. By
    /// default everything is the head.
    fn stage(&self, path: &[&str]) -> Option<usize> {
        let _ = path;
        None
    }
}
