//! Trained models on disk, and what a run needs to go on from where it was.

mod description;
mod manifest;
mod name;
mod pointer;
mod store;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use recall_engine::ModelFiles;
use recall_eval::Evaluation;
use recall_eval::refine::Whitening;
use serde::{Deserialize, Serialize};

use super::DataRecord;
use crate::{RunConfig, RunError};
use manifest::Manifest;
use pointer::{BEST, LAST};
pub(in crate::run) use store::{Checkpoints, Contents};

/// Where in a run a checkpoint was taken.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CheckpointState {
    /// Whole epochs trained.
    pub epoch: u64,
    /// Steps of the epoch after these that were taken.
    pub step_in_epoch: u64,
    /// Steps taken in all.
    pub step: u64,
    /// Metrics of the last evaluation until then, by name; those of the validation classes, if some
    /// are held out.
    pub metrics: BTreeMap<String, f64>,
    /// The best checkpoint until then, by the validation classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<Best>,
    /// Lines of `metrics.jsonl` until then.
    pub records: usize,
    /// Seconds spent in training steps until then.
    pub training_seconds: f64,
    /// The most memory that the run took until then, in bytes, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory: Option<u64>,
    /// The backend that trained.
    pub backend: String,
    /// Tells other images from those of this run: the fingerprint of its [`DataRecord`].
    pub data: String,
}

/// The best checkpoint of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Whole epochs trained until it was taken.
    pub epoch: u64,
    /// Steps taken until then.
    pub step: u64,
    /// The metric that chose it, on the validation classes.
    pub value: f64,
    /// Their map@r, which chooses where that is equal. None where a run began before it was written down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map_at_r: Option<f64>,
}

impl CheckpointState {
    pub(super) fn judged(&mut self, evaluation: &Evaluation) {
        let metrics = evaluation.values.iter();
        self.metrics = metrics
            .map(|(metric, value)| (metric.to_string(), *value))
            .collect();
    }
}

/// A trained model on disk: a folder with `model.safetensors`, `model.json`, `config.toml`,
/// `state.json`, `data.json`, what a resumed run needs, and `manifest.json` with a hash of each file. The
/// first two are what a PyTorch user needs: tensors under the names of torchvision and timm, and how images are
/// prepared.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    path: PathBuf,
    /// The configuration of the run that made it.
    pub config: RunConfig,
    /// Where in the run it was taken.
    pub state: CheckpointState,
    note: Option<String>,
}

/// The folder of a run's checkpoints, in that of the run.
const CHECKPOINTS: &str = "checkpoints";
/// Behind the names of files and folders that are being written.
const UNFINISHED: &str = ".unfinished";

/// The weights that are judged: those of training, or their moving average.
const MODEL: &str = "model.safetensors";
/// The weights of training, where the model is their average.
const TRAINED: &str = "trained.safetensors";
const OPTIMISER: &str = "optimiser.safetensors";
/// What the loss trains and remembers, where it does.
const LOSS: &str = "loss.safetensors";
const DESCRIPTION: &str = "model.json";
/// What stands behind the model: learned after the run, and so in no manifest.
const WHITENING: &str = "whitening.safetensors";
const CONFIG: &str = "config.toml";
const STATE: &str = "state.json";

impl Checkpoint {
    /// Finds a checkpoint: `path` is one, or points to one as `last` and `best` do, or is a run folder,
    /// whose best one is taken, or the last one where no validation classes were held out to choose by.
    /// Where a pointer was lost, as in a copy, the state of the latest one says which it is.
    ///
    /// # Errors
    ///
    /// [`RunError::NoCheckpoint`], or what is wrong with its files.
    pub fn open(path: &Path) -> Result<Self, RunError> {
        Self::find(path, BEST)
    }

