//! Everything that determines a run, as one TOML document.
//!
//! Here are the settings and their defaults; [`read`] lays documents and assignments over them,
//! [`write`] writes them down, [`preset`] has the published recipes.

mod auto;
mod batch_size;
mod bytes;
mod check;
mod chunk;
mod error;
mod faults;
mod feature_cache;
mod features;
mod image;
mod judged;
mod keys;
mod landmarks;
mod loss;
mod numbers;
#[cfg(test)]
mod order;
#[cfg(test)]
mod page;
mod parse;
mod paths;
mod preset;
mod ranges;
mod read;
mod recipe;
mod rivals;
mod schema;
mod setting;
mod write;

use std::path::PathBuf;

use recall_data::random::Key;
use recall_data::{
    BatchSampler, BatchSamplerConfig, DataSpec, Dataset, ItemId, Sampling, SmallClasses,
};
use recall_engine::{EngineConfig, LossConfig, ModelConfig, OptimiserConfig, Precision};
use recall_eval::Metric;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::judge::metrics;
use crate::run::{MODEL, SeedFor};
pub use batch_size::BatchSize;
pub use bytes::Bytes;
pub use chunk::ChunkSize;
pub use error::ConfigError;
pub use feature_cache::FeatureCacheConfig;
pub use image::{Boxes, ImageConfig, Orientation};
pub use judged::Passes;
pub(crate) use keys::nearest;
pub use preset::Preset;

/// The settings that go by the name `given`, written in whatever way.
pub(crate) fn called(given: &str) -> Vec<String> {
    keys::called(given)
}

/// The settings with the names most like `given`.
pub(crate) fn closest(given: &str) -> Vec<String> {
    keys::like(&given.replace('-', "_"))
}

/// A training run. The default trains on the embedded emoji in minutes on a CPU.
///
/// The structs of the settings are all that a new one touches: their attributes say what it takes and
/// the first paragraph of its comment is its row in docs/configuration.md.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RunConfig {
    /// The data set: `emoji`, `folder:DIR`, `csv:FILE`, or a benchmark and its folder; `--data`.
    #[schemars(with = "String", title = "a data set")]
    pub data: DataSpec,
    /// Everything random follows from this: weights, batches, augmentation, mixup, dropout.
    pub seed: u64,
    /// How often the sampler goes through the training images.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub epochs: u64,
    /// A checkpoint whose weights and optimiser's state the run begins with, or the folder of a run, whose
    /// last one is taken. Epochs and the schedule of the learning rate begin anew; `--from`.
    #[schemars(title = "a path")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<PathBuf>,
    /// In which precision the backbone computes, in training and when it embeds: `f32`; `bf16` or `f16`, which
    /// halve the memory of activations. Weights, optimiser, embeddings, loss and files are f32 always.
    ///
    /// Default f32.
    pub precision: Precision,
    /// How batches are formed and taken.
    pub batch: BatchConfig,
    /// The network, and the weights that it starts from.
    pub model: ModelConfig,
    /// What is trained for.
    pub loss: LossConfig,
    /// The optimiser and its schedule.
    pub optimiser: OptimiserConfig,
    /// Augmentation, sizes and standardisation of images.
    pub image: ImageConfig,
    /// Features of a backbone that is not trained, which are then computed once.
    pub features: FeatureCacheConfig,
    /// Evaluation on the classes that are not trained on.
    pub evaluation: EvaluationConfig,
    /// What is kept of a run while it goes on.
    pub checkpoint: CheckpointConfig,
}

