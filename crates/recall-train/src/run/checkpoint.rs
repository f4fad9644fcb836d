use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::backend::Backend;
use recall_eval::Evaluation;
use serde::{Deserialize, Serialize};

use super::RunFolder;
use crate::{Network, Pooling, RunConfig, RunError, load_weights, save_weights};

/// Where in a run a checkpoint was taken and how good it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckpointState {
    /// Epochs trained.
    pub epoch: u64,
    /// Steps taken.
    pub step: u64,
    /// Metrics on the unseen classes.
    pub metrics: BTreeMap<String, f64>,
}

impl CheckpointState {
    pub(crate) fn new(epoch: u64, step: u64, evaluation: &Evaluation) -> Self {
        let metrics = evaluation.values.iter();
        let metrics = metrics
            .map(|(metric, value)| (metric.to_string(), *value))
            .collect();
        Self {
            epoch,
            step,
            metrics,
        }
    }
}

/// A trained model on disk: a folder with `model.safetensors`, `model.json`, `config.toml` and
/// `state.json`. The first two are what a PyTorch user needs: tensors under the names of torchvision
/// and timm, and how images are prepared.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    path: PathBuf,
    /// The configuration of the run that made it.
    pub config: RunConfig,
    /// Where in the run it was taken.
    pub state: CheckpointState,
}

const MODEL: &str = "model.safetensors";
const DESCRIPTION: &str = "model.json";
const CONFIG: &str = "config.toml";
const STATE: &str = "state.json";

impl Checkpoint {
    /// Finds a checkpoint: `path` is one, or a run folder, whose last one is taken.
    ///
    /// # Errors
    ///
    /// [`RunError::NoCheckpoint`], or what is wrong with its configuration or state.
    pub fn open(path: &Path) -> Result<Self, RunError> {
        let places = [path.to_owned(), path.join("checkpoints/last")];
        let path = places
            .into_iter()
            .find(|place| place.join(MODEL).is_file())
            .ok_or_else(|| RunError::NoCheckpoint {
                path: path.to_owned(),
            })?;
        let read = |name: &str| {
            let file = path.join(name);
            fs::read_to_string(&file).map_err(RunError::file("read", file))
        };
        let origin = path.join(CONFIG).display().to_string();
        let config = RunConfig::read(Some((&origin, &read(CONFIG)?)), &[])?;
        let state = serde_json::from_str(&read(STATE)?)
            .map_err(|error| RunError::file("read", path.join(STATE))(error.into()))?;
        Ok(Self {
            path,
            config,
            state,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Loads the model.
    ///
    /// # Errors
    ///
    /// [`RunError::Weights`] if a tensor is missing, left over or of another shape.
    pub fn load<B: Backend>(&self, device: &B::Device) -> Result<Network<B>, RunError> {
        let model = self.config.init_model::<B>(device);
        let (model, _) = load_weights(model, &self.path.join(MODEL), self.config.patch_grid())?;
        Ok(model)
    }

    /// Writes `checkpoints/NAME`: made whole beside it, then swapped in.
    pub(crate) fn save<B: Backend>(
        folder: &RunFolder,
        name: &str,
        model: &Network<B>,
        config: &RunConfig,
        state: &CheckpointState,
    ) -> Result<(), RunError> {
        let parent = folder.path().join("checkpoints");
        let target = parent.join(name);
        let unfinished = parent.join(format!("{name}.tmp"));
        let previous = parent.join(format!("{name}.old"));
        for leftover in [&unfinished, &previous] {
            if leftover.exists() {
                fs::remove_dir_all(leftover).map_err(RunError::file("remove", leftover))?;
            }
        }
        fs::create_dir_all(&unfinished).map_err(RunError::file("create", &unfinished))?;

        save_weights(model, &unfinished.join(MODEL))?;
        fs::copy(folder.path().join(CONFIG), unfinished.join(CONFIG))
            .map_err(RunError::file("write", unfinished.join(CONFIG)))?;
        write_json(
            &unfinished.join(DESCRIPTION),
            &ModelDescription::new(config),
        )?;
        write_json(&unfinished.join(STATE), state)?;

        if target.exists() {
            fs::rename(&target, &previous).map_err(RunError::file("replace", &target))?;
        }
        fs::rename(&unfinished, &target).map_err(RunError::file("write", &target))?;
        if previous.exists() {
            fs::remove_dir_all(&previous).map_err(RunError::file("remove", &previous))?;
        }
        Ok(())
    }
}

/// What a user of the weights has to know, in the terms of torchvision.
#[derive(Serialize)]
struct ModelDescription {
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
    fn new(config: &RunConfig) -> Self {
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

fn write_json(path: &Path, value: &impl Serialize) -> Result<(), RunError> {
    let text = serde_json::to_vec_pretty(value)
        .map_err(|error| RunError::file("write", path)(error.into()))?;
    fs::write(path, text).map_err(RunError::file("write", path))
}
