use std::path::{Path, PathBuf};

use recall_data::{DataError, Split};
use recall_engine::{EngineError, LossFault};
use recall_eval::EvalError;
use recall_step::{CollectiveError, StepError};
use thiserror::Error;

use crate::{BackendError, ConfigError, Judged};

/// Why a run stopped. Each message is one sentence that names the thing at fault.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// The data set cannot be read or sampled.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The data set of a run that was begun is not where it was.
    #[error("{source}; if the images were moved, --data says where they are now")]
    DataMoved {
        /// What is not there.
        source: DataError,
    },
    /// The configuration makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A step could not be taken.
    #[error("epoch {epoch}, step {step}: {source}")]
    Step {
        /// The epoch, from 0.
        epoch: u64,
        /// The step within the epoch, from 0.
        step: u64,
        /// Why.
        source: StepError<LossFault>,
    },
    /// The embeddings cannot be judged.
    #[error(transparent)]
    Eval(#[from] EvalError),
    /// A file or folder cannot be read or written.
    #[error("cannot {action} {path}: {source}")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file of a run that had begun cannot be read or written, since the disk is full, say; or one of its ranks
    /// is missing.
    #[error("{source}; once that is mended, recall-train --resume {path} goes on")]
    Broken {
        /// The folder of the run.
        path: PathBuf,
        /// What went wrong.
        source: Box<RunError>,
    },
    /// The folder of a run is not empty.
    #[error(
        "{path} is not empty; choose another --out, or go on with the run in it by --resume {path}; \
         nothing in it was touched"
    )]
    Occupied {
        /// The folder.
        path: PathBuf,
    },
    /// A folder was expected to hold a run or a checkpoint and does not.
    #[error("{path} holds no checkpoint; give the folder of a run, or of one of its checkpoints")]
    NoCheckpoint {
        /// The folder.
        path: PathBuf,
    },
    /// A file of a checkpoint is missing or not as it was written.
    #[error("the checkpoint {path} is damaged: {problem}")]
    DamagedCheckpoint {
        /// Its folder.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The checkpoint that a run would go on from is damaged.
    #[error("the last checkpoint {path} is damaged: {problem}; {way_out}")]
    DamagedLast {
        /// Its folder.
        path: PathBuf,
        /// What is wrong.
        problem: String,
        /// What can be done.
        way_out: String,
    },
    /// A run cannot go on from where it is told to.
    #[error("cannot resume from {path}: {problem}")]
    Resume {
        /// The run or the checkpoint.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// A new run cannot begin with what another one learned.
    #[error("cannot start from {path}: {problem}")]
    Start {
        /// The checkpoint of the other run.
        path: PathBuf,
        /// Why, and what can be done.
        problem: String,
    },
    /// Another process works on the run.
    #[error("another process is writing to the run {path}; wait for it or stop it")]
    Busy {
        /// The folder of the run.
        path: PathBuf,
    },
    /// A loss or a gradient is not finite.
    #[error(
        "epoch {epoch}, step {step}: {what}; a lower optimiser.learning_rate, optimiser.clip_norm=1 or \
         optimiser.non_finite=skip may help; the last checkpoint is as it was"
    )]
    NonFinite {
        /// The epoch, from 0.
        epoch: u64,
        /// The step within the epoch, from 0.
        step: u64,
        /// What is not finite.
        what: String,
    },
    /// The user asked the run to stop.
    #[error("stopped after step {step}; recall-train --resume {path} goes on")]
    Interrupted {
        /// The folder of the run.
        path: PathBuf,
        /// Steps taken.
        step: u64,
    },
    /// The weights of a checkpoint do not fit the model or are damaged.
    #[error("cannot load the weights {path}: {problem}")]
    Weights {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
    /// A split has no images.
    #[error(
        "the data set {dataset} has no {split} images; --data names another one, and eval and embed take \
         another part by --split"
    )]
    EmptySplit {
        /// Name of the data set.
        dataset: String,
        /// Which.
        split: Split,
    },
    /// Nothing says which images belong together.
    #[error(
        "the images of {dataset} are in no class folders, so nothing says which belong together: they can be \
         embedded and searched, but {what} needs DIR/class/image"
    )]
    Unlabelled {
        /// Name of the data set.
        dataset: String,
        /// What needs labels.
        what: &'static str,
    },
    /// Nothing says which rows of features belong together.
    #[error(
        "nothing says which rows of {dataset} belong together: they can be embedded and searched, but {what} \
         needs labels, as the tensor labels, in {dataset}.labels.npy or by --labels"
    )]
    UnlabelledRows {
        /// Name of the data set.
        dataset: String,
        /// What needs labels.
        what: &'static str,
    },
    /// No batch of an epoch had images enough that could be read.
    #[error(
        "epoch {epoch}: no step could be taken, as too few images of each batch can be read; {first}: \
         `recall-train check` lists what is wrong"
    )]
    NoStep {
        /// The epoch, from 0.
        epoch: u64,
        /// What is wrong with the first of the images.
        first: String,
    },
    /// Not one image could be read, though unreadable ones may be skipped.
    #[error(
        "not one of {images} images of {dataset} can be read, the first because {first}: `recall-train \
         check` says what is wrong with each"
    )]
    NothingRead {
        /// Name of the data set.
        dataset: String,
        /// How many were tried.
        images: usize,
        /// What is wrong with the first of them.
        first: String,
    },
    /// The user asked to stop before the first step.
    #[error("stopped before the first step")]
    StoppedEarly,
    /// Rows of features do not fit the model.
    #[error("the rows cannot be used: {problem}")]
    Rows {
        /// Why.
        problem: String,
    },
    /// Images that a run is to be judged by cannot judge anything.
    #[error(
        "the {split} images of {dataset} cannot judge a run, as {problem}; give a class two images there, or \
         train without {split} images"
    )]
    NothingToFind {
        /// Name of the data set.
        dataset: String,
        /// Which images.
        split: Judged,
        /// What is missing.
        problem: &'static str,
    },
    /// The files of an index do not fit together or cannot be read; the whole sentence.
    #[error("{0}")]
    Index(String),
    /// Several ranks cannot go on together.
    #[error("{0}")]
    Ranks(#[from] CollectiveError),
    /// A rank does not do what the others do.
    #[error(
        "rank {rank} has {what} than rank 0: ranks have to be of one build, one command and one kind of device"
    )]
    OtherRank {
        /// Which.
        rank: usize,
        /// What is different, such as `other settings`.
        what: &'static str,
    },
    /// The engine cannot do what it was asked to.
    #[error(transparent)]
    Engine(EngineError),
    /// The backend cannot be used.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The report could not be drawn.
    #[error("cannot draw the report: {0}")]
    Report(#[from] recall_report::ReportError),
}

impl RunError {
    /// What is said of it in the midst of the run in the folder `run`.
    pub(crate) fn during(self, run: &Path) -> Self {
        match self {
            broken @ (Self::File { .. } | Self::Ranks(_)) => Self::Broken {
                path: run.to_owned(),
                source: Box::new(broken),
            },
            other => other,
        }
    }

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

impl From<EngineError> for RunError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Weights { path, problem } => Self::Weights { path, problem },
            EngineError::File {
                action,
                path,
                source,
            } => Self::File {
                action,
                path,
                source,
            },
            EngineError::Loss(source) => Self::Config(source.into()),
            EngineError::Embeddings(source) => Self::Eval(source),
            EngineError::Ranks(source) => Self::Ranks(source),
            other => Self::Engine(other),
        }
    }
}
