//! The images of a run: opened, dealt into parts and written down.

use std::sync::Arc;

use recall_data::{
    BatchSampler, Dataset, HeldOut, ItemId, SmallClasses, Split, training_and_validation,
};

use super::answerable::answerable;
use super::data::{DataRecord, reopen};
use super::start::Start;
use super::{Progress, TrainingRun};
use crate::embed::{items_of, need_labels};
use crate::{BatchSize, EvaluationConfig, RunConfig, RunError};

/// The images of a run.
pub(super) struct Items {
    pub train: Vec<ItemId>,
    pub validation: Vec<ItemId>,
    pub test: Vec<ItemId>,
}

/// A data set with all that a run makes of it.
pub(super) struct Images {
    pub dataset: Arc<Dataset>,
    pub items: Items,
    pub record: DataRecord,
    pub sampler: BatchSampler,
}

impl Images {
    /// Opens the data set of `run`, or takes `own`, and refuses what cannot be trained on or judged.
    pub fn open(
        run: &TrainingRun,
        start: &Start,
        own: Option<Dataset>,
        progress: &mut dyn Progress,
    ) -> Result<Self, RunError> {
        let config = &run.config;
        let corrupt = run.loading.corrupt;
        let dataset = Arc::new(match own {
            Some(own) => config.image.read_so(own),
            None if start.is_begun() => reopen(&config.image, &config.data, corrupt)?,
            None => config.image.open(&config.data, corrupt)?,
        });
        progress.notes(&dataset);
        let items = Items::of(&dataset, &config.evaluation, progress)?;
        answerable(&dataset, &items)?;
        let record = DataRecord::new(&config.data, &dataset, &items)?;
        start.refuse_others(&config.data, &record, &dataset, &items)?;
        let sampler = config.sampler_for(&dataset, &items.train)?;
        if let BatchSize::Auto { .. } = config.batch.size {
            let size = sampler.config().batch_size;
            progress.note(&format!("batch.size: auto comes to {size} images"));
        }
        Ok(Self {
            dataset,
            items,
            record,
            sampler,
        })
    }

    /// Says which classes are too small to be trained on as all others are.
    pub fn report_sizes(&self, config: &RunConfig, progress: &mut dyn Progress) {
        let left_out = self.sampler.left_out();
        if left_out.classes > 0 {
            progress.note(&format!(
                "{} classes with too few images are left out of training ({} images)",
                left_out.classes, left_out.images
            ));
        }
        let small = self.sampler.small();
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
    }

    /// The classes of the training images, ascending: what the loss numbers from 0.
    pub fn training_classes(&self) -> Vec<u32> {
        let mut labels = self.dataset.labels(&self.items.train);
        labels.sort_unstable();
        labels.dedup();
        labels
    }
}

impl Items {
    /// Training, validation and test images. Where there are none to validate, a share of the training
    /// classes is held out for it. What a run may not judge by, it does not get.
    fn of(
        dataset: &Dataset,
        evaluation: &EvaluationConfig,
        progress: &mut dyn Progress,
    ) -> Result<Self, RunError> {
        need_labels(dataset, "training")?;
        items_of(dataset, Split::Train)?;
        let share = evaluation.validation;
        let test = match evaluation.test {
            true => dataset.split(Split::Test).to_vec(),
            false => Vec::new(),
        };
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
                false if !evaluation.test => {}
                false => progress.note(&format!(
                    "{name} has no test images: the run is judged by the validation images, which choose its \
                     best epoch as well"
                )),
                true => progress.warn(&format!(
                    "{name} has neither test nor validation images: the run trains, and nothing judges it"
                )),
            }
        }
        Ok(Self {
            train: kept,
            validation: held_out,
            test,
        })
    }
}
