use std::error::Error;
use std::fmt;
use std::ops::Range;

use burn::tensor::{Tensor, backend::Backend};
use recall_step::CollectiveError;

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

    /// What the items `queries` of the batch, as queries against all items, contribute to
    /// [`value_and_grad`](Self::value_and_grad). Over ranges that make up the batch, losses and gradients
    /// `[n, d]` add up to those of the whole, and recalls stand one behind the other; a range may be empty.
    ///
    /// It lets several ranks share out the work and the memory of a loss. None, which is the default, where a
    /// loss cannot be taken apart, whatever the range: then each rank computes the whole.
    fn value_and_grad_of(
        &self,
        queries: Range<usize>,
        embeddings: Tensor<B, 2>,
        labels: &[i64],
        seed: u64,
    ) -> Option<Result<LossValue<B>, LossFault>> {
        let _ = (queries, embeddings, labels, seed);
        None
    }
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
    /// The ranks that share it out cannot go on together.
    Ranks(CollectiveError),
}

impl fmt::Display for LossFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NonFinite => f.write_str("the embeddings are not finite"),
            Self::Refused(why) => why.fmt(f),
            Self::Ranks(why) => why.fmt(f),
        }
    }
}

impl Error for LossFault {}

impl From<CollectiveError> for LossFault {
    fn from(error: CollectiveError) -> Self {
        Self::Ranks(error)
    }
}
