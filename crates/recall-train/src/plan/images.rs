//! The images that a plan is made for.

use std::sync::Arc;
use std::time::Instant;

use recall_data::{BatchSampler, CorruptPolicy, Dataset, Split, training_and_validation};

use crate::embed::{items_of, need_labels};
use crate::{Loading, RunConfig, RunError};

/// Images that are loaded to see how fast that goes.
const LOADED: usize = 256;

/// The images of a run, as far as it costs something to load and judge them.
pub(super) struct Images {
    dataset: Arc<Dataset>,
    pub sampler: BatchSampler,
    /// The most that are judged at once.
    pub judged: usize,
    /// How many classes are trained on.
    pub classes: usize,
}

impl Images {
    pub fn open(config: &RunConfig, corrupt: CorruptPolicy) -> Result<Self, RunError> {
        let dataset = Arc::new(config.image.open(&config.data, corrupt)?);
        need_labels(&dataset, "training")?;
        items_of(&dataset, Split::Train)?;
        let parts = training_and_validation(&dataset, config.evaluation.validation);
        let test = dataset.split(Split::Test);
        let mut classes = dataset.labels(&parts.kept);
        classes.sort_unstable();
        classes.dedup();
        Ok(Self {
            sampler: config.sampler_for(&dataset, &parts.kept)?,
            judged: test.len().max(parts.held_out.len()).max(1),
            classes: classes.len(),
            dataset,
        })
    }

    /// Seconds to load an image, by all threads.
    pub fn load(&self, config: &RunConfig, loading: &Loading) -> Result<Option<f64>, RunError> {
        let loader = loading.loader(
            &self.dataset,
            &config.image,
            config.trained_images(),
            config.seed,
        )?;
        let mut requests: Vec<_> = self.sampler.requests(0).take(2).collect();
        requests
            .iter_mut()
            .for_each(|request| request.ids.truncate(LOADED));
        let mut images = 0;
        let start = Instant::now();
        for batch in loader.batches(requests) {
            images += batch?.ids.len();
        }
        Ok((images > 0).then(|| start.elapsed().as_secs_f64() / images as f64))
    }
}
