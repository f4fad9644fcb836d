//! The course of a run: epochs of steps, evaluations, checkpoints, and the result.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::module::{AutodiffModule, Module};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Int, Tensor, TensorData};
use recall_data::random::Key;
use recall_data::{Batch, BatchSampler, Dataset, ItemId, Loader, Split};
use recall_eval::{Bootstrap, Policy, PositiveRanks, Scores, Units};
use recall_loss::{LossAndGrad, LossError, Mixup, RecallAtKLoss, RecallBackend};
use recall_step::{StepOutput, TwoPass};

use super::checkpoint::{Checkpoint, CheckpointState, Checkpoints, Contents};
use super::gallery::{self, Outcome};
use super::health::{Collapse, broken_gradients, broken_images, mean_similarity};
use super::left_out;
use super::peers::Groups;
use super::randomness::{MIXUP, MODEL, SeedFor};
use super::records::Records;
use super::selection::{Remark, Selection};
use super::trainee::Trainee;
use super::{
    BaselineRecord, EvaluationRecord, Finished, Judged, Progress, RunFolder, StepRecord,
    TrainingRun,
};
use crate::embed::embed_items;
use crate::judge::{Gallery, Hit, QueryScores, metrics};
use crate::memory::Memory;
use crate::optimiser::move_towards;
use crate::report::NEIGHBOURS;
use crate::{Embedder, Network, NonFinite, RunConfig, RunError};

/// The metrics of each image that was judged at the end, in the folder of a run that is done.
const QUERIES: &str = "queries.csv";

/// Steps in a row that may be left out because they are not finite.
const MOST_LEFT_OUT: u32 = 10;

pub(super) struct Loaders {
    pub train: Loader,
    pub eval: Loader,
}

/// The images of a run.
pub(super) struct Items {
    pub train: Vec<ItemId>,
    pub validation: Vec<ItemId>,
    pub test: Vec<ItemId>,
}

/// What a session is made of.
pub(super) struct Parts<'a, B: AutodiffBackend> {
    pub run: &'a TrainingRun,
    /// Images in a chunk.
    pub chunk: usize,
    pub folder: RunFolder,
    pub checkpoints: Checkpoints,
    pub device: B::Device,
    pub memory: Box<dyn Memory>,
    pub sampler: BatchSampler,
    pub loaders: Loaders,
    pub items: Items,
    pub records: Records,
    pub progress: &'a mut dyn Progress,
    pub state: CheckpointState,
    /// The record of these images, as it is written.
    pub data: Vec<u8>,
}

/// A run while it goes on. What of it has to survive is in `parts.state`.
pub(super) struct Session<'a, B: AutodiffBackend> {
    parts: Parts<'a, B>,
    loss: RecallAtKLoss,
    saved: Instant,
    collapse: Collapse,
    left_out: u32,
}

/// A step that came out finite.
struct Taken<B: AutodiffBackend> {
    output: StepOutput<B, LossAndGrad<B::InnerBackend>>,
    gradient_norm: f64,
}

/// What an evaluation found.
struct JudgedModel {
    gallery: Gallery,
    ranks: PositiveRanks,
    scores: Scores,
    /// Files that could not be read.
    unread: Vec<String>,
}

impl<'a, B: AutodiffBackend<InnerBackend: RecallBackend>> Session<'a, B> {
    pub fn new(parts: Parts<'a, B>) -> Result<Self, RunError> {
        let loss = parts.run.config.loss.surrogate().init();
        Ok(Self {
            loss: loss.map_err(crate::ConfigError::from)?,
            parts,
            saved: Instant::now(),
            collapse: Collapse::default(),
            left_out: 0,
        })
    }

    pub fn train(mut self, mut trainee: Trainee<B>) -> Result<Finished, RunError> {
        let config = self.config();
        let steps = self.parts.sampler.steps_per_epoch() as u64;
        let done = self.parts.state.step;
        self.parts.progress.begin(config.epochs, steps, done);
        if done == 0 {
            self.evaluate_epoch(&trainee)?;
            self.judge_baseline(&trainee)?;
        }
        while self.parts.state.epoch < config.epochs {
            trainee = self.train_epoch(trainee)?;
            let epoch = self.parts.state.epoch + 1;
            if epoch.is_multiple_of(config.evaluation.every) || epoch == config.epochs {
                // Should the user interrupt the evaluation, the epoch is not over yet: the run goes
                // on with this evaluation.
                let before = self.parts.state.clone();
                let lines = self.parts.records.lines();
                (self.parts.state.epoch, self.parts.state.step_in_epoch) = (epoch, 0);
                match self.evaluate_epoch(&trainee) {
                    Err(interrupted @ RunError::Interrupted { .. }) => {
                        self.parts.state = before;
                        self.save_at(&trainee, lines)?;
                        return Err(interrupted);
                    }
                    judged => judged?,
                }
                self.save(&trainee)?;
            } else {
                (self.parts.state.epoch, self.parts.state.step_in_epoch) = (epoch, 0);
            }
        }
        self.finish(trainee)
    }

