//! Everything that determines a run, as one TOML document.

use burn::tensor::backend::Backend;
use recall_data::{
    BatchSamplerConfig, CacheConfig, ColourJitter, DataError, DataSpec, Dataset, EvalTransform,
    RandomResizedCrop, SmallClasses, TrainTransform, TransformConfig,
};
use recall_eval::Metric;
use recall_loss::{LossError, RecallAtKLossConfig};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::judge::metrics;
use crate::{ModelConfig, Network, OptimiserConfig, Standardisation};

/// Why a configuration is refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The document is no TOML, or a key or value in it is not known.
    #[error("{origin}: {problem}")]
    Document {
        /// The file or option it came from.
        origin: String,
        /// What is wrong, on one line.
        problem: String,
    },
    /// A setting that parses but makes no sense.
    #[error("{key}: {problem}")]
    Value {
        /// The key, with dots.
        key: &'static str,
        /// What is wrong and what is possible.
        problem: String,
    },
    /// A setting of the loss makes no sense.
    #[error("loss: {0}")]
    Loss(#[from] LossError),
}

/// A training run. The default trains on the embedded emoji in minutes on a CPU.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunConfig {
    /// The data set: `emoji`, `folder:DIR`, `csv:FILE`, or a benchmark and its folder.
    pub data: DataSpec,
    /// Everything random follows from this: weights, batches, augmentation, mixup, dropout.
    pub seed: u64,
    /// How often the sampler goes through the training images.
    pub epochs: u64,
    /// How batches are formed and taken.
    pub batch: BatchConfig,
    /// The model.
    pub model: ModelConfig,
    /// The loss.
    pub loss: LossConfig,
    /// The optimiser and its schedule.
    pub optimiser: OptimiserConfig,
    /// Augmentation, sizes and standardisation of images.
    pub image: ImageConfig,
    /// Evaluation on the classes that are not trained on.
    pub evaluation: EvaluationConfig,
    /// What is kept of a run while it goes on.
    pub checkpoint: CheckpointConfig,
}

/// How batches are formed and taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatchConfig {
    /// Images in a batch, a multiple of `samples_per_class`.
    pub size: usize,
    /// Images of each class in a batch.
    pub samples_per_class: usize,
    /// Images that are embedded with a graph at once: memory grows with this, not with `size`.
    pub chunk: usize,
    /// What becomes of classes with fewer images: `leave-out`, `take-all` or `repeat`.
    pub small_classes: SmallClasses,
    /// Super-classes that the classes of a batch come from, as many from each; without it, all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub super_classes: Option<usize>,
}

/// The Recall@k surrogate; see `recall_loss::RecallAtKLossConfig`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LossConfig {
    /// The values of k whose recall is averaged.
    pub ks: Vec<usize>,
    /// Temperature of the soft count, one for all k or one for each.
    pub tau_k: Vec<f64>,
    /// Temperature of the soft rank.
    pub tau_rank: f64,
    /// Whether a query's similarity to itself takes part in its ranks.
    pub query_in_rank: bool,
    /// Whether the soft count is capped at k.
    pub cap_at_k: bool,
    /// Queries handled at once.
    pub block_size: usize,
    /// Whether all pairs within a class are mixed into virtual items (SiMix).
    pub mixup: bool,
}

/// Augmentation, sizes and standardisation of images.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImageConfig {
    /// Whether images are cut to their boxes.
    pub boxes: Boxes,
    /// Whether large JPEGs may be decoded at a part of their size: faster, and other pixels; see
    /// `recall_data::LoaderConfig`.
    pub reduced_jpeg: bool,
    /// Where large images are kept resized, so that only the first epoch decodes them; see
    /// `recall_data::ImageCache`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<CacheConfig>,
    /// What happens to images that are trained on.
    pub train: TrainTransform,
    /// What happens to images that are evaluated.
    pub eval: EvalTransform,
    /// Mean and deviation that the model expects.
    pub standardise: Standardisation,
}

/// What becomes of the boxes of a data set that has some.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Boxes {
    /// What publications do with the benchmark; images of one's own are cut to them.
    #[default]
    AsPublished,
    /// Images are cut to them.
    Crop,
    /// Images stay whole.
    Ignore,
}

impl ImageConfig {
    /// Opens a data set, to be read as these settings say.
    ///
    /// # Errors
    ///
    /// Those of [`DataSpec::open`].
    pub fn open(&self, data: &DataSpec) -> Result<Dataset, DataError> {
        let dataset = data.open()?;
        Ok(match self.boxes {
            Boxes::AsPublished => dataset,
            Boxes::Crop => dataset.with_crops_to_boxes(true),
            Boxes::Ignore => dataset.with_crops_to_boxes(false),
        })
    }
}

