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

/// `Resize(resize, interpolation)`, `CenterCrop(crop)`, `ToTensor()`, `Normalize(mean, std)`.
#[derive(Serialize)]
struct Preprocess {
    resize: usize,
    crop: usize,
    interpolation: &'static str,
    mean: [f32; 3],
    std: [f32; 3],
}

impl ModelDescription {
    pub fn new(config: &RunConfig) -> Self {
        let RunConfig { model, image, .. } = config;
        Self {
            backbone: model.backbone.name(),
            architecture: model.backbone.architecture(),
            pooling: model.pooling(),
            dim: model.dim,
            preprocess: Preprocess {
                resize: image.eval.resize,
                crop: image.eval.crop,
                interpolation: "bilinear",
                mean: image.standardise.mean,
                std: image.standardise.std,
            },
        }
    }
}
