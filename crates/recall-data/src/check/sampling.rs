//! What a sampler makes of the training split.

use std::collections::BTreeSet;

use serde::Serialize;

use super::finding::{Finding, FindingKind, Severity};
use crate::{
    BatchSampler, BatchSamplerConfig, ClassCount, DataError, Dataset, ItemId, Split,
    training_and_validation,
};

/// What the batches of an epoch take and leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sampling {
    /// The settings.
    #[serde(flatten)]
    pub config: BatchSamplerConfig,
    /// Whether all items are one batch, whatever the settings.
    pub whole: bool,
    /// Batches of an epoch; `None` if not even one can be drawn.
    pub steps_per_epoch: Option<usize>,
    /// What is never drawn; `None` if nothing can be.
    pub left_out: Option<ClassCount>,
    /// Smaller classes that are drawn all the same; `None` if nothing can be.
    pub small: Option<ClassCount>,
    /// What training draws from.
    pub of: ClassCount,
    /// What of the training split is held out of it for validation.
    pub held_out: ClassCount,
}

/// Nothing of a data set without training images. Too few classes for a batch are a finding: other
/// settings would do.
///
/// # Errors
///
/// Settings that no data set can be sampled with.
pub(super) fn sampling(
    dataset: &Dataset,
    config: BatchSamplerConfig,
    whole: bool,
    validation: f64,
) -> Result<(Option<Sampling>, Option<Finding>), DataError> {
    config.validate()?;
    let of_split = dataset.split(Split::Train);
    if of_split.is_empty() {
        return Ok((None, None));
    }
    let count = |ids: &[ItemId]| {
        let classes: BTreeSet<u32> = dataset.labels(ids).into_iter().collect();
        ClassCount {
            classes: classes.len(),
            images: ids.len(),
        }
    };
    let ids = training_and_validation(dataset, validation).kept;
    let (all, of) = (count(of_split), count(&ids));
    let mut sampling = Sampling {
        config,
        whole,
        steps_per_epoch: None,
        left_out: None,
        small: None,
        of,
        held_out: ClassCount {
            classes: all.classes - of.classes,
            images: all.images - of.images,
        },
    };
    let sampler = match whole {
        true => BatchSampler::whole(&ids, &dataset.labels(&ids)),
        false => config.init_for(dataset, &ids),
    };
    let finding = match sampler {
        Ok(sampler) => {
            sampling.steps_per_epoch = Some(sampler.steps_per_epoch());
            sampling.left_out = Some(sampler.left_out());
            sampling.small = Some(sampler.small());
            None
        }
        Err(error) => Some(Finding::plain(
            Severity::Warning,
            FindingKind::NoBatch,
            error.to_string(),
        )),
    };
    Ok((Some(sampling), finding))
}
