//! Models that turn images into embeddings: which ones there are.
//!
//! A model is a file of its own, an entry of [`ENTRIES`] and a variant of [`Network`].

mod config;
mod convnet;
mod draw;
mod embedder;
mod feature_head;
mod head;
mod principal;
mod recognise;
mod resnet;
mod start;
mod statistics;
mod vit;

use std::fmt;

use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};
use recall_nn::NnBackend;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{EngineError, Inputs};
pub use config::{ModelConfig, Pooling};
pub use convnet::{ConvNet, ConvNetConfig};
pub use embedder::Embedder;
pub use feature_head::{FeatureHead, FeatureHeadConfig};
pub use head::{EmbeddingHead, GeM, Head};
pub(crate) use recognise::of_another_model;
pub use resnet::{ResNet, ResNetConfig};
pub use start::Start;
pub use statistics::FeatureStatistics;
pub use vit::{VisionTransformer, VisionTransformerConfig};

/// The models there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Backbone {
    /// The small network for small images, see [`ConvNet`].
    #[default]
    Convnet,
    /// torchvision's `resnet18`.
    Resnet18,
    /// torchvision's `resnet34`.
    Resnet34,
    /// torchvision's `resnet50`.
    Resnet50,
    /// torchvision's `resnet101`.
    Resnet101,
    /// torchvision's `resnet152`.
    Resnet152,
    /// timm's `vit_small_patch16_224`.
    VitS16,
    /// timm's `vit_base_patch32_224`.
    VitB32,
    /// timm's `vit_base_patch16_224`.
    VitB16,
    /// timm's `vit_large_patch16_224`.
    VitL16,
    /// timm's `vit_small_patch14_dinov2`.
    Dinov2S14,
    /// timm's `vit_base_patch14_dinov2`.
    Dinov2B14,
    /// timm's `vit_large_patch14_dinov2`.
    Dinov2L14,
    /// timm's `vit_small_patch14_reg4_dinov2`.
    Dinov2S14Reg4,
    /// timm's `vit_base_patch14_reg4_dinov2`.
    Dinov2B14Reg4,
    /// timm's `vit_large_patch14_reg4_dinov2`.
    Dinov2L14Reg4,
    /// timm's `vit_base_patch32_clip_224`.
    ClipB32,
    /// timm's `vit_base_patch16_clip_224`.
    ClipB16,
    /// timm's `vit_large_patch14_clip_224`.
    ClipL14,
    /// timm's `vit_base_patch32_clip_quickgelu_224`.
    ClipB32Quickgelu,
    /// timm's `vit_base_patch16_clip_quickgelu_224`.
    ClipB16Quickgelu,
    /// timm's `vit_large_patch14_clip_quickgelu_224`.
    ClipL14Quickgelu,
    /// A linear map of features that were computed before, see [`FeatureHead`].
    Linear,
    /// The same with a hidden layer beside it.
    Residual,
    /// A model that a program gives to the trainer itself.
    Own,
}

/// What there is to know of a model.
struct Entry {
    backbone: Backbone,
    /// As it is written in a configuration.
    name: &'static str,
    /// The name that torchvision or timm gives it.
    architecture: Option<&'static str>,
    family: Family,
}

/// How a model is built.
#[derive(Clone, Copy)]
enum Family {
    ConvNet,
    ResNet {
        blocks: [usize; 4],
        bottleneck: bool,
    },
    VisionTransformer {
        patch: usize,
        size: Size,
        style: Style,
    },
    Head {
        residual: bool,
    },
    Own,
}

/// How large a transformer is.
#[derive(Clone, Copy)]
struct Size {
    width: usize,
    depth: usize,
    heads: usize,
}

const SMALL: Size = size(384, 12, 6);
const BASE: Size = size(768, 12, 12);
const LARGE: Size = size(1024, 24, 16);

const fn size(width: usize, depth: usize, heads: usize) -> Size {
    Size {
        width,
        depth,
        heads,
    }
}

/// What transformers of one size differ in.
#[derive(Clone, Copy, PartialEq)]
enum Style {
    /// That of the first publication.
    Plain,
    /// DINOv2: scaled branches and so many registers.
    Dinov2 { registers: usize },
    /// The image tower of CLIP.
    Clip { quick_gelu: bool },
}

const DINOV2: Style = Style::Dinov2 { registers: 0 };
const REGISTERS: Style = Style::Dinov2 { registers: 4 };
const CLIP: Style = Style::Clip { quick_gelu: false };
const OPENAI: Style = Style::Clip { quick_gelu: true };

/// A ResNet of so many blocks in its stages.
const fn resnet(blocks: [usize; 4], bottleneck: bool) -> Family {
    Family::ResNet { blocks, bottleneck }
}

const fn vit(patch: usize, size: Size, style: Style) -> Family {
    Family::VisionTransformer { patch, size, style }
}

const fn entry(
    backbone: Backbone,
    name: &'static str,
    architecture: Option<&'static str>,
    family: Family,
) -> Entry {
    Entry {
        backbone,
        name,
        architecture,
        family,
    }
}