/// Evaluation on the classes that are not trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluationConfig {
    /// Epochs between evaluations; the last epoch is always evaluated. Default 5.
    pub every: u64,
    /// Share of the training classes that are held out of training, to judge the run by while it goes
    /// on and to choose its best checkpoint: the test classes choose nothing. 0 trains on all of
    /// them; then the last epoch's model is the result. Default 0.1.
    pub validation: f64,
    /// The metric by which the best checkpoint is chosen, on the validation classes: `recall@1`,
    /// `map@r` and so on; one of those that are reported. Default the recall at the first of `ks`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub select: Option<Metric>,
    /// Whether the test images are judged whenever the validation classes are, and not only at the
    /// end. They choose nothing. Default false.
    pub test_during_training: bool,
    /// The k of recall@k.
    pub ks: Vec<usize>,
    /// Images embedded at once.
    pub chunk: usize,
    /// Queries shown in the report.
    pub gallery: usize,
}

/// What is kept of a run while it goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointConfig {
    /// How many of the latest checkpoints are kept, beside the best one. Default 2.
    pub keep: usize,
    /// Minutes after which a checkpoint is due, beside those at evaluations. It is what a run that is
    /// killed can lose; numbers do not depend on it. Default 15.
    pub every_minutes: f64,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            data: DataSpec::Emoji,
            seed: 0,
            epochs: 40,
            batch: BatchConfig::default(),
            model: ModelConfig::default(),
            loss: LossConfig::default(),
            optimiser: OptimiserConfig::default(),
            image: ImageConfig::default(),
            evaluation: EvaluationConfig::default(),
            checkpoint: CheckpointConfig::default(),
        }
    }
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self {
            size: 256,
            samples_per_class: 4,
            chunk: 256,
            small_classes: SmallClasses::LeaveOut,
            super_classes: None,
        }
    }
}

impl Default for LossConfig {
    fn default() -> Self {
        let RecallAtKLossConfig {
            ks,
            tau_k,
            tau_rank,
            query_in_rank,
            cap_at_k,
            block_size,
        } = RecallAtKLossConfig::new();
        Self {
            ks,
            tau_k,
            tau_rank,
            query_in_rank,
            cap_at_k,
            block_size,
            mixup: true,
        }
    }
}

impl Default for ImageConfig {
    fn default() -> Self {
        Self {
            boxes: Boxes::AsPublished,
            reduced_jpeg: false,
            cache: None,
            train: TrainTransform {
                size: [32, 32],
                random_resized_crop: Some(RandomResizedCrop {
                    scale: (0.7, 1.0),
                    ratio: (0.9, 1.11),
                }),
                // A mirrored arrow is another emoji.
                horizontal_flip: 0.0,
                random_affine: None,
                colour_jitter: Some(ColourJitter {
                    brightness: 0.4,
                    contrast: 0.4,
                    saturation: 0.5,
                    hue: 0.0,
                }),
            },
            eval: EvalTransform {
                resize: 32,
                crop: 32,
            },
            standardise: Standardisation {
                mean: [0.5; 3],
                std: [0.5; 3],
            },
        }
    }
}

impl Default for EvaluationConfig {
    fn default() -> Self {
        Self {
            every: 5,
            validation: 0.1,
            select: None,
            test_during_training: false,
            ks: vec![1, 2, 4, 8],
            chunk: 256,
            gallery: 40,
        }
    }
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self {
            keep: 2,
            every_minutes: 15.0,
        }
    }
}

impl RunConfig {
    /// Reads a document with the keys it wants to change, and then `key.path=value` assignments, in
    /// order. What neither names keeps its default; `false` turns a part off that is on by default,
    /// such as `image.train.colour_jitter`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`], naming the first key or value that makes no sense.
    pub fn read(
        document: Option<(&str, &str)>,
        assignments: &[String],
    ) -> Result<Self, ConfigError> {
        let mut config = Self::default();
        // Each layer is checked by itself, so that a message can say which one is at fault.
        if let Some((origin, text)) = document {
            let changes = text
                .parse::<toml::Table>()
                .map_err(|error| refuse(origin, &error))?;
            config = config.changed(changes, origin)?;
        }
        for assignment in assignments {
            let origin = format!("--set {assignment}");
            config = config.changed(parse_assignment(assignment, &origin)?, &origin)?;
        }
        config.check()?;
        Ok(config)
    }

    /// The whole configuration as a document that [`read`](Self::read) reads back.
    pub fn to_toml(&self) -> String {
        let mut table = self.to_table();
        mark_absent(&mut table, &Self::default().to_table());
        table.to_string()
    }

    fn to_table(&self) -> toml::Table {
        toml::Table::try_from(self).expect("numbers, strings and lists have a TOML form")
    }

