//! What a sampler makes of the training split.

use std::collections::BTreeSet;

use serde::Serialize;

use super::finding::{Finding, FindingKind, Severity};
use crate::{BatchSamplerConfig, DataError, Dataset, SmallClasses, Split};

/// What the batches of an epoch take and leave.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sampling {
    /// Images in a batch.
    pub batch_size: usize,
    /// Images of each class in a batch.
    pub samples_per_class: usize,
    /// What becomes of classes with fewer images.
    pub small_classes: SmallClasses,
    /// Batches of an epoch; `None` if not even one can be drawn.
    pub steps_per_epoch: Option<usize>,
    /// What is never drawn; `None` if nothing can be.
    pub left_out: Option<Share>,
    /// What there is.
    pub of: Share,
}

/// Some classes and their images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Share {
    /// How many classes.
    pub classes: usize,
    /// How many images.
    pub images: usize,
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
) -> Result<(Option<Sampling>, Option<Finding>), DataError> {
    let ids = dataset.split(Split::Train);
    let labels = dataset.labels(ids);
    let sampler = config.init(ids, &labels);
    let BatchSamplerConfig {
        batch_size,
        samples_per_class,
        small_classes,
        ..
    } = config;
    let possible = samples_per_class >= 2
        && batch_size.is_multiple_of(samples_per_class)
        && batch_size / samples_per_class >= 2;
    if !possible {
        return sampler.map(|_| (None, None));
    }
    if ids.is_empty() {
        return Ok((None, None));
    }
    let mut sampling = Sampling {
        batch_size,
        samples_per_class,
        small_classes,
        steps_per_epoch: None,
        left_out: None,
        of: Share {
            classes: labels.iter().collect::<BTreeSet<_>>().len(),
            images: ids.len(),
        },
    };
    let finding = match sampler {
        Ok(sampler) => {
            let left_out = sampler.left_out();
            sampling.steps_per_epoch = Some(sampler.steps_per_epoch());
            sampling.left_out = Some(Share {
                classes: left_out.classes,
                images: left_out.images,
            });
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