/// How batches are formed and taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BatchConfig {
    /// Images in a batch, a multiple of `samples_per_class`; or `auto`, the largest batch that the
    /// training classes give; or `all`, every training image in one step an epoch, whatever the sizes of
    /// their classes.
    pub size: BatchSize,
    /// `class-balanced`, as many images of each class, or `shuffled`, any images in a random order, for losses
    /// that compare images with proxies and not with each other.
    pub sampling: Sampling,
    /// Images of each class in a batch.
    #[schemars(range(min = 2, max = 1_000_000))]
    pub samples_per_class: usize,
    /// Images that are embedded with a graph at once: memory grows with this, not with `size`.
    pub chunk: ChunkSize,
    /// What happens to classes with fewer images: they are left out, taken whole from two images on, taken
    /// whole with those of one image too, or filled up with copies.
    pub small_classes: SmallClasses,
    /// Super-classes that the classes of a batch come from, as many from each; without it, all.
    #[schemars(range(min = 1, max = 1_000_000))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub super_classes: Option<usize>,
}

/// Evaluation on the classes that are not trained on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluationConfig {
    /// Epochs between evaluations; the last epoch is always evaluated.
    ///
    /// Default 5.
    #[schemars(range(min = 1))]
    pub every: u64,
    /// Share of the training classes that are held out of training, to judge the run by while it goes
    /// on and to choose its best checkpoint: the test classes choose nothing. 0 trains on all of
    /// them; then the last epoch's model is the result. A data set that has validation images of its
    /// own is judged by these, and nothing is held out.
    ///
    /// Default 0.1.
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub validation: f64,
    /// The metric by which the best checkpoint is chosen, on the validation classes: `recall@1`,
    /// `map@r` and so on; one of those that are reported. Without it, the recall at the first of `ks`.
    /// Where it is equal, map@r chooses, then the later epoch.
    #[schemars(with = "Option<String>", title = "a metric")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub select: Option<Metric>,
    /// The metrics that are reported, such as `["recall@1", "map@r", "mrr"]`. Without them, the recall at
    /// each of `ks` and map@r.
    #[schemars(with = "Option<Vec<String>>", title = "metrics")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<Vec<Metric>>,
    /// Whether the test images are judged whenever the validation classes are, and not only at the
    /// end. They choose nothing.
    ///
    /// Default false.
    pub test_during_training: bool,
    /// Whether the run has test images at all. A search for settings should not: without them it is judged by
    /// its validation classes, and the test classes can choose nothing.
    ///
    /// Default true.
    pub test: bool,
    /// The k of recall@k; map@r is reported, too. `metrics` takes precedence.
    #[schemars(inner(range(min = 1)))]
    pub ks: Vec<usize>,
    /// Images embedded at once. With `image.eval.longest_side`: as many as have the pixels of so many of
    /// `image.eval.crop`, at least one.
    #[schemars(range(min = 1))]
    pub chunk: usize,
    /// Factors of size at which each image is embedded, such as `[1.0, 0.7071, 0.5]`: the embedding is the mean of
    /// these, brought to unit length.
    ///
    /// Sides are cut to whole pixels and pixels are interpolated as by PyTorch's `interpolate` (bilinear). For
    /// transformers the nearest whole patches are taken. Each above 0, at most 8.
    #[schemars(extend("exclusiveMinimum" = 0, "maximum" = 8))]
    pub scales: Vec<f64>,
    /// The power of the mean over `scales`: 1 adds embeddings up, more comes closer to their maximum. A number
    /// below zero keeps its sign.
    ///
    /// Above 0, at most 16. Default 1. The code of GeM takes the exponent of its pooling where no whitening follows.
    #[schemars(range(max = 16), extend("exclusiveMinimum" = 0))]
    pub scale_power: f64,
    /// Queries shown in the report.
    pub gallery: usize,
}

