//! Any of the models, chosen by configuration.

use std::fmt;
use std::path::PathBuf;

use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    ConvNet, ConvNetConfig, Embedder, ResNet50, VisionTransformer, VisionTransformerConfig,
};

/// The models there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Backbone {
    /// The small network for small images, see [`ConvNet`].
    #[default]
    Convnet,
    /// torchvision's `resnet50`.
    Resnet50,
    /// timm's `vit_small_patch16_224`.
    VitS16,
    /// timm's `vit_base_patch32_224`.
    VitB32,
    /// timm's `vit_base_patch16_224`.
    VitB16,
    /// timm's `vit_small_patch14_dinov2`.
    Dinov2S14,
    /// timm's `vit_base_patch14_dinov2`.
    Dinov2B14,
}

impl Backbone {
    /// Every one of them.
    pub const ALL: [Self; 7] = [
        Self::Convnet,
        Self::Resnet50,
        Self::VitS16,
        Self::VitB32,
        Self::VitB16,
        Self::Dinov2S14,
        Self::Dinov2B14,
    ];

    /// As it is written in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Convnet => "convnet",
            Self::Resnet50 => "resnet50",
            Self::VitS16 => "vit-s16",
            Self::VitB32 => "vit-b32",
            Self::VitB16 => "vit-b16",
            Self::Dinov2S14 => "dinov2-s14",
            Self::Dinov2B14 => "dinov2-b14",
        }
    }

    /// The name that torchvision or timm gives it.
    pub fn architecture(self) -> Option<&'static str> {
        match self {
            Self::Convnet => None,
            Self::Resnet50 => Some("resnet50"),
            Self::VitS16 => Some("vit_small_patch16_224"),
            Self::VitB32 => Some("vit_base_patch32_224"),
            Self::VitB16 => Some("vit_base_patch16_224"),
            Self::Dinov2S14 => Some("vit_small_patch14_dinov2"),
            Self::Dinov2B14 => Some("vit_base_patch14_dinov2"),
        }
    }

    /// Pixels a side of a patch, of transformers.
    pub fn patch(self) -> Option<usize> {
        match self {
            Self::Convnet | Self::Resnet50 => None,
            Self::VitS16 | Self::VitB16 => Some(16),
            Self::VitB32 => Some(32),
            Self::Dinov2S14 | Self::Dinov2B14 => Some(14),
        }
    }
}

impl fmt::Display for Backbone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

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
    /// The network; see docs/models.md.
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
        match self.backbone {
            Backbone::Convnet => self.convnet().smallest_side(),
            // Padded convolutions leave at least one pixel.
            Backbone::Resnet50 => 1,
            _ => self.backbone.patch().unwrap_or(1),
        }
    }

    /// The settings of `convnet`.
    fn convnet(&self) -> ConvNetConfig {
        ConvNetConfig {
            widths: self.widths.clone(),
            grid: self.grid,
            dim: self.dim,
        }
    }

    /// What makes no sense of settings in their ranges: the key and the reason.
    pub(crate) fn problem(&self) -> Option<(&'static str, String)> {
        let name = self.backbone;
        if self.widths.is_empty() {
            let problem = "give one number for each convolution";
            return Some(("model.widths", problem.into()));
        }
        let possible: &[Pooling] = match name {
            Backbone::Convnet => &[Pooling::AsPublished],
            Backbone::Resnet50 => &[Pooling::AsPublished, Pooling::Gem, Pooling::Mean],
            _ => &[Pooling::AsPublished, Pooling::Cls, Pooling::Mean],
        };
        if !possible.contains(&self.pooling) {
            let problem = format!(
                "{name} takes {}",
                match name {
                    Backbone::Convnet => "as-published alone",
                    Backbone::Resnet50 => "as-published, gem or mean",
                    _ => "as-published, cls or mean",
                }
            );
            return Some(("model.pooling", problem));
        }
        let transformer = name.patch().is_some();
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

    /// The pooling that is meant: never `as-published`, except for `convnet`, which has its own.
    pub fn pooling(&self) -> Pooling {
        match (self.pooling, self.backbone) {
            (Pooling::AsPublished, Backbone::Resnet50) => Pooling::Gem,
            (Pooling::AsPublished, Backbone::Convnet) => Pooling::AsPublished,
            (Pooling::AsPublished, _) => Pooling::Cls,
            (pooling, _) => pooling,
        }
    }

    /// Makes the model with random weights, for images of this height and width.
    ///
    /// # Panics
    ///
    /// If the settings make no sense, such as no `widths`.
    pub fn init<B: Backend>(&self, image: [usize; 2], device: &B::Device) -> Network<B> {
        let transformer = |width, heads, layer_scale| {
            let config = VisionTransformerConfig {
                patch: self.backbone.patch().unwrap_or(16),
                width,
                depth: 12,
                heads,
                layer_scale,
                image,
                dim: self.dim,
                mean: self.pooling() == Pooling::Mean,
                dropout: self.dropout,
                drop_path: self.drop_path,
            };
            Network::VisionTransformer(config.init(device))
        };
        match self.backbone {
            Backbone::Convnet => Network::ConvNet(self.convnet().init(device)),
            Backbone::Resnet50 => {
                let gem = self.pooling() == Pooling::Gem;
                Network::ResNet50(ResNet50::new(self.dim, gem, device))
            }
            Backbone::VitS16 => transformer(384, 6, false),
            Backbone::VitB32 | Backbone::VitB16 => transformer(768, 12, false),
            Backbone::Dinov2S14 => transformer(384, 6, true),
            Backbone::Dinov2B14 => transformer(768, 12, true),
        }
    }
}

/// One of the models.
#[derive(Module, Debug)]
// A run holds one of these, so its size does not matter.
#[allow(clippy::large_enum_variant)]
pub enum Network<B: Backend> {
    /// The small network for small images.
    ConvNet(ConvNet<B>),
    /// ResNet-50.
    ResNet50(ResNet50<B>),
    /// A vision transformer.
    VisionTransformer(VisionTransformer<B>),
}

impl<B: Backend> Embedder<B> for Network<B> {
    fn embed(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        match self {
            Self::ConvNet(model) => model.embed(images),
            Self::ResNet50(model) => model.embed(images),
            Self::VisionTransformer(model) => model.embed(images),
        }
    }
}

impl<B: Backend> Network<B> {
    /// The stage of the backbone that a parameter belongs to, from 0 at the image; none in the head.
    pub(crate) fn stage(&self, path: &[&str]) -> Option<usize> {
        let numbered = |index: usize| -> Option<usize> { path.get(index)?.parse().ok() };
        match (self, *path.first()?) {
            (Self::ConvNet(_), "stem") => Some(0),
            (Self::ConvNet(_), "convolutions") => Some(1 + numbered(1)?),
            (Self::ResNet50(_), "conv1" | "bn1") => Some(0),
            (Self::ResNet50(_), layer) => layer.strip_prefix("layer")?.parse().ok(),
            (Self::VisionTransformer(_), "patch_embed" | "cls_token" | "pos_embed") => Some(0),
            (Self::VisionTransformer(_), "blocks") => Some(1 + numbered(1)?),
            // After every block.
            (Self::VisionTransformer(_), "norm") => Some(usize::MAX - 1),
            _ => None,
        }
    }
}