    /// Steps of the whole run.
    fn steps(&self) -> u64 {
        self.config().epochs * self.parts.sampler.steps_per_epoch() as u64
    }

    fn config(&self) -> &'a RunConfig {
        &self.parts.run.config
    }

    fn train_epoch(&mut self, mut trainee: Trainee<B>) -> Result<Trainee<B>, RunError> {
        let CheckpointState {
            epoch,
            step_in_epoch,
            ..
        } = self.parts.state;
        let requests = self.parts.sampler.requests(epoch);
        let requests = requests.skip(step_in_epoch as usize);
        // What is longer than a duration can be never comes.
        let minutes = self.config().checkpoint.every_minutes;
        let every = Duration::try_from_secs_f64(60.0 * minutes).unwrap_or(Duration::MAX);
        let mut start = Instant::now();
        let mut first_skipped = None;
        for batch in self.parts.loaders.train.batches(requests) {
            let batch = batch?;
            first_skipped = first_skipped.or_else(|| batch.skipped.first().cloned());
            let mut record = self.step(&mut trainee, &batch)?;
            record.seconds = start.elapsed().as_secs_f64();
            start = Instant::now();
            self.parts.state.training_seconds += record.seconds;
            self.parts.state.step += 1;
            self.parts.state.step_in_epoch += 1;
            self.parts.records.step(record.clone())?;
            self.parts.progress.step(&record);
            if self.parts.progress.interrupted() {
                self.save(&trainee)?;
                return Err(self.interruption());
            }
            if self.saved.elapsed() >= every {
                self.save(&trainee)?;
                start = Instant::now();
            }
        }
        let steps = self.parts.records.steps.iter().rev();
        let mut of_epoch = steps.take_while(|step| step.epoch == epoch);
        match first_skipped {
            Some(first) if of_epoch.all(|step| step.images == 0) => Err(RunError::NoStep {
                epoch,
                first: first.problem,
            }),
            _ => Ok(trainee),
        }
    }

    /// Takes a step, or leaves it out if it is not finite and the configuration says so.
    fn step(&mut self, trainee: &mut Trainee<B>, batch: &Batch) -> Result<StepRecord, RunError> {
        let config = self.config();
        let CheckpointState {
            epoch,
            step,
            step_in_epoch,
            ..
        } = self.parts.state;
        let mut record = StepRecord {
            epoch,
            step,
            loss: None,
            recall: None,
            gradient_norm: None,
            similarity: None,
            learning_rate: 0.0,
            images: batch.ids.len(),
            skipped: batch.skipped.len(),
            unread: self.locations(batch.skipped.iter().map(|skipped| skipped.id)),
            seconds: 0.0,
        };
        if !batch.skipped.is_empty() && !has_pair(&batch.labels) {
            // Nothing to find is left in this batch. The step counts all the same, so that the places of
            // those after it stay.
            record.images = 0;
            return Ok(record);
        }
        let taken = match self.gradients(trainee, batch, &mut record)? {
            Ok(taken) => taken,
            Err(what) => {
                self.left_out += 1;
                let refused = RunError::NonFinite {
                    epoch,
                    step: step_in_epoch,
                    what,
                };
                return match config.optimiser.non_finite {
                    NonFinite::Skip if self.left_out < MOST_LEFT_OUT => {
                        self.parts.progress.warn(&format!("left out: {refused}"));
                        Ok(record)
                    }
                    _ => Err(refused),
                };
            }
        };
        self.left_out = 0;
        if let Some(warning) = record.similarity.and_then(|mean| self.collapse.step(mean)) {
            self.parts.progress.warn(&warning);
        }
        record.learning_rate = config.optimiser.learning_rate_at(epoch, step, self.steps());
        trainee.model = trainee.optimiser.step(
            record.learning_rate,
            trainee.model.clone(),
            taken.output.gradients,
            taken.gradient_norm,
        );
        if let (Some(average), Some(keep)) = (trainee.average.take(), config.optimiser.average) {
            trainee.average = Some(move_towards(average, &trainee.model.valid(), keep));
        }
        Ok(record)
    }

    fn locations(&self, ids: impl Iterator<Item = ItemId>) -> Vec<String> {
        let items = self.parts.loaders.train.dataset().items();
        ids.map(|id| items[id].location()).collect()
    }

    /// The gradients of a batch, or in words what of them is not finite. `record` gets what there is
    /// to report.
    fn gradients(
        &mut self,
        trainee: &Trainee<B>,
        batch: &Batch,
        record: &mut StepRecord,
    ) -> Result<Result<Taken<B>, String>, RunError> {
        let config = self.config();
        let CheckpointState {
            epoch,
            step_in_epoch: step,
            ..
        } = self.parts.state;
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
            .then(|| Mixup::all_pairs(&labels, key.seed_for(MIXUP)));
        let device = &self.parts.device;
        let labels = TensorData::new(labels, [batch.labels.len()]);
        let labels = Tensor::<B::InnerBackend, 1, Int>::from_data(labels, device);
        let two_pass = TwoPass {
            chunk: self.parts.chunk,
            seed: key.seed_for(MODEL),
        };
        let rows = batch.ids.len();
        let chunks = rows.div_ceil(self.parts.chunk);
        let (progress, done) = (RefCell::new(&mut *self.parts.progress), Cell::new(0));
        let broken = RefCell::new(None);
        let output = two_pass.run(
            &trainee.model,
            rows,
            |model, rows| {
                done.set(done.get() + 1);
                progress.borrow_mut().chunk(done.get(), 2 * chunks - 1);
                let images = config.image.standardise.images::<B>(batch, rows, device);
                Embedder::embed(model, images)
            },
            |embeddings| {
                let result = self
                    .loss
                    .value_and_grad(embeddings.clone(), labels, mixup.as_ref());
                if let Err(LossError::NonFinite { .. }) = result {
                    let dataset = self.parts.loaders.train.dataset();
                    *broken.borrow_mut() = Some(broken_images(embeddings, batch, dataset));
                }
                result.map(LossAndGrad::for_step)
            },
        );
        if let Some(what) = broken.into_inner() {
            return Ok(Err(what));
        }
        let output = output.map_err(|source| RunError::Step {
            epoch,
            step,
            source,
        })?;

        let finite = |value: f64| value.is_finite().then_some(value);
        let loss = output.objective.loss.clone().into_data();
        record.loss = finite(loss.iter::<f64>().sum());
        record.recall = mean_of_real(&output.objective, rows).and_then(finite);
        record.similarity = finite(mean_similarity(output.embeddings.clone()));
        let (model, optimiser) = (&trainee.model, &trainee.optimiser);
        let gradient_norm = optimiser.gradient_norm(model, &output.gradients);
        record.gradient_norm = finite(gradient_norm);
        if record.loss.is_none() {
            return Ok(Err("the loss is not finite".to_owned()));
        }
        if record.gradient_norm.is_none() {
            let names = optimiser.not_finite(model, &output.gradients);
            return Ok(Err(broken_gradients(&names)));
        }
        Ok(Ok(Taken {
            output,
            gradient_norm,
        }))
    }

    /// Judges the model at the end of an epoch: on the validation classes, if there are any, and on the
    /// test images if that is asked for.
    fn evaluate_epoch(&mut self, trainee: &Trainee<B>) -> Result<(), RunError> {
        let epoch = self.parts.state.epoch;
        let model = result(trainee);
        if self.config().evaluation.test_during_training && !self.parts.items.test.is_empty() {
            let scores = self.evaluate(&model, Judged::Test, epoch)?.scores;
            self.parts.state.judged(&scores.evaluation());
        }
        if self.parts.items.validation.is_empty() {
            return Ok(());
        }
        let scores = self.evaluate(&model, Judged::Validation, epoch)?.scores;
        let evaluation = scores.evaluation();
        let state = &mut self.parts.state;
        state.judged(&evaluation);
        // What has not been trained is not worth keeping, however good.
        if state.step > 0 {
            let selection = Selection::new(&self.parts.run.config.evaluation);
            state.best = selection.choose(state.best.take(), &evaluation, epoch, state.step);
        }
        Ok(())
    }

    /// Judges the model that training starts with on the test images, unless they are judged all the
    /// time. It chooses nothing; what training comes to is set beside it.
    fn judge_baseline(&mut self, trainee: &Trainee<B>) -> Result<(), RunError> {
        if self.config().evaluation.test_during_training || self.parts.items.test.is_empty() {
            return Ok(());
        }
        let start = Instant::now();
        let evaluation = self
            .judge(&result(trainee), Judged::Test)?
            .scores
            .evaluation();
        if let Some((metric, value)) = evaluation.values.first() {
            self.parts.progress.note(&format!(
                "the test images before the first step: {metric} {value:.4}"
            ));
        }
        self.parts.records.baseline(BaselineRecord {
            evaluation,
            seconds: start.elapsed().as_secs_f64(),
        })
    }

    fn evaluate(
        &mut self,
        model: &Network<B::InnerBackend>,
        split: Judged,
        epoch: u64,
    ) -> Result<JudgedModel, RunError> {
        let start = Instant::now();
        let judged = self.judge(model, split)?;
        let record = EvaluationRecord {
            split,
            epoch,
            step: self.parts.state.step,
            evaluation: judged.scores.evaluation(),
            unread: judged.unread.clone(),
            seconds: start.elapsed().as_secs_f64(),
        };
        self.parts.records.evaluation(record.clone())?;
        self.parts.progress.evaluated(&record);
        Ok(judged)
    }

    fn judge(
        &self,
        model: &Network<B::InnerBackend>,
        split: Judged,
    ) -> Result<JudgedModel, RunError> {
        let (gallery, unread) = self.gallery(model, split)?;
        let metrics = metrics(&self.config().evaluation.ks);
        let ranks = gallery.retrieval()?.ranks()?;
        let scores = Scores::new(&ranks, &metrics, Policy::default())?;
        Ok(JudgedModel {
            gallery,
            ranks,
            scores,
            unread,
        })
    }

    fn gallery(
        &self,
        model: &Network<B::InnerBackend>,
        split: Judged,
    ) -> Result<(Gallery, Vec<String>), RunError> {
        let config = self.config();
        let ids = match split {
            Judged::Validation => &self.parts.items.validation,
            Judged::Test => &self.parts.items.test,
        };
        let loader = &self.parts.loaders.eval;
        let (embeddings, kept) = embed_items(
            model,
            loader,
            ids,
            config.evaluation.chunk,
            &config.image.standardise,
            &self.parts.device,
            |_| match self.parts.progress.interrupted() {
                true => Err(self.interruption()),
                false => Ok(()),
            },
        )?;
        let dataset: &Arc<Dataset> = loader.dataset();
        // Training images have no roles, wherever the data set gives them some.
        let are_held_out = dataset.split(Split::Validation).is_empty();
        let unread = left_out::missing(dataset, ids, &kept);
        let gallery = match split {
            Judged::Validation if are_held_out => {
                Gallery::each_against_rest(dataset, embeddings, kept)
            }
            Judged::Validation | Judged::Test => Gallery::new(dataset, embeddings, kept)?,
        };
        Ok((gallery, unread))
    }

    fn interruption(&self) -> RunError {
        RunError::Interrupted {
            path: self.parts.folder.path().to_owned(),
            step: self.parts.state.step,
        }
    }

    fn save(&mut self, trainee: &Trainee<B>) -> Result<(), RunError> {
        self.save_at(trainee, self.parts.records.lines())
    }

    /// Saves the state that a run with `lines` lines of records is in.
    fn save_at(&mut self, trainee: &Trainee<B>, lines: usize) -> Result<(), RunError> {
        self.look_at_memory();
        let parts = &mut self.parts;
        parts.state.records = lines;
        parts.records.sync()?;
        parts.checkpoints.save(&Contents {
            model: &trainee.model,
            average: trainee.average.as_ref(),
            optimiser: &trainee.optimiser,
            config: &parts.run.config,
            state: &parts.state,
            data: &parts.data,
        })?;
        self.saved = Instant::now();
        Ok(())
    }

    fn look_at_memory(&mut self) {
        let Parts { state, memory, .. } = &mut self.parts;
        state.peak_memory = state.peak_memory.max(memory.peak());
    }

    /// Judges the result, on the test images if there are some, and writes the report.
    fn finish(mut self, trainee: Trainee<B>) -> Result<Finished, RunError> {
        let CheckpointState { epoch, best, .. } = self.parts.state.clone();
        match Selection::new(&self.config().evaluation).remark(&self.parts.records) {
            Some(Remark::Second(note)) => self.parts.progress.note(&note),
            Some(Remark::None(warning)) => self.parts.progress.warn(&warning),
            None => {}
        }
        let parameters = trainee.model.num_params();
        let chosen = self.parts.checkpoints.chosen(&self.parts.state);
        let (model, epoch) = match best {
            Some(best) => {
                let best_model = Checkpoint::open(&chosen)?.load(&self.parts.device)?;
                (best_model, best.epoch)
            }
            None => (result(&trainee), epoch),
        };
        drop(trainee);
        let judged = match (&self.parts.items.test[..], &self.parts.items.validation[..]) {
            ([_, ..], _) => Some(self.evaluate(&model, Judged::Test, epoch)?),
            // It was judged by them when it was chosen; the page wants neighbours as well.
            ([], [_, ..]) => Some(self.judge(&model, Judged::Validation)?),
            ([], []) => None,
        };
        self.look_at_memory();
        let parts = &self.parts;
        let validation = parts
            .records
            .of(Judged::Validation)
            .find(|record| record.epoch == epoch);
        let (result, validation) = match parts.items.test.is_empty() {
            true => (validation, None),
            false => (parts.records.of(Judged::Test).next_back(), validation),
        };
        let dataset = parts.loaders.eval.dataset();
        let (intervals, similarities, hits) = match &judged {
            Some(judged) => (
                Bootstrap::default().intervals(&judged.scores, Units::Queries)?,
                judged.gallery.similarities()?,
                judged.sample(self.config().evaluation.gallery)?,
            ),
            None => Default::default(),
        };
        let Items {
            validation: held_out,
            test,
            ..
        } = &parts.items;
        let groups = validation.and_then(|_| Groups::deal(dataset, test, held_out));
        let peers = match (&judged, groups) {
            (Some(judged), Some(groups)) => {
                let metrics = metrics(&self.config().evaluation.ks);
                let evaluation = groups.evaluate(&judged.gallery, &metrics)?;
                Some((groups, evaluation))
            }
            _ => None,
        };
        let report = gallery::report(&Outcome {
            run: parts.run,
            dataset,
            epoch,
            best: parts.state.best.as_ref(),
            peers,
            backend: <B::InnerBackend as Backend>::name(&parts.device),
            parameters,
            training_seconds: parts.state.training_seconds,
            peak_memory: parts.state.peak_memory,
            records: &parts.records,
            intervals,
            result,
            validation: validation.map(|record| &record.evaluation),
            similarities,
            hits,
        })?;
        let result = result.cloned();
        if let Some(judged) = judged {
            let queries = judged.queries(dataset).to_csv();
            let queries = queries.map_err(RunError::file("write", QUERIES))?;
            parts.folder.write(QUERIES, &queries)?;
        }
        let page = report.render()?;
        let report = parts.folder.write("report.html", page.as_bytes())?;
        let CheckpointState {
            training_seconds,
            peak_memory,
            ..
        } = parts.state;
        self.parts.progress.end();
        if let Some(told) = left_out::sentence(self.parts.records.unread()) {
            self.parts.progress.warn(&told);
        }
        let steps = self.parts.records.steps.iter();
        match steps.filter(|step| step.images == 0).count() {
            0 => {}
            1 => self
                .parts
                .progress
                .warn("1 step was left out: too few of its images could be read"),
            many => self.parts.progress.warn(&format!(
                "{many} steps were left out: too few of their images could be read"
            )),
        }
        Ok(Finished {
            result,
            epoch,
            report,
            checkpoint: chosen,
            training_seconds,
            peak_memory,
        })
    }
}