/// What is kept of a run while it goes on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CheckpointConfig {
    /// How many of the latest checkpoints are kept, beside the best one.
    ///
    /// Default 2.
    #[schemars(range(min = 1))]
    pub keep: usize,
    /// Minutes after which a checkpoint is due, beside those at evaluations; `inf` for none. It is what
    /// a run that is killed can lose; numbers do not depend on it.
    ///
    /// Default 15.
    #[schemars(extend("exclusiveMinimum" = 0, "x-infinite" = true))]
    pub every_minutes: f64,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            data: DataSpec::Emoji,
            seed: 0,
            epochs: 40,
            from: None,
            precision: Precision::default(),
            batch: BatchConfig::default(),
            model: ModelConfig::default(),
            loss: LossConfig::default(),
            optimiser: OptimiserConfig::default(),
            image: ImageConfig::default(),
            features: FeatureCacheConfig::default(),
            evaluation: EvaluationConfig::default(),
            checkpoint: CheckpointConfig::default(),
        }
    }
}

impl Default for BatchConfig {
    fn default() -> Self {
        Self {
            size: BatchSize::default(),
            sampling: Sampling::ClassBalanced,
            samples_per_class: 4,
            chunk: ChunkSize::Images(256),
            small_classes: SmallClasses::LeaveOut,
            super_classes: None,
        }
    }
}

impl Default for EvaluationConfig {
    fn default() -> Self {
        Self {
            every: 5,
            validation: 0.1,
            select: None,
            metrics: None,
            test_during_training: false,
            test: true,
            ks: vec![1, 2, 4, 8],
            chunk: 256,
            scales: vec![1.0],
            scale_power: 1.0,
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
    /// What an engine needs of it.
    pub fn engine(&self) -> EngineConfig {
        EngineConfig {
            model: self.model.clone(),
            image: self.image.train.size,
            standardise: self.image.standardise,
            loss: self.loss.clone(),
            optimiser: self.optimiser.clone(),
            precision: self.precision,
            seed: Key {
                seed: self.seed,
                ..Key::default()
            }
            .seed_for(MODEL),
        }
    }

    /// The same with batches of `images`, where the data were to say how many.
    pub(crate) fn with_batch(mut self, images: usize) -> Self {
        if let BatchSize::Auto { .. } = self.batch.size {
            self.batch.size = BatchSize::Images(images);
        }
        self
    }

    /// The sampler over the training images `ids`; with `auto`, of the largest batches that they give.
    ///
    /// # Errors
    ///
    /// What is refused, by the keys of a configuration.
    pub(crate) fn sampler_for(
        &self,
        dataset: &Dataset,
        ids: &[ItemId],
    ) -> Result<BatchSampler, ConfigError> {
        let refused = |error| self.batch.refused(error);
        if self.batch.size == BatchSize::All {
            return BatchSampler::whole(ids, &dataset.labels(ids)).map_err(refused);
        }
        if self.batch.sampling == Sampling::Shuffled {
            let size = self.batch.size.most().min(ids.len());
            return BatchSampler::shuffled(ids, size, self.seed).map_err(refused);
        }
        let mut sampler = self.sampler();
        if let BatchSize::Auto { up_to } = self.batch.size {
            let largest = sampler.largest_batch(dataset, ids).map_err(refused)?;
            // Where there is none, the sampler says why.
            sampler.batch_size = largest.map_or(2 * sampler.samples_per_class, |largest| {
                sampler.cut_to(largest.min(up_to))
            });
        }
        sampler.init_for(dataset, ids).map_err(refused)
    }

    /// The sampler's settings.
    pub(crate) fn sampler(&self) -> BatchSamplerConfig {
        BatchSamplerConfig {
            small_classes: self.batch.small_classes,
            super_classes_per_batch: self.batch.super_classes,
            seed: self.seed,
            ..BatchSamplerConfig::new(self.batch.size.most(), self.batch.samples_per_class)
        }
    }
}

impl EvaluationConfig {
    /// The metrics that are reported, the most important first.
    pub fn reported(&self) -> Vec<Metric> {
        let named = self.metrics.clone();
        named.unwrap_or_else(|| metrics(&self.ks))
    }

    /// The metric that chooses the best checkpoint.
    pub(crate) fn selecting(&self) -> Metric {
        let first = || self.reported().first().copied();
        (self.select.or_else(first)).unwrap_or(Metric::RecallAt(1))
    }
}