    fn changed(&self, changes: toml::Table, origin: &str) -> Result<Self, ConfigError> {
        let mut table = self.to_table();
        merge(&mut table, changes);
        // Through text, because only then does the message name the key.
        toml::from_str(&table.to_string()).map_err(|error| refuse(origin, &error))
    }

    /// Checks what a type cannot say.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let value = |key, problem: String| Err(ConfigError::Value { key, problem });
        if self.epochs == 0 {
            return value("epochs", "0 epochs train nothing; give at least 1".into());
        }
        if self.batch.chunk == 0 {
            return value("batch.chunk", "a chunk needs at least 1 image".into());
        }
        if let Some((key, problem)) = self.model.problem(self.image.train.size) {
            return value(key, problem);
        }
        if self.model.backbone.patch().is_some()
            && self.image.train.size != [self.image.eval.crop; 2]
        {
            return value(
                "image.eval.crop",
                format!(
                    "{} takes images of one size: give the side of image.train.size, which must be \
                     square",
                    self.model.backbone
                ),
            );
        }
        if let Some((key, problem)) = self.optimiser.problem() {
            return value(key, problem.into());
        }
        if self.evaluation.every == 0 {
            return value("evaluation.every", "must be at least 1 epoch".into());
        }
        if self.evaluation.chunk == 0 {
            return value("evaluation.chunk", "a chunk needs at least 1 image".into());
        }
        if self.evaluation.ks.is_empty() || self.evaluation.ks.contains(&0) {
            return value(
                "evaluation.ks",
                "give at least one k, each at least 1".into(),
            );
        }
        if !(0.0..1.0).contains(&self.evaluation.validation) {
            return value(
                "evaluation.validation",
                "must be a share of the training classes, at least 0 and less than 1".into(),
            );
        }
        let reported = metrics(&self.evaluation.ks);
        if let Some(select) = self.evaluation.select
            && !reported.contains(&select)
        {
            let reported: Vec<String> = reported.iter().map(ToString::to_string).collect();
            return value(
                "evaluation.select",
                format!(
                    "{select} is not among the metrics of this run, {}",
                    reported.join(", ")
                ),
            );
        }
        if self.checkpoint.keep == 0 {
            return value("checkpoint.keep", "at least 1 checkpoint is kept".into());
        }
        if self.checkpoint.every_minutes.is_nan() || self.checkpoint.every_minutes <= 0.0 {
            return value(
                "checkpoint.every_minutes",
                "must be a positive number of minutes; inf leaves only those at evaluations".into(),
            );
        }
        self.loss.surrogate().init()?;
        Ok(())
    }

    /// Makes the model with random weights.
    pub fn init_model<B: Backend>(&self, device: &B::Device) -> Network<B> {
        self.model.init(self.image.train.size, device)
    }

    /// Rows and columns of patches that a transformer makes of an image.
    pub fn patch_grid(&self) -> Option<[usize; 2]> {
        let patch = self.model.backbone.patch()?;
        Some(self.image.train.size.map(|side| side / patch))
    }

    /// The sampler's settings.
    pub(crate) fn sampler(&self) -> BatchSamplerConfig {
        BatchSamplerConfig {
            small_classes: self.batch.small_classes,
            super_classes_per_batch: self.batch.super_classes,
            seed: self.seed,
            ..BatchSamplerConfig::new(self.batch.size, self.batch.samples_per_class)
        }
    }
}

impl EvaluationConfig {
    /// The metric that chooses the best checkpoint.
    pub(crate) fn selecting(&self) -> Metric {
        let first = self.ks.first().copied().unwrap_or(1);
        self.select.unwrap_or(Metric::RecallAt(first))
    }
}

impl LossConfig {
    /// The settings of the loss itself.
    pub fn surrogate(&self) -> RecallAtKLossConfig {
        RecallAtKLossConfig {
            ks: self.ks.clone(),
            tau_k: self.tau_k.clone(),
            tau_rank: self.tau_rank,
            query_in_rank: self.query_in_rank,
            cap_at_k: self.cap_at_k,
            block_size: self.block_size,
        }
    }
}

/// Lays `changes` over `table`, key by key at every depth.
fn merge(table: &mut toml::Table, changes: toml::Table) {
    use toml::Value::{Boolean, Table};
    for (key, change) in changes {
        match (table.get_mut(&key), change) {
            (Some(Table(inner)), Table(changes)) => merge(inner, changes),
            (Some(Table(_)), Boolean(false)) => {
                table.remove(&key);
            }
            // A part that is off stays off where a document says so.
            (None, Boolean(false)) if OPTIONAL.contains(&key.as_str()) => {}
            (_, change) => {
                table.insert(key, change);
            }
        }
    }
}

