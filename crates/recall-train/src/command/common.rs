//! Options that commands have in common.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::{Args, ValueEnum};
use recall_data::{Benchmark, CorruptPolicy, DataError, DataSpec, Dataset};

use super::print::say;
use crate::{Checkpoint, Loading, NamedBackend, Precision, RunError};

/// What every command takes.
#[derive(Debug, Args)]
pub(super) struct CommonArgs {
    /// Where to compute: auto, cuda, wgpu, flex (CPU) or ndarray (CPU, slow reference).
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub backend: NamedBackend,
    #[arg(long, value_name = "SPEC", help = data_help())]
    data: Option<DataSpec>,
    /// The class of each row of embeddings, if it is not in that file: whole numbers in .npy or .safetensors, or for
    /// --data embeddings:FILE a table in CSV with the column label and, if wanted, path, split, is_query and
    /// is_gallery, a line for each row.
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// Threads that decode images; 0 takes one for each core. Results do not depend on it.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub threads: usize,
    /// Leave out images that cannot be read, and count them, instead of stopping at the first.
    #[arg(long)]
    pub skip_corrupt: bool,
    /// Print results only, no progress.
    #[arg(long)]
    pub quiet: bool,
}

/// What names a data set, in the help of whatever takes one.
pub(super) fn data_help() -> String {
    format!(
        "The images: emoji, folder:DIR, csv:FILE, or a benchmark in the folder DIR, one of {} \
         followed by :DIR; or rows of features, embeddings:FILE. Without it: those of the settings or the checkpoint, else emoji",
        Benchmark::ALL.map(Benchmark::name).join(", ")
    )
}

/// Images that nobody searches for.
#[derive(Debug, Default, Args)]
pub(super) struct DistractorArgs {
    /// Images that are added to the gallery of the data set, where they are wrong for every query:
    /// revisitop1m:DIR for roxford5k and rparis6k, or any other images.
    #[arg(long, value_name = "SPEC")]
    distractors: Option<DataSpec>,
}

impl DistractorArgs {
    /// Whether there are some.
    pub fn are_named(&self) -> bool {
        self.distractors.is_some()
    }

    /// The data set with those that were named; `open` reads their lists.
    ///
    /// # Errors
    ///
    /// Those of `open`, and a data set without a gallery that others search.
    pub fn added(
        &self,
        dataset: Dataset,
        open: impl FnOnce(&DataSpec) -> Result<Dataset, DataError>,
    ) -> Result<Dataset, DataError> {
        match &self.distractors {
            Some(spec) => dataset.with_distractors(&open(spec)?),
            None => Ok(dataset),
        }
    }
}

/// The data set that was named, with the labels that go with it.
///
/// # Errors
///
/// Labels without rows to label, or named twice.
pub(super) fn with_labels(
    data: Option<&DataSpec>,
    labels: Option<&Path>,
) -> anyhow::Result<Option<DataSpec>> {
    let Some(labels) = labels else {
        return Ok(data.cloned());
    };
    match data {
        Some(DataSpec::Embeddings { file, labels: None }) => Ok(Some(DataSpec::Embeddings {
            file: file.clone(),
            labels: Some(labels.to_owned()),
        })),
        Some(DataSpec::Embeddings {
            labels: Some(other),
            ..
        }) => bail!(
            "labels are named twice, {} by --data and {} by --labels: leave one out",
            other.display(),
            labels.display()
        ),
        _ => bail!(
            "--labels {} goes with --data embeddings:FILE",
            labels.display()
        ),
    }
}

impl CommonArgs {
    /// The data set that was named, if one was.
    ///
    /// # Errors
    ///
    /// [`with_labels`].
    pub fn data(&self) -> anyhow::Result<Option<DataSpec>> {
        with_labels(self.data.as_ref(), self.labels.as_deref())
    }

    pub fn loading(&self) -> Loading {
        let corrupt = if self.skip_corrupt {
            CorruptPolicy::Skip
        } else {
            CorruptPolicy::Error
        };
        Loading {
            threads: self.threads,
            corrupt,
        }
    }
}

/// Whether a file of embeddings is of the format that holds labels, too.
pub(super) fn holds_labels(path: &Path) -> bool {
    let extension = path.extension();
    extension.is_some_and(|extension| extension.eq_ignore_ascii_case("safetensors"))
}

/// A checkpoint to load, for the commands that need a trained model.
#[derive(Debug, Args)]
pub(super) struct CheckpointArg {
    /// The folder of a run, or of one of its checkpoints.
    #[arg(long, value_name = "DIR")]
    pub checkpoint: PathBuf,
}

impl CheckpointArg {
    pub fn open(&self) -> Result<Checkpoint, RunError> {
        open_checkpoint(&self.checkpoint)
    }
}

/// How the model of a checkpoint computes.
#[derive(Debug, Args)]
pub(super) struct BackboneArgs {
    /// In which precision the backbone computes, instead of that of the run: f32, bf16 or f16.
    #[arg(
        long,
        value_name = "TYPE",
        value_enum,
        requires = "checkpoint",
        hide_possible_values = true
    )]
    backbone_precision: Option<BackbonePrecision>,
    /// Embed whole images, made smaller to a longest side of so many pixels, instead of image.eval of the run.
    #[arg(long, value_name = "PIXELS", requires = "checkpoint")]
    longest_side: Option<usize>,
    /// Factors of size at which each image is embedded, such as 1,0.7071,0.5, instead of evaluation.scales of the
    /// run.
    #[arg(
        long,
        value_name = "FACTORS",
        value_delimiter = ',',
        requires = "checkpoint"
    )]
    scales: Vec<f64>,
    /// The power of the mean over the scales, instead of evaluation.scale_power of the run.
    #[arg(long, value_name = "POWER", requires = "checkpoint")]
    scale_power: Option<f64>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum BackbonePrecision {
    F32,
    Bf16,
    F16,
}

impl BackboneArgs {
    /// The checkpoint whose model computes so.
    ///
    /// # Errors
    ///
    /// Sizes that the model does not take.
    pub fn of(&self, mut checkpoint: Checkpoint) -> Result<Checkpoint, RunError> {
        let Self {
            backbone_precision: _,
            longest_side,
            scales,
            scale_power,
        } = self;
        let config = &mut checkpoint.config;
        let before = config.clone();
        if longest_side.is_some() {
            config.image.eval.longest_side = *longest_side;
        }
        if !scales.is_empty() {
            config.evaluation.scales.clone_from(scales);
        }
        if let Some(power) = scale_power {
            config.evaluation.scale_power = *power;
        }
        if *config != before {
            config.check()?;
        }
        if let Some(precision) = self.backbone_precision {
            checkpoint.config.precision = match precision {
                BackbonePrecision::F32 => Precision::F32,
                BackbonePrecision::Bf16 => Precision::Bf16,
                BackbonePrecision::F16 => Precision::F16,
            };
        }
        Ok(checkpoint)
    }
}

/// Opens the checkpoint that `path` leads to, and says what should be said of how it was found.
pub(super) fn open_checkpoint(path: &Path) -> Result<Checkpoint, RunError> {
    let checkpoint = Checkpoint::open(path)?;
    checkpoint.note().into_iter().for_each(say);
    Ok(checkpoint)
}
