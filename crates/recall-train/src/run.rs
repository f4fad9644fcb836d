//! A training run from its configuration to its report.

mod checkpoint;
mod folder;
mod gallery;
mod records;
mod tensorboard;

pub use checkpoint::{Checkpoint, CheckpointState};
pub use folder::RunFolder;
pub(crate) use gallery::{choice, duration};
pub use records::{EvaluationRecord, Progress, StepRecord};

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use burn::module::AutodiffModule;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Int, Tensor, TensorData};
use rand::RngExt;
use recall_data::random::{Key, Purpose};
use recall_data::{
    Batch, BatchSampler, CorruptPolicy, DataSpec, Dataset, ImageCache, Loader, LoaderConfig,
    SmallClasses, Split, Transform,
};
use recall_eval::Evaluation;
use recall_loss::{Mixup, RecallAtKLoss, RecallBackend};

use crate::embed::{embed_items, items_of};
use crate::judge::{Gallery, metrics};
use crate::optimiser::move_towards;
use crate::{
    ImageConfig, Network, Optimiser, RunConfig, RunError, StepOutput, TwoPass, load_weights,
};
use gallery::Outcome;
use records::Records;

/// What to train, on what, and where to leave the result.
#[derive(Debug, Clone)]
pub struct TrainingRun {
    /// Everything that determines the numbers.
    pub config: RunConfig,
    /// The data set.
    pub data: DataSpec,
    /// The folder of the run; it must be empty or not exist. None takes the next free one in `runs`.
    pub out: Option<PathBuf>,
    /// How images are loaded: threads and corrupt files change speed and robustness, not numbers.
    pub loading: Loading,
    /// How the run was started, for the report.
    pub command_line: String,
}

/// How images are loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Loading {
    /// Threads that decode and augment; 0 takes one for each core.
    pub threads: usize,
    /// What becomes of images that cannot be read.
    pub corrupt: CorruptPolicy,
}

/// What a finished run leaves behind.
#[derive(Debug)]
pub struct Finished {
    /// The metrics of the last epoch on the unseen classes.
    pub evaluation: Evaluation,
    /// The page with curves and gallery.
    pub report: PathBuf,
    /// Seconds spent in training steps, evaluation left out.
    pub training_seconds: f64,
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
            reduced_jpeg: images.reduced_jpeg,
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
    /// Trains on `device` and evaluates on the classes that were not trained on.
    ///
    /// # Errors
    ///
    /// [`RunError`]. What was written to the run folder until then stays.
    pub fn train<B: AutodiffBackend<InnerBackend: RecallBackend>>(
        &self,
        device: &B::Device,
        progress: &mut dyn Progress,
    ) -> Result<Finished, RunError> {
        let config = &self.config;
        config.check()?;
        // First of all: a file of weights that does not fit should cost nobody any waiting.
        let model = self.model::<B>(device, progress)?;
        let dataset = Arc::new(config.image.open(&self.data)?);
        dataset.notes().iter().for_each(|note| progress.note(note));
        let train = items_of(&dataset, Split::Train)?;
        let test = items_of(&dataset, Split::Test)?;
        let sampler = config.sampler().init_for(&dataset, train)?;
        let left_out = sampler.left_out();
        if left_out.classes > 0 {
            progress.note(&format!(
                "{} classes with too few images are left out of training ({} images)",
                left_out.classes, left_out.images
            ));
        }
        let small = sampler.small();
        if small.classes > 0 {
            let what = match config.batch.small_classes {
                SmallClasses::Repeat => "filled up with copies of their images",
                _ => "taken whole",
            };
            progress.note(&format!(
                "{} classes with fewer than {} images are {what} ({} images)",
                small.classes, config.batch.samples_per_class, small.images
            ));
        }
        let loaders = Loaders {
            train: self.loading.loader(
                &dataset,
                &config.image,
                config.image.train.clone(),
                config.seed,
            )?,
            test: self
                .loading
                .loader(&dataset, &config.image, config.image.eval, config.seed)?,
        };
        let folder = RunFolder::create(self.out.as_deref(), dataset.name())?;
        folder.write("config.toml", config.to_toml().as_bytes())?;
        progress.note(&format!(
            "backend {}: {} training images of {} classes, {} test images, writing to {}",
            <B::InnerBackend as Backend>::name(device),
            train.len(),
            classes(&dataset, train),
            test.len(),
            folder.path().display(),
        ));

        let records = Records::create(&folder)?;
        let mut session = Session {
            run: self,
            folder,
            device: device.clone(),
            loss: config
                .loss
                .surrogate()
                .init()
                .map_err(crate::ConfigError::from)?,
            sampler,
            loaders,
            test: test.to_vec(),
            records,
            progress,
            global_step: 0,
            training_seconds: 0.0,
            best: None,
            average: None,
        };
        session.train(model)
    }