/// Parts of the configuration that can be off.
const OPTIONAL: [&str; 2] = ["random_resized_crop", "colour_jitter"];

/// Writes `key = false` for parts that are off here and on by default: TOML has no null.
fn mark_absent(table: &mut toml::Table, default: &toml::Table) {
    for (key, value) in default {
        match (table.get_mut(key), value) {
            (None, _) => {
                table.insert(key.clone(), toml::Value::Boolean(false));
            }
            (Some(toml::Value::Table(inner)), toml::Value::Table(default)) => {
                mark_absent(inner, default);
            }
            _ => {}
        }
    }
}

/// One `key.path=value` as a document.
fn parse_assignment(assignment: &str, origin: &str) -> Result<toml::Table, ConfigError> {
    let Some((path, value)) = assignment.split_once('=') else {
        return Err(ConfigError::Document {
            origin: origin.to_owned(),
            problem: "write key=value, for example optimiser.learning_rate=0.001".to_owned(),
        });
    };
    // A bare word is a string: `optimiser.kind=adam` should not need quotes within quotes.
    let value = format!("value = {value}")
        .parse::<toml::Table>()
        .ok()
        .and_then(|mut parsed| parsed.remove("value"))
        .unwrap_or_else(|| toml::Value::String(value.trim().to_owned()));
    let nested = path.rsplit('.').fold(value, |inner, key| {
        toml::Value::Table(toml::Table::from_iter([(key.trim().to_owned(), inner)]))
    });
    Ok(toml::Table::from_iter(
        nested.as_table().cloned().unwrap_or_default(),
    ))
}

fn refuse(origin: &str, error: &toml::de::Error) -> ConfigError {
    ConfigError::Document {
        origin: origin.to_owned(),
        problem: error.message().lines().collect::<Vec<_>>().join(" "),
    }
}

/// The transforms of a run in the form the data crate takes.
impl From<&ImageConfig> for TransformConfig {
    fn from(image: &ImageConfig) -> Self {
        Self {
            train: image.train.clone(),
            eval: image.eval,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(document: Option<(&str, &str)>, assignments: &[&str]) -> String {
        let assignments: Vec<_> = assignments.iter().map(|&a| a.to_owned()).collect();
        RunConfig::read(document, &assignments)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_written_configuration_reads_back() {
        let config = RunConfig::default();
        assert_eq!(
            RunConfig::read(Some(("file", &config.to_toml())), &[]).unwrap(),
            config
        );
    }

    #[test]
    fn what_is_not_named_keeps_its_default_at_every_depth() {
        let set = [
            "image.train.size=[64, 48]".into(),
            "image.eval.crop=16".into(),
        ];
        let config = RunConfig::read(None, &set).unwrap();
        let default = RunConfig::default();
        assert_eq!(config.image.train.size, [64, 48]);
        assert_eq!(
            config.image.train.colour_jitter,
            default.image.train.colour_jitter
        );
        assert_eq!(config.image.eval.resize, default.image.eval.resize);
    }

    #[test]
    fn a_part_that_is_turned_off_stays_off_in_the_written_configuration() {
        let off = RunConfig::read(None, &["image.train.colour_jitter=false".into()]).unwrap();
        assert_eq!(off.image.train.colour_jitter, None);
        assert!(off.image.train.random_resized_crop.is_some());
        assert_eq!(
            RunConfig::read(Some(("file", &off.to_toml())), &[]).unwrap(),
            off
        );
    }

    #[test]
    fn assignments_win_over_the_document() {
        let set = [
            "epochs=7".into(),
            "optimiser.kind=adam".into(),
            "loss.ks=[1, 3]".into(),
        ];
        let config = RunConfig::read(Some(("f", "epochs = 3\nseed = 9")), &set).unwrap();
        assert_eq!((config.epochs, config.seed), (7, 9));
        assert_eq!(config.optimiser.kind, crate::OptimiserKind::Adam);
        assert_eq!(config.loss.ks, [1, 3]);
    }

    #[test]
    fn faults_are_named_with_their_place() {
        assert!(
            refusal(Some(("run.toml", "epoch = 3")), &[])
                .starts_with("run.toml: unknown field `epoch`")
        );
        assert!(refusal(None, &["loss.tau=3"]).contains("--set loss.tau=3: unknown field `tau`"));
        assert!(refusal(None, &["epochs=many"]).contains("epochs"));
        assert!(refusal(None, &["epochs"]).contains("key=value"));
        assert!(refusal(None, &["epochs=0"]).starts_with("epochs: "));
        assert!(refusal(None, &["seed.x=0", "seed.y.z=1"]).contains("seed"));
        assert!(refusal(None, &["loss.tau_rank=0"]).contains("tau_rank = 0"));
    }
}
