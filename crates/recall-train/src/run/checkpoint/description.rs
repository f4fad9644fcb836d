//! What a user of the weights has to know, in the terms of torchvision.

use serde::Serialize;

use recall_engine::Pooling;

use crate::RunConfig;

#[derive(Serialize)]
pub(super) struct ModelDescription {
    backbone: &'static str,
    /// The function of torchvision or the model of timm that these weights are of.
    #[serde(skip_serializing_if = "Option::is_none")]
    architecture: Option<&'static str>,
    pooling: Pooling,
    dim: usize,
    preprocess: Preprocess,
}

/// `Resize(resize, interpolation)`, `CenterCrop(crop)`, or of a whole image
/// `thumbnail((longest_side, longest_side), interpolation)`; then `ToTensor()`, `Normalize(mean, std)`.
#[derive(Serialize)]
struct Preprocess {
    #[serde(skip_serializing_if = "Option::is_none")]
    resize: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    crop: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    longest_side: Option<usize>,
    interpolation: &'static str,
    mean: [f32; 3],
    std: [f32; 3],
}

impl ModelDescription {
    pub fn new(config: &RunConfig) -> Self {
        let RunConfig { model, image, .. } = config;
        let longest_side = image.eval.longest_side;
        let of_crop = |side| longest_side.is_none().then_some(side);
        Self {
            backbone: model.backbone.name(),
            architecture: model.backbone.architecture(),
            pooling: model.pooling(),
            dim: model.dim,
            preprocess: Preprocess {
                resize: of_crop(image.eval.resize),
                crop: of_crop(image.eval.crop),
                longest_side,
                interpolation: match longest_side {
                    Some(_) => "lanczos",
                    None => "bilinear",
                },
                mean: image.standardise.mean,
                std: image.standardise.std,
            },
        }
    }
}
