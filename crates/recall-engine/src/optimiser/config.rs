//! Which optimiser, how fast and for how long.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::extent::Extent;

/// Which optimiser, how fast and for how long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OptimiserConfig {
    /// `adam` (decay through the gradient, as PyTorch's `Adam`) or `adamw` (decoupled decay).
    pub kind: OptimiserKind,
    /// Learning rate after the warm-up.
    ///
    /// Default 0.002.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub learning_rate: f64,
    /// Weight decay.
    ///
    /// Default 4·10⁻⁴, as in the paper.
    #[schemars(range(min = 0))]
    pub weight_decay: f32,
    /// Steps over which the learning rate rises linearly from 0, or their share of the run; 0 for
    /// none.
    ///
    /// Default 10, however short the run: what the first steps can bear does not depend on its length.
    pub warmup_steps: Extent,
    /// Where the learning rate is multiplied by `factor`: at the start of an epoch, from 0, or after a
    /// share of the run's steps.
    ///
    /// Default 0.7 and 0.9.
    pub milestones: Vec<Extent>,
    /// What a milestone multiplies the learning rate by.
    ///
    /// Default 0.3, as in the paper.
    #[schemars(range(max = 1), extend("exclusiveMinimum" = 0))]
    pub factor: f64,
    /// What the learning rate of the backbone is multiplied by.
    ///
    /// Default 1.
    #[schemars(range(min = 0))]
    pub backbone_rate: f64,
    /// What the learning rate of the head (pooling, LayerNorm, Linear) is multiplied by.
    ///
    /// Default 1.
    #[schemars(range(min = 0))]
    pub head_rate: f64,
    /// Whether the weights of normalisations, biases, layer scales, class token and position
    /// embeddings decay like all others.
    ///
    /// Default true, as in the paper.
    pub decay_norms_and_biases: bool,
    /// First stages of the backbone that are not trained: for `resnet50` the stem and `layer1` to
    /// `layer4`, for transformers the embedding of patches and each block.
    ///
    /// Default 0.
    pub freeze_stages: usize,
    /// Whether the head alone is trained.
    ///
    /// Default false.
    pub freeze_backbone: bool,
    /// The length to which the gradient of all parameters together is cut.
    ///
    /// Default none.
    #[schemars(extend("exclusiveMinimum" = 0))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// How much the moving average of the weights keeps of itself at a step, such as 0.999; it is the
    /// average that is evaluated and written.
    ///
    /// Default none.
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub average: Option<f64>,
    /// What happens to a step whose loss or gradient is not finite: `stop` ends the run, `skip` leaves
    /// the weights as they are and goes on.
    ///
    /// Default `stop`.
    pub non_finite: NonFinite,
}

/// What happens to a step whose loss or gradient is not finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NonFinite {
    /// The run ends; its checkpoints stay.
    #[default]
    Stop,
    /// The step is left out and counted.
    Skip,
}

/// The optimisers there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OptimiserKind {
    /// Adam with the weight decay added to the gradient.
    Adam,
    /// Adam with decoupled weight decay.
    AdamW,
}

impl Default for OptimiserConfig {
    fn default() -> Self {
        Self {
            kind: OptimiserKind::AdamW,
            learning_rate: 2e-3,
            weight_decay: 4e-4,
            warmup_steps: Extent::Whole(10),
            milestones: vec![Extent::Share(0.7), Extent::Share(0.9)],
            factor: 0.3,
            backbone_rate: 1.0,
            head_rate: 1.0,
            decay_norms_and_biases: true,
            freeze_stages: 0,
            freeze_backbone: false,
            clip_norm: None,
            average: None,
            non_finite: NonFinite::Stop,
        }
    }
}
