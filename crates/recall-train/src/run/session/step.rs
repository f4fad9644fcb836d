//! A step of a run.

use recall_data::random::Key;
use recall_data::{Batch, ItemId};
use recall_engine::{Broken, EngineError, Inputs, NonFinite, StepRequest, StepResult};

use super::whole::Whole;
use super::{Parts, Session};
use crate::RunError;
use crate::embed::{inputs, shapes};
use crate::records::StepRecord;
use crate::run::checkpoint::CheckpointState;
use crate::run::health::{broken_gradients, broken_images};
use crate::run::randomness::{MIXUP, MODEL, SeedFor};

/// Steps in a row that may be left out because they are not finite.
const MOST_LEFT_OUT: u32 = 10;

impl Session<'_> {
    /// Takes a step, or leaves it out if it is not finite and the configuration says so.
    pub(super) fn step(&mut self, batch: &Batch, whole: &Whole) -> Result<StepRecord, RunError> {
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
            loss_scale: None,
            overflows: None,
            images: whole.ids.len(),
            skipped: whole.skipped.len(),
            unread: self.locations(&whole.skipped),
            seconds: 0.0,
            waited_seconds: 0.0,
            exchange_seconds: None,
        };
        let dataset = self.parts.loaders.train.dataset();
        if !whole.skipped.is_empty() && !has_pair(dataset.labels(&whole.ids)) {
            // Nothing to find is left in this batch. The step counts all the same, so that the places of
            // those after it stay.
            record.images = 0;
            return Ok(record);
        }
        let learning_rate = config.optimiser.learning_rate_at(epoch, step, self.steps());
        let result = self.take_step(batch, whole, learning_rate)?;
        record.loss = result.loss;
        record.recall = result.recall;
        record.gradient_norm = result.gradient_norm;
        record.similarity = result.similarity;
        record.loss_scale = result.scaling.map(|scaling| scaling.scale);
        record.overflows = result.scaling.map(|scaling| scaling.overflows);
        if let Some(broken) = &result.broken {
            self.left_out += 1;
            let refused = RunError::NonFinite {
                epoch,
                step: step_in_epoch,
                what: self.in_words(broken, whole),
            };
            return match config.optimiser.non_finite {
                NonFinite::Skip if self.left_out < MOST_LEFT_OUT => {
                    self.parts.progress.warn(&format!("left out: {refused}"));
                    Ok(record)
                }
                _ => Err(refused),
            };
        }
        self.left_out = 0;
        if result.scaling.is_some_and(|scaling| scaling.overflowed) {
            return Ok(record);
        }
        if let Some(warning) = record.similarity.and_then(|mean| self.collapse.step(mean)) {
            self.parts.progress.warn(&warning);
        }
        record.learning_rate = learning_rate;
        Ok(record)
    }

    fn take_step(
        &mut self,
        batch: &Batch,
        whole: &Whole,
        learning_rate: f64,
    ) -> Result<StepResult, RunError> {
        let CheckpointState {
            epoch,
            step_in_epoch: step,
            ..
        } = self.parts.state;
        let key = Key {
            seed: self.config().seed,
            epoch,
            step,
            item: 0,
        };
        // In the order that the classes have in the data set, and without gaps.
        let classes = &self.parts.classes;
        let number = |label| classes.partition_point(|&class| class < label) as i64;
        let labels: Vec<i64> = batch.labels.iter().map(|&label| number(label)).collect();
        let chunk = self.parts.chunk;
        let share = self.parts.run.ranks.share(whole.planned(), chunk);
        let shapes = shapes(batch);
        let request = StepRequest {
            inputs: match &shapes[..] {
                [] => inputs(batch),
                shapes => Inputs::Shapes(shapes),
            },
            labels: &labels,
            chunk,
            first_chunk: share.start / chunk.max(1),
            learning_rate,
            model_seed: key.seed_for(MODEL),
            loss_seed: key.seed_for(MIXUP),
        };
        let Parts {
            engine, progress, ..
        } = &mut self.parts;
        let taken = engine.step(&request, &mut |done, of| progress.chunk(done, of));
        taken.map_err(|error| match error {
            EngineError::Step(source) => RunError::Step {
                epoch,
                step,
                source,
            },
            other => other.into(),
        })
    }

    /// What of a step is not finite.
    fn in_words(&self, broken: &Broken, whole: &Whole) -> String {
        let dataset = self.parts.loaders.train.dataset();
        match broken {
            Broken::Embeddings(rows) => broken_images(rows, &whole.ids, dataset),
            Broken::Loss => "the loss is not finite".to_owned(),
            Broken::Gradients(names) => broken_gradients(names),
        }
    }

    fn locations(&self, ids: &[ItemId]) -> Vec<String> {
        let items = self.parts.loaders.train.dataset().items();
        ids.iter().map(|&id| items[id].location()).collect()
    }
}

/// Whether any two items are of one class.
fn has_pair(mut labels: Vec<u32>) -> bool {
    labels.sort_unstable();
    labels.windows(2).any(|pair| pair[0] == pair[1])
}
