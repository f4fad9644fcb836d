//! Train image-retrieval embeddings on Recall@k itself, with very large batches in bounded memory.
//!
//! Three layers, each usable without the next:
//!
//! - [`TwoPass`], the optimisation step of `recall-step`, for any model, any loss over embeddings and
//!   any Burn backend;
//! - [`TrainingRun`], a whole run: data, batches, schedule, evaluation, checkpoints, report;
//! - [`command`], the `recall-train` program.

#![recursion_limit = "256"]
// A line that cannot be written must not end a run: `command::print` is where lines are written.
#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod command;
pub mod compare;
pub mod embed;
pub mod judge;
pub mod memory;
pub mod plan;

mod backend;
mod config;
mod error;
mod model;
mod optimiser;
mod pixels;
mod records;
mod run;
mod weights;

pub use backend::{BackendError, BackendName, OnBackend};
pub use config::{
    BatchConfig, BatchSize, Boxes, Bytes, CheckpointConfig, ChunkSize, ConfigError,
    EvaluationConfig, ImageConfig, LossConfig, Orientation, Preset, RunConfig,
};
pub use error::RunError;
pub use model::*;
pub use optimiser::{Extent, NonFinite, Optimiser, OptimiserConfig, OptimiserKind};
pub use pixels::Standardisation;
pub use recall_step::{
    FrozenBatchNorm, FrozenBatchNormConfig, StepError, StepOutput, TwoPass, l2_normalise,
};
pub use records::{EvaluationRecord, Judged, StepRecord};
pub use run::{
    Best, Checkpoint, CheckpointState, DataRecord, Finished, Loading, Place, Progress, RunFolder,
    SeenClasses, TrainingRun,
};
pub use weights::{LoadedWeights, load_weights, save_weights};
