//! The course of a run: epochs of steps, evaluations, checkpoints, and the result.

mod finish;
mod judging;
mod step;
mod whole;

use std::sync::Arc;
use std::time::{Duration, Instant};

use recall_data::{BatchSampler, Dataset, Loader};
use recall_engine::{Engine, Memory};
use recall_eval::Scores;

use super::checkpoint::{CheckpointState, Checkpoints, Contents};
use super::health::Collapse;
use super::images::Items;
use super::records::Records;
use super::{Finished, Progress, RunFolder, TrainingRun};
use crate::{RunConfig, RunError};
use whole::Whole;

pub(super) struct Loaders {
    pub(super) train: Loader,
    pub(super) eval: Loader,
}

impl Loaders {
    pub fn new(run: &TrainingRun, dataset: &Arc<Dataset>) -> Result<Self, RunError> {
        let (loading, images) = (&run.loading, &run.config.image);
        let seed = run.config.seed;
        Ok(Self {
            train: loading.loader(dataset, images, run.config.trained_images(), seed)?,
            eval: loading.loader(dataset, images, run.config.judged_images(), seed)?,
        })
    }
}

/// What a session is made of.
pub(super) struct Parts<'a> {
    pub run: &'a TrainingRun,
    /// Images in a chunk.
    pub chunk: usize,
    pub folder: RunFolder,
    pub checkpoints: Checkpoints,
    pub engine: Box<dyn Engine>,
    pub memory: Box<dyn Memory>,
    pub sampler: BatchSampler,
    pub loaders: Loaders,
    pub items: Items,
    /// The classes that are trained on, ascending.
    pub classes: Vec<u32>,
    pub records: Records,
    pub progress: &'a mut dyn Progress,
    pub state: CheckpointState,
    /// The record of these images, as it is written.
    pub data: Vec<u8>,
}

/// A run while it goes on. What of it has to survive is in `parts.state`.
pub(super) struct Session<'a> {
    parts: Parts<'a>,
    saved: Instant,
    collapse: Collapse,
    left_out: u32,
    /// Of a head, how the test features as they came are judged, where this process did it at the beginning.
    features: Option<Scores>,
}

impl<'a> Session<'a> {
    pub fn new(parts: Parts<'a>) -> Self {
        Self {
            parts,
            saved: Instant::now(),
            collapse: Collapse::default(),
            left_out: 0,
            features: None,
        }
    }

    pub fn train(mut self) -> Result<Finished, RunError> {
        let config = self.config();
        let steps = self.parts.sampler.steps_per_epoch() as u64;
        let done = self.parts.state.step;
        self.parts.progress.begin(config.epochs, steps, done);
        if done == 0 {
            self.evaluate_epoch()?;
            self.judge_baseline()?;
        }
        while self.parts.state.epoch < config.epochs {
            self.train_epoch()?;
            let epoch = self.parts.state.epoch + 1;
            if epoch.is_multiple_of(config.evaluation.every) || epoch == config.epochs {
                // Should the user interrupt the evaluation, the epoch is not over yet: the run goes
                // on with this evaluation.
                let before = self.parts.state.clone();
                let lines = self.parts.records.lines();
                (self.parts.state.epoch, self.parts.state.step_in_epoch) = (epoch, 0);
                match self.evaluate_epoch() {
                    Err(interrupted @ RunError::Interrupted { .. }) => {
                        self.parts.state = before;
                        self.save_at(lines)?;
                        return Err(interrupted);
                    }
                    judged => judged?,
                }
                self.save()?;
            } else {
                (self.parts.state.epoch, self.parts.state.step_in_epoch) = (epoch, 0);
            }
        }
        self.finish()
    }

    /// Steps of the whole run.
    fn steps(&self) -> u64 {
        self.config().epochs * self.parts.sampler.steps_per_epoch() as u64
    }

    fn config(&self) -> &'a RunConfig {
        &self.parts.run.config
    }

    fn train_epoch(&mut self) -> Result<(), RunError> {
        let CheckpointState {
            epoch,
            step_in_epoch,
            ..
        } = self.parts.state;
        let requests = self.parts.sampler.requests(epoch);
        let requests = requests.skip(step_in_epoch as usize);
        let (ranks, chunk) = (self.parts.run.ranks.clone(), self.parts.chunk);
        let requests = requests.map(move |request| {
            let share = ranks.share(request.ids.len(), chunk);
            (request, share)
        });
        // What is longer than a duration can be never comes.
        let minutes = self.config().checkpoint.every_minutes;
        let every = Duration::try_from_secs_f64(60.0 * minutes).unwrap_or(Duration::MAX);
        let mut start = Instant::now();
        self.parts.run.ranks.exchange_seconds();
        let mut first_skipped = None;
        for batch in self.parts.loaders.train.parts(requests) {
            let batch = batch?;
            let waited = start.elapsed().as_secs_f64();
            let whole = Whole::of(&batch, &self.parts.run.ranks)?;
            let mut record = self.step(&batch, &whole)?;
            first_skipped = first_skipped.or(whole.problem);
            record.seconds = start.elapsed().as_secs_f64();
            record.waited_seconds = waited;
            record.exchange_seconds = self.parts.run.ranks.exchange_seconds();
            start = Instant::now();
            self.parts.state.training_seconds += record.seconds;
            self.parts.state.step += 1;
            self.parts.state.step_in_epoch += 1;
            self.parts.records.step(record.clone())?;
            self.parts.progress.step(&record);
            // By the clock of one rank, since all save together.
            let due = self.parts.run.ranks.leads() && self.saved.elapsed() >= every;
            let asked = self.parts.progress.interrupted();
            let [interrupted, due] = self.parts.run.ranks.any([asked, due])?;
            if interrupted {
                self.save()?;
                return Err(self.interruption());
            }
            if due {
                self.save()?;
                start = Instant::now();
                self.parts.run.ranks.exchange_seconds();
            }
        }
        let steps = self.parts.records.steps.iter().rev();
        let mut of_epoch = steps.take_while(|step| step.epoch == epoch);
        match first_skipped {
            Some(first) if of_epoch.all(|step| step.images == 0) => {
                Err(RunError::NoStep { epoch, first })
            }
            _ => Ok(()),
        }
    }

    fn interruption(&self) -> RunError {
        RunError::Interrupted {
            path: self.parts.folder.path().to_owned(),
            step: self.parts.state.step,
        }
    }

    fn save(&mut self) -> Result<(), RunError> {
        self.save_at(self.parts.records.lines())
    }

    /// Saves the state that a run with `lines` lines of records is in.
    fn save_at(&mut self, lines: usize) -> Result<(), RunError> {
        self.look_at_memory();
        let parts = &mut self.parts;
        let ranks = &parts.run.ranks;
        if ranks.are_several() {
            ranks.refuse_others("other weights", &parts.engine.weights_hash())?;
        }
        parts.state.records = lines;
        parts.records.sync()?;
        parts.checkpoints.save(&Contents {
            engine: &*parts.engine,
            config: &parts.run.config,
            state: &parts.state,
            data: &parts.data,
        })?;
        // The others read it, should it be the best one, and it has to be there.
        ranks.wait()?;
        self.saved = Instant::now();
        Ok(())
    }

    fn look_at_memory(&mut self) {
        let Parts { state, memory, .. } = &mut self.parts;
        state.peak_memory = state.peak_memory.max(memory.peak());
    }
}
