//! How a head is trained on embeddings that there are already.

use recall_data::DataSpec;

use super::{
    BatchConfig, BatchSize, ChunkSize, EvaluationConfig, LossConfig, OptimiserConfig, RunConfig,
};
use crate::{Backbone, Extent, ModelConfig};

/// Rows of features that the head takes at once.
const CHUNK: usize = 4096;

/// The settings that docs/features.md measures.
pub(super) fn features() -> RunConfig {
    RunConfig {
        data: DataSpec::Embeddings {
            file: "FILE".into(),
            labels: None,
        },
        epochs: 120,
        batch: BatchConfig {
            size: BatchSize::All,
            chunk: ChunkSize::Images(CHUNK),
            ..BatchConfig::default()
        },
        model: ModelConfig {
            backbone: Backbone::Residual,
            dropout: 0.2,
            ..ModelConfig::default()
        },
        loss: LossConfig {
            mixup: Some(false),
            ..LossConfig::default()
        },
        optimiser: OptimiserConfig {
            learning_rate: 1e-3,
            // Of 120 steps, as many as there are epochs, three.
            warmup_steps: Extent::Share(0.0225),
            ..OptimiserConfig::default()
        },
        evaluation: EvaluationConfig {
            every: 10,
            chunk: CHUNK,
            ..EvaluationConfig::default()
        },
        ..RunConfig::default()
    }
}