impl JudgedModel {
    /// Some queries with their neighbours, to be shown.
    fn sample(&self, count: usize) -> Result<Vec<Hit>, RunError> {
        Ok(self.gallery.sample(&self.ranks, count, NEIGHBOURS)?)
    }

    /// The metrics of each query.
    fn queries(self, dataset: &Dataset) -> QueryScores {
        QueryScores::new(self.scores, |query| {
            let item = &dataset.items()[self.gallery.query_ids()[query]];
            let class = &dataset.class_names()[item.class as usize];
            (item.name.clone(), class.clone())
        })
    }
}

/// What is judged and written: the weights, or their moving average.
fn result<B: AutodiffBackend>(trainee: &Trainee<B>) -> Network<B::InnerBackend> {
    let average = trainee.average.clone();
    average.unwrap_or_else(|| trainee.model.valid())
}

/// Whether any two items are of one class.
fn has_pair(labels: &[u32]) -> bool {
    let mut sorted = labels.to_vec();
    sorted.sort_unstable();
    sorted.windows(2).any(|pair| pair[0] == pair[1])
}

/// The mean recall of the queries that are images, not mixtures.
fn mean_of_real<B: Backend>(found: &LossAndGrad<B>, rows: usize) -> Option<f64> {
    let real = found.queries.iter().take_while(|&&q| q < rows);
    let count = real.count();
    let recall = found.recall.clone().into_data();
    let sum: f64 = recall.iter::<f64>().take(count).sum();
    (count > 0).then(|| sum / count as f64)
}
