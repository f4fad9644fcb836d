//! A training run from its configuration to its report.

mod answerable;
mod checkpoint;
mod data;
mod folder;
mod gallery;
mod health;
mod left_out;
mod peers;
mod progress;
mod randomness;
mod records;
mod resume;
mod selection;
mod session;
mod tensorboard;
mod trainee;

pub use checkpoint::{Best, Checkpoint, CheckpointState};
pub use data::{DataRecord, SeenClasses};
pub(crate) use data::{PartRecord, reopen};
use folder::Attempt;
pub use folder::RunFolder;
pub(crate) use gallery::{choice, duration};
pub(crate) use left_out::{missing, sentence};
pub use progress::Progress;
pub use records::{BaselineRecord, EvaluationRecord, Judged, StepRecord};

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::backend::{AutodiffBackend, Backend};
use recall_data::{
    BatchSampler, CorruptPolicy, Dataset, HeldOut, ImageCache, Loader, LoaderConfig, SmallClasses,
    Split, Transform, training_and_validation,
};
use recall_loss::RecallBackend;

use crate::embed::{items_of, need_labels};
use crate::memory::memory_of;
use crate::{BatchSize, ChunkSize, ImageConfig, RunConfig, RunError, plan};
use checkpoint::Checkpoints;
use data::DATA;
use records::Records;
use resume::folder_of;
use session::{Items, Loaders, Session};
use trainee::Trainee;

