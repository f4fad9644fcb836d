//! A training run from its configuration to its report.

mod answerable;
mod checkpoint;
mod data;
mod features;
mod folder;
mod frozen;
mod health;
mod images;
mod left_out;
mod peers;
mod progress;
mod proxies;
mod randomness;
mod ranks;
mod records;
mod report;
mod resume;
mod selection;
mod session;
mod start;
mod tensorboard;
mod timed;

pub use checkpoint::{Best, Checkpoint, CheckpointState};
pub use data::{DataRecord, SeenClasses};
pub(crate) use data::{PartRecord, reopen};
pub(crate) use features::of_row as features_of_row;
pub use folder::RunFolder;
pub(crate) use left_out::{missing, sentence};
pub use progress::Progress;
pub(crate) use randomness::{MODEL, SeedFor};
pub use ranks::Ranks;
pub(crate) use report::{choice, duration};

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use recall_data::{CorruptPolicy, DataSpec, Dataset, ImageCache, Loader, LoaderConfig, Transform};
use recall_engine::{Device, Engine, EngineConfig, EngineError};
use recall_eval::Comparison;

use crate::records::{EvaluationRecord, StepRecord};
use crate::{BatchSize, ChunkSize, ImageConfig, RunConfig, RunError, plan};
use images::Images;
use resume::folder_of;
use session::{Loaders, Session};
use start::Start;

/// The configuration of a run, in its folder and in that of each checkpoint.
pub(crate) const CONFIG: &str = "config.toml";

/// What to train, on what, and where to leave the result.
#[derive(Debug, Clone)]
pub struct TrainingRun {
    /// Everything that determines the numbers.
    pub config: RunConfig,
    /// Where the run is, and whether it was begun before.
    pub place: Place,
    /// How images are loaded: threads and corrupt files change speed and robustness, not numbers.
    pub loading: Loading,
    /// How the run was started, for the report.
    pub command_line: String,
    /// The processes that do it together, all with the same run.
    pub ranks: Ranks,
}

/// Where a run is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a folder that must be empty or not exist; none takes the next free one in `runs`.
    New(Option<PathBuf>),
    /// In the folder of a run that was begun: it goes on from its last checkpoint. Or in the folder of
    /// one of its checkpoints, to go on from there; what came after it is dropped.
    Resume(PathBuf),
}

/// How images are loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Loading {
    /// Threads that decode and augment; 0 takes one for each core.
    pub threads: usize,
    /// What happens to images that cannot be read.
    pub corrupt: CorruptPolicy,
}

/// What a finished run leaves behind.
#[derive(Debug)]
pub struct Finished {
    /// The metrics of the model, and which images they are of: the test images or, where the data set has
    /// none, those of validation. None where nothing could judge it.
    pub result: Option<EvaluationRecord>,
    /// Epochs that this model was trained for: that of the best checkpoint by the validation classes,
    /// or all of them.
    pub epoch: u64,
    /// The page with curves and gallery.
    pub report: PathBuf,
    /// The checkpoint that holds this model.
    pub checkpoint: PathBuf,
    /// Seconds spent in training steps, evaluation left out.
    pub training_seconds: f64,
    /// The most memory that the run took, in bytes: of the process on backends that compute with the
    /// processor, else of the device. None where that is not told.
    pub peak_memory: Option<u64>,
    /// Of a head, the features as they came (first) beside it (second), query by query and metric by metric.
    pub comparison: Option<Vec<Comparison>>,
}

impl Loading {
    pub(crate) fn loader(
        &self,
        dataset: &Arc<Dataset>,
        images: &ImageConfig,
        transform: impl Into<Transform>,
        seed: u64,
    ) -> Result<Loader, RunError> {
        let config = LoaderConfig {
            threads: self.threads,
            corrupt: self.corrupt,
            seed,
            ..LoaderConfig::default()
        };
        let loader = Loader::new(Arc::clone(dataset), transform, config)?;
        Ok(match &images.cache {
            None => loader,
            Some(cache) => loader.with_cache(Arc::new(ImageCache::open(cache.clone())?)),
        })
    }
}

impl TrainingRun {
    /// A new run in the next free folder of `runs`.
    pub fn new(config: RunConfig) -> Self {
        Self {
            config,
            place: Place::New(None),
            loading: Loading::default(),
            command_line: String::new(),
            ranks: Ranks::default(),
        }
    }

    /// A run that was begun, with the configuration it was begun with. `path` is its folder, or that of
    /// one of its checkpoints.
    ///
    /// # Errors
    ///
    /// [`RunError::Resume`] if there is no run, or what is wrong with its configuration.
    pub fn resumed(path: &Path, loading: Loading, command_line: String) -> Result<Self, RunError> {
        let file = folder_of(path)?.join(CONFIG);
        let text = fs::read_to_string(&file).map_err(RunError::file("read", &file))?;
        let origin = file.display().to_string();
        let config = RunConfig::read(Some((&origin, &text)), &[])?;
        let no_number = match (config.batch.size, config.batch.chunk) {
            (BatchSize::Auto { .. }, _) => Some("batch.size"),
            (_, ChunkSize::Images(_)) => None,
            _ => Some("batch.chunk"),
        };
        if let Some(key) = no_number {
            return Err(RunError::Resume {
                path: path.to_owned(),
                problem: format!("{origin} has no number as {key}, and it was begun with one"),
            });
        }
        Ok(Self {
            config,
            place: Place::Resume(path.to_owned()),
            loading,
            command_line,
            ranks: Ranks::default(),
        })
    }

