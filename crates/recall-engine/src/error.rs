use std::path::PathBuf;

use recall_baselines::LossError;
use recall_eval::EvalError;
use recall_step::{CollectiveError, StepError};
use thiserror::Error;

use crate::LossFault;

/// Why an engine cannot do what it was asked to. Each message is one sentence that names the thing at
/// fault.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EngineError {
    /// A file of weights or of an optimiser's state does not fit the model or is damaged.
    #[error("cannot load the weights {path}: {problem}")]
    Weights {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// A file cannot be read or written.
    #[error("cannot {action} {path}: {source}")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The settings of the loss make no sense.
    #[error("loss: {0}")]
    Loss(#[from] LossError),
    /// A step could not be taken.
    #[error(transparent)]
    Step(StepError<LossFault>),
    /// The parts of a batch do not fit together.
    #[error("{0}")]
    Batch(String),
    /// The embeddings are not finite.
    #[error(transparent)]
    Embeddings(#[from] EvalError),
    /// A head cannot start from these statistics of features.
    #[error("{0}")]
    Start(String),
    /// Several ranks cannot go on together.
    #[error(transparent)]
    Ranks(#[from] CollectiveError),
    /// A setting needs the whole batch in one place.
    #[error("{0} is set, which several ranks cannot share: leave it out, or train in one process")]
    NotShared(&'static str),
    /// How many numbers a row of features has is not known.
    #[error(
        "model.backbone is `{0}`, a head on rows of features: model.features has to say how many numbers a row has"
    )]
    NoFeatures(&'static str),
    /// The backend has no numbers of this precision, or does not compute with them.
    #[error(
        "precision is `{precision}`, and {backend} computes in f32 alone: give precision f32, or another backend"
    )]
    Precision {
        /// As it is written in a configuration.
        precision: &'static str,
        /// The name of backend and device.
        backend: String,
    },
    /// The model takes images in `f32` alone.
    #[error("precision is `{0}`, and the model computes in f32 alone: give precision f32")]
    PrecisionOfModel(&'static str),
    /// The model is one of a program's own, and no configuration creates it.
    #[error(
        "model.backbone is `own`, a model that only the program which trains it can create: choose another one"
    )]
    OwnModel,
    /// A program brings its own model, and the configuration names another one.
    #[error(
        "the model is the program's own and model.backbone is `{0}`: set model.backbone to `own`"
    )]
    NotOwn(&'static str),
}

impl From<StepError<LossFault>> for EngineError {
    fn from(error: StepError<LossFault>) -> Self {
        match error {
            StepError::Ranks(error) | StepError::Objective(LossFault::Ranks(error)) => {
                Self::Ranks(error)
            }
            other => Self::Step(other),
        }
    }
}

impl EngineError {
    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            action,
            path,
            source,
        }
    }
}
