//! What a head on rows of features needs to know of them before its first step.

use recall_data::{BatchRequest, DataSpec, Dataset};
use recall_engine::{Engine, FeatureStatistics};
use recall_eval::EmbeddingsFile;

use super::images::Images;
use super::{Progress, TrainingRun};
use crate::{ConfigError, RunConfig, RunError};

/// Rows that are read at once.
const ROWS: usize = 4096;

/// Numbers of a row of the data, which a head has to know; none where images are trained on.
pub(crate) fn of_row(config: &RunConfig, own: Option<&Dataset>) -> Result<Option<usize>, RunError> {
    if !config.model.backbone.takes_features() {
        return Ok(None);
    }
    let found = match (own, &config.data) {
        (Some(own), _) => own.features().map(|features| features.dim()),
        (None, DataSpec::Embeddings { file, .. }) => Some(EmbeddingsFile::open(file)?.dim()),
        (None, _) => None,
    };
    let problem = match (found, config.model.features) {
        (Some(found), Some(given)) if found != given => format!(
            "the model takes rows of {given} numbers, and those of {} have {found}",
            config.data
        ),
        (Some(_), _) => return Ok(found),
        (None, _) => format!(
            "{} takes rows of features, and {} has none",
            config.model.backbone, config.data
        ),
    };
    Err(ConfigError::Value {
        key: "model.features",
        problem,
    }
    .into())
}

/// Lets a new head begin as `model.start` says, by its training rows.
pub(super) fn start(
    engine: &mut dyn Engine,
    run: &TrainingRun,
    images: &Images,
    progress: &mut dyn Progress,
) -> Result<(), RunError> {
    let config = &run.config;
    let Some(dim) = config.model.features else {
        return Ok(());
    };
    let loader = (run.loading).loader(
        &images.dataset,
        &config.image,
        config.image.eval,
        config.seed,
    )?;
    let requests: Vec<BatchRequest> = (images.items.train.chunks(ROWS).zip(0..))
        .map(|(ids, step)| BatchRequest {
            epoch: 0,
            step,
            ids: ids.to_vec(),
        })
        .collect();
    progress.note(&format!(
        "a head on {dim} numbers that starts as {}",
        config.model.start
    ));
    let mut statistics = FeatureStatistics::new(dim, config.model.start.wants_covariance());
    for batch in loader.batches(requests) {
        if let recall_data::BatchInputs::Features { values, .. } = batch?.inputs {
            statistics.add(&values)?;
        }
    }
    Ok(engine.start_from(&statistics)?)
}
