use std::error::Error;
use std::fmt;

use burn::tensor::{Tensor, backend::Backend};

/// A loss over the embeddings of a whole batch. It brings its gradient along, so that it need not be
/// one that Burn can differentiate; for one that is, see
/// [`OnDevice::with_autodiff_loss`](crate::OnDevice::with_autodiff_loss).
pub trait EmbeddingLoss<B: Backend> {
    /// The loss of embeddings `[n, d]` and its gradient with respect to them. `labels` are the classes of
    /// the rows; whatever is random is drawn from `seed`.
    ///
    /// # Errors
    ///
    /// [`LossFault`].
    fn value_and_grad(
        &self,
        embeddings: Tensor<B, 2>,
        labels: &[i64],
        seed: u64,
    ) -> Result<LossValue<B>, LossFault>;
}

/// What a loss comes to on a batch.
#[derive(Debug, Clone)]
pub struct LossValue<B: Backend> {
    /// The loss, `[1]`.
    pub loss: Tensor<B, 1>,
    /// Its gradient with respect to the embeddings, `[n, d]`.
    pub grad: Tensor<B, 2>,
    /// The soft recall of each item of the batch that has a positive, `[queries]`, if the loss is a
    /// surrogate of recall.
    pub recall: Option<Tensor<B, 1>>,
}

/// Why a loss has no value.
#[derive(Debug)]
pub enum LossFault {
    /// Embeddings or their similarities are not finite.
    NonFinite,
    /// It refuses the batch.
    Refused(Box<dyn Error + Send + Sync>),
}

impl fmt::Display for LossFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NonFinite => f.write_str("the embeddings are not finite"),
            Self::Refused(why) => why.fmt(f),
        }
    }
}

impl Error for LossFault {}
