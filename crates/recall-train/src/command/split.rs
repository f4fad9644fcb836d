//! Which images of a data set a command takes.

use clap::ValueEnum;
use recall_data::{Dataset, ItemId, Split};

use crate::embed::{items_of, validation_of};
use crate::{RunConfig, RunError};

/// A part of a data set, as `--split` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum SplitName {
    /// The training images, also those of classes that were held out.
    Train,
    /// What chose the best epoch: validation images of the data set, or the classes held out of training.
    Validation,
    /// The test images.
    Test,
    /// Every image.
    All,
}

impl SplitName {
    /// Its images, for a model that was trained with `config`.
    pub(super) fn items(
        self,
        dataset: &Dataset,
        config: &RunConfig,
    ) -> Result<Vec<ItemId>, RunError> {
        match self {
            Self::Train => items_of(dataset, Split::Train).map(<[ItemId]>::to_vec),
            Self::Validation => validation_of(dataset, config),
            Self::Test => items_of(dataset, Split::Test).map(<[ItemId]>::to_vec),
            Self::All => Ok((0..dataset.items().len()).collect()),
        }
    }
}
