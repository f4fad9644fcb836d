//! Which whitening stands behind a model.

use std::path::PathBuf;

use clap::Args;
use recall_eval::refine::Whitening;

use super::output::Inputs;
use crate::TrainedModel;

/// The whitening of a file, of a checkpoint, or none.
#[derive(Debug, Default, Args)]
pub(super) struct WhiteningArgs {
    /// Whiten embeddings by a file that the command whiten wrote, instead of the whitening of the checkpoint.
    #[arg(long, value_name = "FILE")]
    whiten: Option<PathBuf>,
    /// Leave the whitening of the checkpoint out, if it has one.
    #[arg(long, conflicts_with = "whiten", requires = "checkpoint")]
    no_whitening: bool,
}

impl WhiteningArgs {
    /// The whitening of the file, if one is named.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or is something else.
    pub fn of_file(&self) -> anyhow::Result<Option<Whitening>> {
        Ok(self.whiten.as_ref().map(Whitening::open).transpose()?)
    }

    /// The model with the whitening that is wanted behind it.
    ///
    /// # Errors
    ///
    /// Those of [`of_file`](Self::of_file), and a whitening of rows of another length.
    pub fn behind(&self, model: TrainedModel) -> anyhow::Result<TrainedModel> {
        Ok(match (self.of_file()?, self.no_whitening) {
            (Some(whitening), _) => model.with_whitening(Some(whitening))?,
            (None, true) => model.with_whitening(None)?,
            (None, false) => model,
        })
    }

    /// Adds the file to those that are not to be written over.
    pub fn add_to(&self, inputs: &mut Inputs) {
        (self.whiten.iter()).for_each(|path| inputs.add("--whiten", path));
    }
}
