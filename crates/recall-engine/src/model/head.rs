//! From a backbone's features to an embedding.

use burn::module::{Module, Param};
use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::tensor::{DType, Tensor, backend::Backend};
use recall_nn::{NnBackend, cast, gem, layer_norm, project};
use recall_step::l2_normalise;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Inputs;

/// What layer normalisation adds to the variance.
const EPSILON: f64 = 1e-5;

/// Generalised-mean pooling with one learnable exponent (Radenović, Tolias and Chum, TPAMI 2019).
///
/// `(mean over space of max(x, 10⁻⁶)ᵖ)^(1/p)`: the mean for p = 1, and towards the maximum as p
/// grows.
#[derive(Module, Debug)]
pub struct GeM<B: Backend> {
    /// `[1]`: the exponent, initially 3.
    pub p: Param<Tensor<B, 1>>,
}

impl<B: NnBackend> GeM<B> {
    /// Pooling with the exponent 3, where the paper starts.
    pub fn new(device: &B::Device) -> Self {
        Self {
            p: Param::from_tensor(Tensor::full([1], 3.0, device)),
        }
    }

    /// Pools each channel over space.
    ///
    /// # Shapes
    ///
    /// - map: `[n, channels, height, width]`
    /// - output: `[n, channels]`
    pub fn forward(&self, map: Tensor<B, 4>) -> Tensor<B, 2> {
        gem(map, self.p.val())
    }
}

/// What stands between pooled features and an embedding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Head {
    /// LayerNorm → Linear → L2, that of the paper.
    #[default]
    LayerNorm,
    /// L2 → Linear → L2, that of models for landmarks: the projection learns to whiten.
    Whitening,
}

/// The head of a backbone, see [`Head`].
#[derive(Module, Debug)]
pub struct EmbeddingHead<B: Backend> {
    /// None where rows are made unit instead.
    norm: Option<LayerNorm<B>>,
    linear: Linear<B>,
}

impl<B: NnBackend> EmbeddingHead<B> {
    /// A head that embeds `features` numbers in `dim`.
    pub fn new(features: usize, dim: usize, head: Head, device: &B::Device) -> Self {
        let norm = LayerNormConfig::new(features).with_epsilon(EPSILON);
        Self {
            norm: (head == Head::LayerNorm).then(|| norm.init(device)),
            linear: LinearConfig::new(features, dim).init(device),
        }
    }

    /// Embeds pooled features.
    ///
    /// # Shapes
    ///
    /// - features: `[n, features]`, of any precision: the head computes in that of its weights
    /// - output: `[n, dim]`, rows of unit length
    pub fn forward(&self, features: Tensor<B, 2>) -> Tensor<B, 2> {
        let features = cast(features, self.dtype());
        let normal = match &self.norm {
            Some(norm) => layer_norm(features, norm, EPSILON),
            None => l2_normalise(features),
        };
        l2_normalise(project(normal, &self.linear))
    }

    /// The precision that it computes in.
    pub(super) fn dtype(&self) -> DType {
        self.linear.weight.val().dtype()
    }

    /// How many numbers it takes.
    pub(super) fn features(&self) -> usize {
        // Burn holds the transpose.
        let [features, _] = self.linear.weight.dims();
        features
    }

    /// Why it cannot take these features.
    pub(super) fn refusal(&self, inputs: &Inputs<'_>) -> Option<String> {
        not_of_width(inputs, self.features())
    }
}

/// Why a head on rows of `width` features cannot take these, if they are features.
pub(super) fn not_of_width(inputs: &Inputs<'_>, width: usize) -> Option<String> {
    match inputs {
        Inputs::Features(features) if features.dim != width => Some(format!(
            "the head takes rows of {width} features, not of {}",
            features.dim
        )),
        _ => None,
    }
}