/// The configuration of a run, in its folder and in that of each checkpoint.
const CONFIG: &str = "config.toml";

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
        })
    }

    /// Trains on `device` and judges the result on the test images.
    ///
    /// # Errors
    ///
    /// [`RunError`]. What was written to the run folder until then stays, and the run can be resumed
    /// from its last checkpoint.
    pub fn train<B: AutodiffBackend<InnerBackend: RecallBackend>>(
        &self,
        device: &B::Device,
        progress: &mut dyn Progress,
    ) -> Result<Finished, RunError> {
        let run = Self {
            config: self.config.with_absolute_paths()?,
            ..self.clone()
        };
        run.train_there::<B>(device, progress)
    }

    /// The same, the paths of its configuration being absolute.
    fn train_there<B: AutodiffBackend<InnerBackend: RecallBackend>>(
        &self,
        device: &B::Device,
        progress: &mut dyn Progress,
    ) -> Result<Finished, RunError> {
        let config = &self.config;
        config.check()?;
        // First of all: a folder that is taken, what cannot be resumed, or a file of weights that does
        // not fit should cost nobody any waiting.
        let begun = match &self.place {
            Place::New(out) => {
                out.as_deref().map(RunFolder::check_free).transpose()?;
                None
            }
            Place::Resume(path) => Some(self.begun(path)?),
        };
        let checkpoint = begun
            .as_ref()
            .and_then(|(_, checkpoint)| checkpoint.as_ref());
        let trainee = match checkpoint {
            Some(checkpoint) => Trainee::<B>::resumed(checkpoint, device)?,
            None => {
                let (trainee, notes) = Trainee::new(config, device)?;
                notes.iter().for_each(|note| progress.note(note));
                trainee
            }
        };
        let corrupt = self.loading.corrupt;
        let dataset = Arc::new(match begun {
            Some(_) => reopen(&config.image, &config.data, corrupt)?,
            None => config.image.open(&config.data, corrupt)?,
        });
        progress.notes(&dataset);
        let items = self.items(&dataset, progress)?;
        answerable::answerable(&dataset, &items)?;
        let data = DataRecord::new(&config.data, &dataset, &items);
        if let Some((folder, checkpoint)) = &begun {
            let began = resume::began_with(folder, checkpoint.as_ref())?;
            began.refuse_others(&config.data, &data, &dataset, &items)?;
        }
        let sampler = config.sampler_for(&dataset, &items.train)?;
        let size = sampler.config().batch_size;
        if let BatchSize::Auto { .. } = config.batch.size {
            progress.note(&format!("batch.size: auto comes to {size} images"));
        }
        let mut run = self.clone();
        run.config = run.config.with_batch(size);
        let config = &run.config;
        self.tell_sizes(&sampler, progress);
        if let Some(warning) = config.optimiser.never_reached(config.epochs) {
            progress.warn(&warning);
        }
        let loaders = Loaders {
            train: self.loading.loader(
                &dataset,
                &config.image,
                config.image.train.clone(),
                config.seed,
            )?,
            eval: self
                .loading
                .loader(&dataset, &config.image, config.image.eval, config.seed)?,
        };
        let backend = <B::InnerBackend as Backend>::name(device);
        if let Some(checkpoint) = checkpoint
            && checkpoint.state.backend != backend
        {
            progress.warn(&format!(
                "the run began on {} and goes on on {backend}: numbers will differ by rounding",
                checkpoint.state.backend
            ));
        }

        let chosen;
        let (run, chunk, trainee) = match config.batch.chunk {
            ChunkSize::Images(chunk) => (&run, chunk, trainee),
            size => {
                // The trial takes its place in memory.
                drop(trainee);
                progress.note("measuring small chunks");
                let judged = items.test.len().max(items.validation.len()).max(1);
                let costs =
                    plan::measure_steps::<B>(config, Some(judged), device, &mut |measured| {
                        progress.note(&measured.to_string());
                    })?;
                let chunk = costs.chunk(size)?;
                progress.note(&format!("batch.chunk: {size} comes to {chunk} images"));
                chosen = run.with_chunk(chunk);
                let trainee = Trainee::new(&chosen.config, device)?.0;
                (&chosen, chunk, trainee)
            }
        };
        let config = &run.config;
        let (folder, checkpoint, attempt) = match begun {
            Some((folder, checkpoint)) => {
                // Where the images are today is where they are looked for the next time.
                folder.update(DATA, &data.to_json())?;
                folder.update(CONFIG, config.to_toml().as_bytes())?;
                (folder, checkpoint, None)
            }
            None => {
                let Place::New(out) = &self.place else {
                    unreachable!("a run that goes on has a folder");
                };
                let folder = RunFolder::create(out.as_deref(), dataset.name())?;
                let attempt = Attempt::new(&folder);
                // The configuration comes last: with it, the folder is that of a run.
                folder.write(DATA, &data.to_json())?;
                folder.write(CONFIG, config.to_toml().as_bytes())?;
                (folder, None, Some(attempt))
            }
        };
        progress.note(&format!(
            "backend {backend}: {} training images of {} classes, {} validation and {} test images, \
             writing to {}",
            items.train.len(),
            classes(&dataset, &items.train),
            items.validation.len(),
            items.test.len(),
            folder.path().display(),
        ));
        let records = match &checkpoint {
            Some(checkpoint) => {
                let state = &checkpoint.state;
                Records::resume(&folder, state.records, state.step + 1)?
            }
            None => Records::create(&folder)?,
        };
        let checkpoints = Checkpoints::new(&folder, config.checkpoint.keep);
        let state = match checkpoint {
            Some(checkpoint) => {
                progress.note(&format!(
                    "goes on after step {}, from {}",
                    checkpoint.state.step,
                    checkpoint.path().display()
                ));
                checkpoint
                    .note()
                    .into_iter()
                    .for_each(|note| progress.warn(note));
                if checkpoint.state.epoch >= config.epochs {
                    progress.note(&format!(
                        "all {} epochs are trained; for more start a new run from its weights and \
                         optimiser: recall-train --from {} --set epochs=N",
                        config.epochs,
                        folder.path().display()
                    ));
                }
                let mut state = CheckpointState {
                    backend,
                    data: data.fingerprint().to_owned(),
                    ..checkpoint.state
                };
                if checkpoints.forget_lost_best(&mut state) {
                    progress.warn(
                        "the checkpoint that was the best so far is not there; the best is chosen among \
                         those to come",
                    );
                }
                checkpoints.point(&state)?;
                checkpoints.tidy(&state)?;
                state
            }
            None => CheckpointState {
                data: data.fingerprint().to_owned(),
                backend,
                ..CheckpointState::default()
            },
        };
        let memory = memory_of::<B::InnerBackend>(device);
        // What was measured, or an earlier run of the process took, is not what this one takes.
        memory.forget_peak();
        let place = folder.path().to_owned();
        let session = Session::<B>::new(session::Parts {
            run,
            memory,
            chunk,
            folder,
            checkpoints,
            device: device.clone(),
            sampler,
            loaders,
            items,
            records,
            progress,
            state,
            data: data.to_json(),
        })?;
        session.train(trainee).map_err(|error| {
            let stays = matches!(error, RunError::Interrupted { .. });
            match attempt.is_none_or(|attempt| attempt.leaves_a_run(stays)) {
                true => error.during(&place),
                false => error,
            }
        })
    }

    /// The folder of the run that `path` names, and the checkpoint to go on from; none if the run was
    /// stopped before its first.
    fn begun(&self, path: &Path) -> Result<(RunFolder, Option<Checkpoint>), RunError> {
        let place = folder_of(path)?;
        let folder = RunFolder::reopen(&place)?;
        let checkpoints = Checkpoints::new(&folder, self.config.checkpoint.keep);
        checkpoints.adopt_copies()?;
        let checkpoint = match place == path {
            true => checkpoints.latest()?,
            false => Some(Checkpoint::open(path)?),
        };
        if let Some(checkpoint) = &checkpoint
            && !checkpoint.config.agrees_but_for_paths(&self.config)
        {
            return Err(RunError::Resume {
                path: checkpoint.path().to_owned(),
                problem: format!(
                    "it was made with other settings than those in {}",
                    place.join(CONFIG).display()
                ),
            });
        }
        Ok((folder, checkpoint))
    }

    /// The same in chunks of `images`.
    fn with_chunk(&self, images: usize) -> Self {
        let mut run = self.clone();
        run.config.batch.chunk = ChunkSize::Images(images);
        run
    }

    /// Training, validation and test images.
    fn items(&self, dataset: &Dataset, progress: &mut dyn Progress) -> Result<Items, RunError> {
        need_labels(dataset, "training")?;
        items_of(dataset, Split::Train)?;
        let test = dataset.split(Split::Test).to_vec();
        let share = self.config.evaluation.validation;
        let HeldOut { kept, held_out } = training_and_validation(dataset, share);
        if !dataset.split(Split::Validation).is_empty() {
            progress.note(&format!(
                "{} has {} validation images: they choose the best epoch, and no classes are held out of \
                 training (evaluation.validation does not apply)",
                dataset.name(),
                held_out.len()
            ));
        } else if share > 0.0 && held_out.is_empty() {
            progress.warn(
                "too few training classes to hold some out for validation: the model of the last epoch \
                 is the result",
            );
        }
        if test.is_empty() {
            let name = dataset.name();
            match held_out.is_empty() {
                false => progress.note(&format!(
                    "{name} has no test images: the run is judged by the validation images, which choose its \
                     best epoch as well"
                )),
                true => progress.warn(&format!(
                    "{name} has neither test nor validation images: the run trains, and nothing judges it"
                )),
            }
        }
        Ok(Items {
            train: kept,
            validation: held_out,
            test,
        })
    }

    fn tell_sizes(&self, sampler: &BatchSampler, progress: &mut dyn Progress) {
        let left_out = sampler.left_out();
        if left_out.classes > 0 {
            progress.note(&format!(
                "{} classes with too few images are left out of training ({} images)",
                left_out.classes, left_out.images
            ));
        }
        let small = sampler.small();
        if small.classes > 0 {
            let what = match self.config.batch.small_classes {
                SmallClasses::Repeat => "filled up with copies of their images",
                _ => "taken whole",
            };
            progress.note(&format!(
                "{} classes with fewer than {} images are {what} ({} images)",
                small.classes, self.config.batch.samples_per_class, small.images
            ));
        }
    }
}

fn classes(dataset: &Dataset, ids: &[usize]) -> usize {
    let mut labels = dataset.labels(ids);
    labels.sort_unstable();
    labels.dedup();
    labels.len()
}