#[rustfmt::skip]
const ENTRIES: [Entry; 25] = [
    entry(Backbone::Convnet, "convnet", None, Family::ConvNet),
    entry(Backbone::Resnet18, "resnet18", Some("resnet18"), resnet([2, 2, 2, 2], false)),
    entry(Backbone::Resnet34, "resnet34", Some("resnet34"), resnet([3, 4, 6, 3], false)),
    entry(Backbone::Resnet50, "resnet50", Some("resnet50"), resnet([3, 4, 6, 3], true)),
    entry(Backbone::Resnet101, "resnet101", Some("resnet101"), resnet([3, 4, 23, 3], true)),
    entry(Backbone::Resnet152, "resnet152", Some("resnet152"), resnet([3, 8, 36, 3], true)),
    entry(Backbone::VitS16, "vit-s16", Some("vit_small_patch16_224"), vit(16, SMALL, Style::Plain)),
    entry(Backbone::VitB32, "vit-b32", Some("vit_base_patch32_224"), vit(32, BASE, Style::Plain)),
    entry(Backbone::VitB16, "vit-b16", Some("vit_base_patch16_224"), vit(16, BASE, Style::Plain)),
    entry(Backbone::VitL16, "vit-l16", Some("vit_large_patch16_224"), vit(16, LARGE, Style::Plain)),
    entry(Backbone::Dinov2S14, "dinov2-s14", Some("vit_small_patch14_dinov2"), vit(14, SMALL, DINOV2)),
    entry(Backbone::Dinov2B14, "dinov2-b14", Some("vit_base_patch14_dinov2"), vit(14, BASE, DINOV2)),
    entry(Backbone::Dinov2L14, "dinov2-l14", Some("vit_large_patch14_dinov2"), vit(14, LARGE, DINOV2)),
    entry(Backbone::Dinov2S14Reg4, "dinov2-s14-reg4", Some("vit_small_patch14_reg4_dinov2"), vit(14, SMALL, REGISTERS)),
    entry(Backbone::Dinov2B14Reg4, "dinov2-b14-reg4", Some("vit_base_patch14_reg4_dinov2"), vit(14, BASE, REGISTERS)),
    entry(Backbone::Dinov2L14Reg4, "dinov2-l14-reg4", Some("vit_large_patch14_reg4_dinov2"), vit(14, LARGE, REGISTERS)),
    entry(Backbone::ClipB32, "clip-b32", Some("vit_base_patch32_clip_224"), vit(32, BASE, CLIP)),
    entry(Backbone::ClipB16, "clip-b16", Some("vit_base_patch16_clip_224"), vit(16, BASE, CLIP)),
    entry(Backbone::ClipL14, "clip-l14", Some("vit_large_patch14_clip_224"), vit(14, LARGE, CLIP)),
    entry(Backbone::ClipB32Quickgelu, "clip-b32-quickgelu", Some("vit_base_patch32_clip_quickgelu_224"), vit(32, BASE, OPENAI)),
    entry(Backbone::ClipB16Quickgelu, "clip-b16-quickgelu", Some("vit_base_patch16_clip_quickgelu_224"), vit(16, BASE, OPENAI)),
    entry(Backbone::ClipL14Quickgelu, "clip-l14-quickgelu", Some("vit_large_patch14_clip_quickgelu_224"), vit(14, LARGE, OPENAI)),
    entry(Backbone::Linear, "linear", None, Family::Head { residual: false }),
    entry(Backbone::Residual, "residual", None, Family::Head { residual: true }),
    entry(Backbone::Own, "own", None, Family::Own),
];

impl Backbone {
    /// Every one of them that a configuration alone creates.
    pub fn all() -> impl Iterator<Item = Self> {
        let all = ENTRIES.iter().map(|entry| entry.backbone);
        all.filter(|backbone| *backbone != Self::Own)
    }

    fn entry(self) -> &'static Entry {
        // A test sees to it that the entries stand in the order of the variants.
        &ENTRIES[self as usize]
    }

    /// As it is written in a configuration.
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// The name that torchvision or timm gives it.
    pub fn architecture(self) -> Option<&'static str> {
        self.entry().architecture
    }

    /// Pixels a side of a patch, of transformers.
    pub fn patch(self) -> Option<usize> {
        match self.family() {
            Family::VisionTransformer { patch, .. } => Some(patch),
            _ => None,
        }
    }

    /// Whether it is a head on rows of features, and takes no images.
    pub fn takes_features(self) -> bool {
        matches!(self.family(), Family::Head { .. })
    }

    fn family(self) -> Family {
        self.entry().family
    }
}

