//! Which model, and its settings.

use std::path::PathBuf;

use recall_nn::NnBackend;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::convnet::ConvNetConfig;
use super::principal::MOST_PRINCIPAL;
use super::{Backbone, Family, Head, Network, Start};
use crate::EngineError;

/// How the features of an image become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// What the paper does: GeM for ResNets, the class token for transformers.
    #[default]
    AsPublished,
    /// Generalised mean with a learnable exponent, for ResNets.
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
    /// How features become one vector; as published: GeM for ResNets, the class token for transformers.
    pub pooling: Pooling,
    /// Of ResNets and transformers, what stands behind the pooling: `layer-norm` → linear → L2 as in the paper, or
    /// `whitening`, L2 → linear → L2 as in models for landmarks.
    pub head: Head,
    /// Share of numbers dropped: after projections of transformers, of the features that `linear` and
    /// `residual` take.
    ///
    /// Default 0.
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub dropout: f64,
    /// Stochastic depth of the last block, for transformers.
    ///
    /// Default 0.
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub drop_path: f64,
    /// Of transformers: whether images whose sides are no whole patches are padded with zeros at the right and the bottom,
    /// as timm's `dynamic_img_pad` does it. Otherwise images that keep their ratio are brought to whole patches.
    ///
    /// Default false.
    pub pad_patches: bool,
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
    /// Of `linear` and `residual`: numbers of a row of features; follows from the data.
    #[schemars(range(min = 1, max = 1_048_576))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub features: Option<usize>,
    /// Of `residual`: numbers of the hidden layer.
    ///
    /// Default twice the features.
    #[schemars(range(min = 1, max = 1_048_576))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hidden: Option<usize>,
    /// Of `linear` and `residual`: the weights to start from, by the training rows.
    ///
    /// Default `pca`.
    pub start: Start,
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
            head: Head::default(),
            dropout: 0.0,
            drop_path: 0.0,
            pad_patches: false,
            widths,
            grid,
            features: None,
            hidden: None,
            start: Start::default(),
            weights: None,
        }
    }
}

impl ModelConfig {
    /// The fewest pixels that a side of an image can have.
    pub fn smallest_side(&self) -> usize {
        match self.backbone.family() {
            Family::ConvNet => self.convnet().smallest_side(),
            // Padded convolutions leave at least one pixel; an own model knows itself, and a head on features
            // takes no image.
            Family::ResNet { .. } | Family::Own | Family::Head { .. } => 1,
            Family::VisionTransformer { .. } => self.side_step(),
        }
    }

    /// What sides of images have to be multiples of: the side of a patch, unless these are padded; else 1.
    pub fn side_step(&self) -> usize {
        let patch = self.backbone.patch().filter(|_| !self.pad_patches);
        patch.unwrap_or(1)
    }

    /// Rows and columns of patches that a transformer makes of an image of this height and width.
    pub fn patch_grid(&self, image: [usize; 2]) -> Option<[usize; 2]> {
        let patch = self.backbone.patch()?;
        Some(image.map(|side| side.div_ceil(patch)))
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
        let head = matches!(family, Family::Head { .. });
        let resnet = matches!(family, Family::ResNet { .. });
        if !transformer && !resnet && self.head != Head::default() {
            let problem = format!("{name} has a head of its own; leave it layer-norm");
            return Some(("model.head", problem));
        }
        if !transformer && !head && self.dropout > 0.0 {
            let problem = format!("{name} has no dropout; leave it 0");
            return Some(("model.dropout", problem));
        }
        if !transformer && self.drop_path > 0.0 {
            let problem = format!("{name} has no stochastic depth; leave it 0");
            return Some(("model.drop_path", problem));
        }
        if !transformer && self.pad_patches {
            let problem = format!("{name} has no patches; leave it false");
            return Some(("model.pad_patches", problem));
        }
        if !head && name != Backbone::Own && self.features.is_some() {
            let problem = format!("{name} takes images; leave it out");
            return Some(("model.features", problem));
        }
        if !matches!(family, Family::Head { residual: true }) && self.hidden.is_some() {
            let problem = format!("{name} has no hidden layer of its own; leave it out");
            return Some(("model.hidden", problem));
        }
        if !head && self.start != Start::default() {
            let problem = format!(
                "{name} is no head on features; leave it {}",
                Start::default()
            );
            return Some(("model.start", problem));
        }
        match self.features {
            Some(features)
                if head && self.start.wants_covariance() && features > MOST_PRINCIPAL =>
            {
                let problem = format!(
                    "the principal directions of {features} numbers take too long, {MOST_PRINCIPAL} are the most; choose another start"
                );
                Some(("model.start", problem))
            }
            _ => None,
        }
    }

    /// The pooling that is meant: never `as-published`, except for models that have one of their own.
    pub fn pooling(&self) -> Pooling {
        match (self.pooling, self.backbone.family()) {
            (Pooling::AsPublished, Family::ResNet { .. }) => Pooling::Gem,
            (Pooling::AsPublished, Family::VisionTransformer { .. }) => Pooling::Cls,
            (pooling, _) => pooling,
        }
    }

    /// Creates the model with random weights, for images of this height and width.
    ///
    /// # Errors
    ///
    /// [`EngineError::OwnModel`]: only the program knows it. [`EngineError::NoFeatures`]: a head on features
    /// needs their number.
    ///
    /// # Panics
    ///
    /// If the settings make no sense, such as no `widths`: see [`problem`](Self::problem).
    pub fn init<B: NnBackend>(
        &self,
        image: [usize; 2],
        device: &B::Device,
    ) -> Result<Network<B>, EngineError> {
        self.backbone.family().init(self, image, device)
    }
}