    /// The model that training starts from.
    fn model<B: AutodiffBackend>(
        &self,
        device: &B::Device,
        progress: &mut dyn Progress,
    ) -> Result<Network<B>, RunError> {
        let key = Key {
            seed: self.config.seed,
            ..Key::default()
        };
        B::seed(device, key.seed_for(Purpose::Model));
        let model = self.config.init_model::<B>(device);
        let Some(weights) = &self.config.model.weights else {
            return Ok(model);
        };
        let (model, loaded) = load_weights(model, weights, self.config.patch_grid())?;
        for note in loaded.notes() {
            progress.note(&format!("{}: {note}", weights.display()));
        }
        Ok(model)
    }
}

struct Loaders {
    train: Loader,
    test: Loader,
}

/// The parts of a run that stay the same from step to step, and its counters.
struct Session<'a, B: AutodiffBackend<InnerBackend: RecallBackend>> {
    run: &'a TrainingRun,
    folder: RunFolder,
    device: B::Device,
    loss: RecallAtKLoss,
    sampler: BatchSampler,
    loaders: Loaders,
    test: Vec<usize>,
    records: Records,
    progress: &'a mut dyn Progress,
    global_step: u64,
    training_seconds: f64,
    best: Option<f64>,
    /// The moving average of the weights, if one is wanted.
    average: Option<Network<B::InnerBackend>>,
}

