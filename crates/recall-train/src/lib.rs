//! Train image-retrieval embeddings on Recall@k itself, with very large batches in bounded memory.
//!
//! Layers, each usable without the next:
//!
//! - [`TwoPass`], the optimisation step of `recall-step`, for any model, any loss over embeddings and
//!   any Burn backend;
//! - [`Engine`], a model with what trains it, on a device of any backend: all of `recall-engine` is
//!   exported here;
//! - [`TrainingRun`], a whole run: data, batches, schedule, evaluation, checkpoints, report; and
//!   [`TrainedModel`], which embeds with the result;
//! - [`command`], the `recall-train` program.

// A line that cannot be written must not end a run: `command::print` is where lines are written.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod command;
pub mod compare;
pub mod embed;
pub mod judge;
pub mod plan;

mod backend;
mod config;
mod error;
mod index;
mod loss_title;
mod records;
mod run;
mod trained;

pub use backend::{BackendError, NamedBackend};
pub use config::{
    BatchConfig, BatchSize, Boxes, Bytes, CheckpointConfig, ChunkSize, ConfigError,
    EvaluationConfig, FeatureCacheConfig, ImageConfig, Orientation, Passes, Preset, RunConfig,
};
pub use error::RunError;
pub use index::{Found, Index};
pub use recall_engine::*;
pub use recall_step::{
    Collective, CollectiveError, FrozenBatchNorm, FrozenBatchNormConfig, StepError, StepOutput,
    TwoPass, l2_normalise,
};
pub use records::{EvaluationRecord, Judged, StepRecord};
pub use run::{
    Best, Checkpoint, CheckpointState, DataRecord, Finished, Loading, Place, Progress, Ranks,
    RunFolder, SeenClasses, TrainingRun,
};
pub use trained::TrainedModel;
