//! Which model, and its settings.

use std::path::PathBuf;

use recall_nn::NnBackend;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::convnet::ConvNetConfig;
use super::{Backbone, Family, Network};
use crate::EngineError;

/// How the features of an image become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// What the paper does: GeM for `resnet50`, the class token for transformers.
    #[default]
    AsPublished,
    /// Generalised mean with a learnable exponent, for `resnet50`.
    Gem,
    /// The class token, for transformers.
    Cls,
    /// The mean over the image.
    Mean,
}

/// Which model, and its settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// The network, see docs/models.md; `own` is one that a program brings itself.
    pub backbone: Backbone,
    /// Numbers of an embedding.
    ///
    /// Default 128; the paper uses 512.
    #[schemars(range(min = 1, max = 65_536))]
    pub dim: usize,
    /// How features become one vector; as published: GeM for ResNet-50, the class token for transformers.
    pub pooling: Pooling,
    /// Share of numbers dropped after projections, for transformers.
    ///
    /// Default 0.
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub dropout: f64,
    /// Stochastic depth of the last block, for transformers.
    ///
    /// Default 0.
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub drop_path: f64,
    /// Of `convnet`: channels of the stem and of each convolution after it.
    ///
    /// Default 64, 128, 256.
    #[schemars(inner(range(min = 1, max = 4096)))]
    pub widths: Vec<usize>,
    /// Of `convnet`: cells a side to which the last feature map is averaged.
    ///
    /// Default 4.
    #[schemars(range(min = 1, max = 64))]
    pub grid: usize,
    /// Weights to start from: a file in safetensors format or a state dict of PyTorch, see
    /// docs/models.md; `--weights`.
    #[schemars(title = "a path")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,
}

impl Default for ModelConfig {
    fn default() -> Self {
        let ConvNetConfig { widths, grid, dim } = ConvNetConfig::default();
        Self {
            backbone: Backbone::default(),
            dim,
            pooling: Pooling::default(),
            dropout: 0.0,
            drop_path: 0.0,
            widths,
            grid,
            weights: None,
        }
    }
}

impl ModelConfig {
    /// The fewest pixels that a side of an image can have.
    pub fn smallest_side(&self) -> usize {
        match self.backbone.family() {
            Family::ConvNet => self.convnet().smallest_side(),
            // Padded convolutions leave at least one pixel; an own model knows itself.
            Family::ResNet50 | Family::Own => 1,
            Family::VisionTransformer { patch, .. } => patch,
        }
    }

    /// Rows and columns of patches that a transformer makes of an image of this height and width.
    pub fn patch_grid(&self, image: [usize; 2]) -> Option<[usize; 2]> {
        let patch = self.backbone.patch()?;
        Some(image.map(|side| side / patch))
    }

    /// The settings of `convnet`.
    pub(super) fn convnet(&self) -> ConvNetConfig {
        ConvNetConfig {
            widths: self.widths.clone(),
            grid: self.grid,
            dim: self.dim,
        }
    }

    /// What makes no sense of settings in their ranges: the key and the reason.
    pub fn problem(&self) -> Option<(&'static str, String)> {
        let name = self.backbone;
        let family = name.family();
        if self.widths.is_empty() {
            let problem = "give one number for each convolution";
            return Some(("model.widths", problem.into()));
        }
        let (possible, said) = family.poolings();
        if !possible.contains(&self.pooling) {
            return Some(("model.pooling", format!("{name} takes {said}")));
        }
        let transformer = matches!(family, Family::VisionTransformer { .. });
        if !transformer && self.dropout > 0.0 {
            let problem = format!("{name} has no dropout; leave it 0");
            return Some(("model.dropout", problem));
        }
        if !transformer && self.drop_path > 0.0 {
            let problem = format!("{name} has no stochastic depth; leave it 0");
            return Some(("model.drop_path", problem));
        }
        None
    }

    /// The pooling that is meant: never `as-published`, except for models that have one of their own.
    pub fn pooling(&self) -> Pooling {
        match (self.pooling, self.backbone.family()) {
            (Pooling::AsPublished, Family::ResNet50) => Pooling::Gem,
            (Pooling::AsPublished, Family::VisionTransformer { .. }) => Pooling::Cls,
            (pooling, _) => pooling,
        }
    }

    /// Creates the model with random weights, for images of this height and width.
    ///
    /// # Errors
    ///
    /// [`EngineError::OwnModel`]: only the program knows it.
    ///
    /// # Panics
    ///
    /// If the settings make no sense, such as no `widths`: see [`problem`](Self::problem).
    pub fn init<B: NnBackend>(
        &self,
        image: [usize; 2],
        device: &B::Device,
    ) -> Result<Network<B>, EngineError> {
        let network = self.backbone.family().init(self, image, device);
        network.ok_or(EngineError::OwnModel)
    }
}