impl<B: AutodiffBackend<InnerBackend: RecallBackend>> Session<'_, B> {
    fn train(&mut self, model: Network<B>) -> Result<Finished, RunError> {
        let config = &self.run.config;
        let steps = self.sampler.steps_per_epoch() as u64;
        self.progress.begin(config.epochs, steps);
        let (mut model, mut optimiser) = config.optimiser.init(model);
        self.average = config.optimiser.average.map(|_| model.valid());

        let mut latest = self.evaluate(&model, 0)?;
        for epoch in 0..config.epochs {
            model = self.train_epoch(model, &mut optimiser, epoch)?;
            let done = epoch + 1;
            if done % config.evaluation.every == 0 || done == config.epochs {
                latest = self.evaluate(&model, done)?;
                let (evaluation, _) = &latest;
                let state = CheckpointState::new(done, self.global_step, evaluation);
                Checkpoint::save(&self.folder, "last", &self.result(&model), config, &state)?;
                let score = evaluation.values.first().map_or(0.0, |(_, value)| *value);
                if self.best.is_none_or(|best| score > best) {
                    self.best = Some(score);
                    Checkpoint::save(&self.folder, "best", &self.result(&model), config, &state)?;
                }
            }
        }

        let (evaluation, gallery) = latest;
        let report = gallery::report(&Outcome {
            run: self.run,
            dataset: self.loaders.test.dataset(),
            backend: <B::InnerBackend as Backend>::name(&self.device),
            parameters: burn::module::Module::num_params(&model),
            training_seconds: self.training_seconds,
            records: &self.records,
            intervals: Vec::new(),
            validation: None,
            similarities: gallery.similarities()?,
            hits: gallery.sample(config.evaluation.gallery, 8)?,
        })?;
        let report = self
            .folder
            .write("report.html", report.render()?.as_bytes())?;
        self.progress.end();
        Ok(Finished {
            evaluation,
            report,
            training_seconds: self.training_seconds,
        })
    }

    fn train_epoch(
        &mut self,
        mut model: Network<B>,
        optimiser: &mut Optimiser<B>,
        epoch: u64,
    ) -> Result<Network<B>, RunError> {
        let requests = self.sampler.requests(epoch);
        let mut start = Instant::now();
        for (step, batch) in (0..).zip(self.loaders.train.batches(requests)) {
            let batch = batch?;
            let learning_rate = self
                .run
                .config
                .optimiser
                .learning_rate_at(epoch, self.global_step);
            let output =
                self.step(&model, &batch, epoch, step)
                    .map_err(|source| RunError::Step {
                        epoch,
                        step,
                        source,
                    })?;
            model = optimiser.step(learning_rate, model, output.gradients);
            if let (Some(average), Some(keep)) =
                (self.average.take(), self.run.config.optimiser.average)
            {
                self.average = Some(move_towards(average, &model.valid(), keep));
            }
            let loss = output.objective.loss.into_data().iter::<f64>().sum::<f64>();

            let seconds = start.elapsed().as_secs_f64();
            start = Instant::now();
            self.training_seconds += seconds;
            let record = StepRecord {
                epoch,
                step: self.global_step,
                loss,
                learning_rate,
                images: batch.ids.len(),
                skipped: batch.skipped,
                seconds,
            };
            self.global_step += 1;
            self.records.step(record.clone())?;
            self.progress.step(&record);
        }
        Ok(model)
    }

    fn step(
        &self,
        model: &Network<B>,
        batch: &Batch,
        epoch: u64,
        step: u64,
    ) -> Result<StepOutput<B>, crate::StepError> {
        let config = &self.run.config;
        let key = Key {
            seed: config.seed,
            epoch,
            step,
            item: 0,
        };
        let labels: Vec<i64> = batch.labels.iter().map(|&label| label.into()).collect();
        let mixup = config
            .loss
            .mixup
            .then(|| Mixup::all_pairs(&labels, key.seed_for(Purpose::Mixup)));
        let labels = TensorData::new(labels, [batch.labels.len()]);
        let labels = Tensor::<B::InnerBackend, 1, Int>::from_data(labels, &self.device);
        let two_pass = TwoPass {
            chunk: config.batch.chunk,
            seed: key.seed_for(Purpose::Model),
        };
        two_pass.run(
            model,
            batch.ids.len(),
            |model, rows| {
                let images = config
                    .image
                    .standardise
                    .images::<B>(batch, rows, &self.device);
                crate::Embedder::embed(model, images)
            },
            |embeddings| self.loss.value_and_grad(embeddings, labels, mixup.as_ref()),
        )
    }

    fn evaluate(
        &mut self,
        model: &Network<B>,
        epoch: u64,
    ) -> Result<(Evaluation, Gallery), RunError> {
        let start = Instant::now();
        let gallery = self.gallery(model)?;
        let evaluation = gallery.evaluate(&metrics(&self.run.config.evaluation.ks))?;
        let record = EvaluationRecord {
            epoch,
            step: self.global_step,
            evaluation: evaluation.clone(),
            seconds: start.elapsed().as_secs_f64(),
        };
        self.records.evaluation(record.clone())?;
        self.progress.evaluated(&record);
        Ok((evaluation, gallery))
    }

    /// What is evaluated and written: the weights, or their moving average.
    fn result(&self, model: &Network<B>) -> Network<B::InnerBackend> {
        self.average.clone().unwrap_or_else(|| model.valid())
    }

    fn gallery(&self, model: &Network<B>) -> Result<Gallery, RunError> {
        let config = &self.run.config;
        let (embeddings, ids) = embed_items(
            &self.result(model),
            &self.loaders.test,
            &self.test,
            config.evaluation.chunk,
            &config.image.standardise,
            &self.device,
            |_| (),
        )?;
        Ok(Gallery::new(self.loaders.test.dataset(), embeddings, ids)?)
    }
}

/// One number from a place in the run, to seed what takes a number.
trait SeedFor {
    fn seed_for(&self, purpose: Purpose) -> u64;
}

impl SeedFor for Key {
    fn seed_for(&self, purpose: Purpose) -> u64 {
        self.generator(purpose).random()
    }
}

fn classes(dataset: &Dataset, ids: &[usize]) -> usize {
    let mut labels = dataset.labels(ids);
    labels.sort_unstable();
    labels.dedup();
    labels.len()
}