impl fmt::Display for Backbone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Family {
    /// The poolings that it can have, and the same in words.
    fn poolings(self) -> (&'static [Pooling], &'static str) {
        match self {
            Self::ConvNet | Self::Head { .. } | Self::Own => {
                (&[Pooling::AsPublished], "as-published alone")
            }
            Self::ResNet { .. } => (
                &[Pooling::AsPublished, Pooling::Gem, Pooling::Mean],
                "as-published, gem or mean",
            ),
            Self::VisionTransformer { .. } => (
                &[Pooling::AsPublished, Pooling::Cls, Pooling::Mean],
                "as-published, cls or mean",
            ),
        }
    }

    fn init<B: NnBackend>(
        self,
        config: &ModelConfig,
        image: [usize; 2],
        device: &B::Device,
    ) -> Result<Network<B>, EngineError> {
        Ok(match self {
            Self::ConvNet => Network::ConvNet(config.convnet().init(device)),
            Self::ResNet { blocks, bottleneck } => {
                let config = ResNetConfig {
                    blocks,
                    bottleneck,
                    dim: config.dim,
                    gem: config.pooling() == Pooling::Gem,
                    head: config.head,
                };
                Network::ResNet(config.init(device))
            }
            Self::VisionTransformer { patch, size, style } => {
                let (registers, quick_gelu) = match style {
                    Style::Plain => (0, false),
                    Style::Dinov2 { registers } => (registers, false),
                    Style::Clip { quick_gelu } => (0, quick_gelu),
                };
                let clip = matches!(style, Style::Clip { .. });
                let config = VisionTransformerConfig {
                    patch,
                    width: size.width,
                    depth: size.depth,
                    heads: size.heads,
                    layer_scale: matches!(style, Style::Dinov2 { .. }),
                    registers,
                    pre_norm: clip,
                    quick_gelu,
                    epsilon: if clip { 1e-5 } else { 1e-6 },
                    image,
                    dim: config.dim,
                    head: config.head,
                    mean: config.pooling() == Pooling::Mean,
                    dropout: config.dropout,
                    drop_path: config.drop_path,
                };
                Network::VisionTransformer(config.init(device))
            }
            Self::Head { residual } => {
                let nameless = || EngineError::NoFeatures(config.backbone.name());
                let features = config.features.ok_or_else(nameless)?;
                let hidden = config.hidden.unwrap_or(features.saturating_mul(2));
                let config = FeatureHeadConfig {
                    features,
                    dim: config.dim,
                    hidden: residual.then_some(hidden),
                    dropout: config.dropout,
                };
                Network::FeatureHead(config.init(device))
            }
            Self::Own => return Err(EngineError::OwnModel),
        })
    }
}

/// One of the models.
#[derive(Module, Debug)]
// A run holds one of these, so its size does not matter.
#[allow(clippy::large_enum_variant)]
pub enum Network<B: Backend> {
    /// The small network for small images.
    ConvNet(ConvNet<B>),
    /// A ResNet.
    ResNet(ResNet<B>),
    /// A vision transformer.
    VisionTransformer(VisionTransformer<B>),
    /// A head on features.
    FeatureHead(FeatureHead<B>),
}

/// The same of whichever model it is.
macro_rules! of_each {
    ($network:expr, $model:ident => $what:expr) => {
        match $network {
            Network::ConvNet($model) => $what,
            Network::ResNet($model) => $what,
            Network::VisionTransformer($model) => $what,
            Network::FeatureHead($model) => $what,
        }
    };
}

impl<B: NnBackend> Embedder<B> for Network<B> {
    fn embed(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        of_each!(self, model => model.embed(images))
    }

    fn embed_features(&self, features: Tensor<B, 2>) -> Tensor<B, 2> {
        of_each!(self, model => model.embed_features(features))
    }

    fn features(&self, images: Tensor<B, 4>) -> Option<Tensor<B, 2>> {
        of_each!(self, model => Embedder::features(model, images))
    }

    fn refusal(&self, inputs: &Inputs<'_>) -> Option<String> {
        of_each!(self, model => Embedder::<B>::refusal(model, inputs))
    }

    fn takes_half(&self) -> bool {
        of_each!(self, model => Embedder::<B>::takes_half(model))
    }

    fn started(self, start: Start, statistics: &FeatureStatistics) -> Result<Self, EngineError> {
        Ok(match self {
            Self::ConvNet(model) => Self::ConvNet(model.started(start, statistics)?),
            Self::ResNet(model) => Self::ResNet(model.started(start, statistics)?),
            Self::VisionTransformer(model) => {
                Self::VisionTransformer(model.started(start, statistics)?)
            }
            Self::FeatureHead(model) => Self::FeatureHead(model.started(start, statistics)?),
        })
    }

    fn stage(&self, path: &[&str]) -> Option<usize> {
        of_each!(self, model => Embedder::<B>::stage(model, path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_stand_in_the_order_of_the_variants_and_have_their_names() {
        for (at, entry) in ENTRIES.iter().enumerate() {
            assert_eq!(entry.backbone as usize, at);
            let written = format!("{:?}", entry.backbone).to_lowercase();
            assert_eq!(entry.name.replace('-', ""), written);
        }
    }
}