    /// Trains the model of the configuration on `device` and judges the result on the test images.
    ///
    /// # Errors
    ///
    /// [`RunError`]. What was written to the run folder until then stays, and the run can be resumed
    /// from its last checkpoint.
    pub fn train(
        &self,
        device: &dyn Device,
        progress: &mut dyn Progress,
    ) -> Result<Finished, RunError> {
        self.train_with(|config| device.engine(config), None, progress)
    }

    /// Trains what a program brings itself: the model that `create` puts on a device
    /// ([`OnDevice::new`](crate::OnDevice::new), with `model.backbone = "own"`), or the images of `dataset`
    /// instead of those that `data` names. Checkpoints, resume and report are as with any other run; to
    /// resume it, bring the same.
    ///
    /// # Errors
    ///
    /// As [`train`](Self::train).
    pub fn train_with(
        &self,
        create: impl FnOnce(&EngineConfig) -> Result<Box<dyn Engine>, EngineError>,
        dataset: Option<Dataset>,
        progress: &mut dyn Progress,
    ) -> Result<Finished, RunError> {
        let mut run = self.clone();
        if let Some(own) = &dataset {
            run.config.data = DataSpec::Own(own.name().to_owned());
        }
        run.config = run.config.with_absolute_paths()?;
        run.config.check()?;
        run.config.model.features = features::of_row(&run.config, dataset.as_ref())?;
        let ranks = &self.ranks;
        ranks.refuse_others("another version", env!("CARGO_PKG_VERSION"))?;
        ranks.refuse_others("other settings", &run.config.hash_but_for_paths())?;
        // First of all: a folder that is taken, what cannot be resumed, or a file of weights that does
        // not fit should cost nobody any waiting.
        let start = Start::find(&run)?;
        let mut engine = create(&run.config.engine())?;
        engine.join(ranks.collective())?;
        ranks.refuse_others("another backend", &engine.device().name())?;
        start.prepare(&mut *engine, &run.config, progress)?;

        let images = Images::open(&run, &start, dataset, progress)?;
        ranks.refuse_others("other images", images.record.fingerprint())?;
        run.config = run.config.with_batch(images.sampler.config().batch_size);
        images.report_sizes(&run.config, progress);
        let classes = images.training_classes();
        engine.set_classes(classes.len());
        if start.is_at_its_beginning(&run.config) && run.config.model.backbone.takes_features() {
            features::start(&mut *engine, &run, &images, progress)?;
        }
        if let Some(warning) = run.config.optimiser.never_reached(run.config.epochs) {
            progress.warn(&warning);
        }
        let loaders = Loaders::new(&run, &images.dataset)?;
        let loaders = loaders.with_kept_features(&run, &mut *engine, &images, progress)?;
        if start.begins_loss(&run.config, &images.record, &mut *engine)? {
            proxies::start(&mut *engine, &run, &images, &loaders, progress)?;
        }
        start.compare_backend(&engine.device().name(), progress);

        let chunk = run.chunk(&mut *engine, &images, progress)?;
        run.config.batch.chunk = ChunkSize::Images(chunk);
        let size = images.sampler.config().batch_size;
        say_who_has_nothing(size, chunk, ranks.size(), progress);
        ranks.refuse_others("other weights", &engine.weights_hash())?;

        let backend = engine.device().name();
        let begun = start.begin(&run, &images, &backend, progress)?;
        let memory = engine.device().memory();
        // What was measured, or an earlier run of the process took, is not what this one takes.
        memory.forget_peak();
        let place = begun.folder.path().to_owned();
        let session = Session::new(session::Parts {
            run: &run,
            memory,
            chunk,
            folder: begun.folder,
            checkpoints: begun.checkpoints,
            engine,
            sampler: images.sampler,
            loaders,
            items: images.items,
            classes,
            records: begun.records,
            progress,
            state: begun.state,
            data: images.record.to_json(),
        });
        session.train().map_err(|error| {
            let stays = matches!(error, RunError::Interrupted { .. });
            let attempt = begun.attempt;
            match attempt.is_none_or(|attempt| attempt.leaves_a_run(stays)) {
                true => error.during(&place),
                false => error,
            }
        })
    }

    /// Images in a chunk: as the configuration says, or as memory allows.
    fn chunk(
        &self,
        engine: &mut dyn Engine,
        images: &Images,
        progress: &mut dyn Progress,
    ) -> Result<usize, RunError> {
        let items = &images.items;
        let size = match self.config.batch.chunk {
            ChunkSize::Images(chunk) => return Ok(chunk),
            size => size,
        };
        progress.note("measuring small chunks");
        let judged = items.test.len().max(items.validation.len()).max(1);
        let mut config = self.config.clone();
        config.batch.size = BatchSize::Images(images.sampler.config().batch_size);
        let costs = plan::measure_steps(&config, Some(judged), engine, &mut |measured| {
            progress.note(&measured.to_string());
        })?;
        engine.forget_trials();
        // As small as the rank with the least memory needs it.
        let own = costs.over(self.ranks.size()).chunk(size)?;
        let chunk = self.ranks.gather(&own)?.into_iter().min().unwrap_or(own);
        progress.note(&format!("batch.chunk: {size} comes to {chunk} images"));
        Ok(chunk)
    }
}

/// Says so if some ranks will have no images in any step.
fn say_who_has_nothing(images: usize, chunk: usize, ranks: usize, progress: &mut dyn Progress) {
    let chunks = images.div_ceil(chunk.max(1));
    if chunks < ranks {
        progress.warn(&format!(
            "a batch of {images} images in chunks of {chunk} is work for {chunks} of {ranks} ranks: give \
             batch.chunk={} for all to take part",
            images.div_ceil(ranks).max(1)
        ));
    }
}
