//! Losses that an engine trains with: which ones there are.
//!
//! A loss is a file of its own and an arm of [`LossConfig::init`].

mod autodiff;
mod config;
mod embedding_loss;
mod recall_at_k;

use recall_loss::{LossError, RecallBackend};

pub(crate) use autodiff::AutodiffLoss;
pub use config::LossConfig;
pub use embedding_loss::{EmbeddingLoss, LossFault, LossValue};

impl LossConfig {
    /// The loss on the backend `B`.
    ///
    /// # Errors
    ///
    /// [`LossError`] if the settings make no sense.
    pub fn init<B: RecallBackend>(&self) -> Result<Box<dyn EmbeddingLoss<B>>, LossError> {
        Ok(Box::new(recall_at_k::RecallAtK::new(self)?))
    }
}
