use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};

use super::{FeatureStatistics, Start};
use crate::{EngineError, Inputs};

/// A model that the trainer can train: images in, unit embeddings out.
///
/// A model whose backbone hands a row of numbers to a head can say so by [`features`](Self::features) and
/// [`embed_features`](Self::embed_features). While its backbone is frozen, the head is then trained on
/// features that were computed once.
pub trait Embedder<B: Backend>: Module<B> {
    /// Embeds normalised images.
    ///
    /// # Shapes
    ///
    /// - images: `[n, 3, height, width]`, standardised as the model expects; their type is the precision
    /// - output: `[n, d]`, rows of unit length, in the type of the parameters
    fn embed(&self, images: Tensor<B, 4>) -> Tensor<B, 2>;

    /// From the features that the head takes to embeddings. By default features are images of one pixel
    /// with as many channels.
    ///
    /// # Shapes
    ///
    /// - features: `[n, features]`
    /// - output: `[n, d]`, rows of unit length
    fn embed_features(&self, features: Tensor<B, 2>) -> Tensor<B, 2> {
        let [n, dim] = features.dims();
        self.embed(features.reshape([n, dim, 1, 1]))
    }

    /// What the backbone hands to the head, if all that is before is of some [`stage`](Self::stage) and
    /// all that is behind of none: then `embed_features` of it is `embed`, operation by operation. By
    /// default the model has no such place.
    ///
    /// # Shapes
    ///
    /// - images: as those of [`embed`](Self::embed)
    /// - output: `[n, features]`
    fn features(&self, images: Tensor<B, 4>) -> Option<Tensor<B, 2>> {
        let _ = images;
        None
    }

    /// Why the model cannot take these inputs, in a sentence without a full stop. By default it takes any.
    fn refusal(&self, inputs: &Inputs<'_>) -> Option<String> {
        let _ = inputs;
        None
    }

    /// Whether the images may be in half precision, `f16` or `bf16`, while the parameters are `f32`. Such a model
    /// computes in the precision of its images, as the functions of `recall-nn` do, and casts what it computes with
    /// a parameter otherwise; its embeddings are `f32`. By default it takes `f32` alone, as Burn's own layers do.
    fn takes_half(&self) -> bool {
        false
    }

    /// The model as it begins on features with these statistics. By default there is no such beginning.
    ///
    /// # Errors
    ///
    /// [`EngineError::Start`] if the model is no head on features, or the statistics do not suit it.
    fn started(self, start: Start, statistics: &FeatureStatistics) -> Result<Self, EngineError> {
        let _ = (start, statistics);
        let problem = "the model is no head on features, so it cannot start from their statistics";
        Err(EngineError::Start(problem.into()))
    }

    /// The stage of the backbone that the parameter at `path` belongs to, from 0 at the image; none in
    /// the head. Stages can be frozen, and backbone and head have learning rates of their own. By
    /// default everything is the head.
    fn stage(&self, path: &[&str]) -> Option<usize> {
        let _ = path;
        None
    }
}