    /// The same, but of a run the last one, which training goes on from.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_last(path: &Path) -> Result<Self, RunError> {
        Self::find(path, LAST)
    }

    fn find(path: &Path, of_run: &'static str) -> Result<Self, RunError> {
        if let Some(place) = pointer::follow(path) {
            return Self::read(place);
        }
        let there = |path: &Path| path.symlink_metadata().is_ok();
        let (folder, which) = match (path.is_dir(), path.file_name().and_then(OsStr::to_str)) {
            (true, _) => {
                let folder = path.join(CHECKPOINTS);
                let wanted = folder.join(of_run);
                let last = pointer::follow(&folder.join(LAST)).filter(|_| !there(&wanted));
                if let Some(place) = pointer::follow(&wanted).or(last) {
                    return Self::read(place);
                }
                (folder, of_run)
            }
            (false, Some(which @ (LAST | BEST))) if there(path) => {
                (path.parent().unwrap_or(path).to_owned(), which)
            }
            _ => {
                return Err(RunError::NoCheckpoint {
                    path: path.to_owned(),
                });
            }
        };
        let place = store::by_state(&folder, which)?.ok_or_else(|| RunError::NoCheckpoint {
            path: path.to_owned(),
        })?;
        let pointer = folder.join(which);
        let mut found = Self::read(place)?;
        found.note = Some(format!(
            "{} leads to no checkpoint; {} is taken, by the state of the latest one",
            pointer.display(),
            found.path.display()
        ));
        Ok(found)
    }

    /// Reads the checkpoint in the folder `path`, every file of it looked at.
    fn read(path: PathBuf) -> Result<Self, RunError> {
        if let Some(problem) = Manifest::problem(&path) {
            return Err(RunError::DamagedCheckpoint { path, problem });
        }
        let read = |name: &str| {
            let file = path.join(name);
            fs::read_to_string(&file).map_err(RunError::file("read", file))
        };
        let origin = path.join(CONFIG).display().to_string();
        let mut config = RunConfig::read(Some((&origin, &read(CONFIG)?)), &[])?;
        if let Some(run) = path.parent().and_then(Path::parent) {
            follow_data(&mut config, run);
        }
        let state = serde_json::from_str(&read(STATE)?)
            .map_err(|error| RunError::file("read", path.join(STATE))(error.into()))?;
        Ok(Self {
            path,
            config,
            state,
            note: None,
        })
    }

    /// What should be said of how it was found: that a pointer was lost.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the run was trained and judged on; none where an earlier version wrote the checkpoint.
    ///
    /// # Errors
    ///
    /// [`RunError::File`] if the file cannot be read.
    pub fn data(&self) -> Result<Option<DataRecord>, RunError> {
        DataRecord::read(&self.path)
    }

    /// The SHA-256 of the weights that are judged, in hexadecimal digits.
    ///
    /// # Errors
    ///
    /// [`RunError::DamagedCheckpoint`] if the manifest does not have it any more.
    pub fn weights_hash(&self) -> Result<String, RunError> {
        Manifest::hash(&self.path, MODEL).ok_or_else(|| RunError::DamagedCheckpoint {
            path: self.path.clone(),
            problem: format!("its manifest has no hash of {MODEL}"),
        })
    }

    /// The whitening that stands behind its model, if the command `whiten` put one there.
    ///
    /// # Errors
    ///
    /// [`RunError::Eval`] if its file cannot be read or is something else.
    pub fn whitening(&self) -> Result<Option<Whitening>, RunError> {
        let file = self.whitening_file();
        Ok((file.exists())
            .then(|| Whitening::open(&file))
            .transpose()?)
    }

    /// Where a whitening of its embeddings belongs.
    pub(crate) fn whitening_file(&self) -> PathBuf {
        self.path.join(WHITENING)
    }

    /// The file with the weights that are judged.
    pub(crate) fn weights_file(&self) -> PathBuf {
        self.path.join(MODEL)
    }

    /// The files that training goes on with.
    pub(super) fn model_files(&self) -> ModelFiles {
        let files = model_files(&self.path);
        match Manifest::lists(&self.path, TRAINED) {
            true => files,
            false => ModelFiles {
                trained: files.judged.clone(),
                ..files
            },
        }
    }
}

/// Where the model is in the folder of a checkpoint.
fn model_files(folder: &Path) -> ModelFiles {
    ModelFiles {
        judged: folder.join(MODEL),
        trained: folder.join(TRAINED),
        optimiser: folder.join(OPTIMISER),
        loss: folder.join(LOSS),
    }
}

/// A run that went on after its data were moved knows the new place; checkpoints from before do not.
fn follow_data(config: &mut RunConfig, run: &Path) {
    let text = fs::read_to_string(run.join(CONFIG)).ok();
    let of_run = text.and_then(|text| RunConfig::read(Some((CONFIG, &text)), &[]).ok());
    if let Some(of_run) = of_run.filter(|of_run| of_run.agrees_but_for_paths(config)) {
        config.data = of_run.data;
    }
}
