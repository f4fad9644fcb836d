//! What all losses have in common.

use burn::tensor::{Distribution, ElementConversion};
use burn::tensor::{Int, Tensor, backend::Backend};
use recall_loss::RecallBackend;

use crate::LossError;

/// A loss over the embeddings of a batch.
///
/// Every loss of this crate is one, the Recall@k surrogate and Smooth-AP of `recall-loss` as well. It is
/// object-safe: a trainer holds a `Box<dyn MetricLoss<B>>`, whichever loss that is.
pub trait MetricLoss<B: RecallBackend> {
    /// What it trains beside the model, for `classes` classes and embeddings of `dim` numbers: proxies,
    /// centres, boundaries. Most losses train nothing.
    fn parameters(&self, classes: usize, dim: usize) -> Option<Parameters> {
        let _ = (classes, dim);
        None
    }

    /// Whether it is a function of the similarities of the batch's rows alone, and rows need not be of unit length: what
    /// [`SimilarityMixup`](crate::SimilarityMixup) asks of a loss. Default false.
    fn compares_similarities(&self) -> bool {
        false
    }

    /// The loss of a batch, `[1]`, which Burn can differentiate with respect to embeddings and parameters.
    ///
    /// # Errors
    ///
    /// [`LossError`] if the batch lacks what the loss needs, or does not fit together.
    fn evaluate(&self, batch: Batch<'_, B>) -> Result<Tensor<B, 1>, LossError>;

    /// `share` of the loss with the labels of the batch, and the rest of it with those of `partners`, `[1]`: what mixup asks
    /// of a loss, where each item has two labels. A loss that compares items with the same proxies for either is
    /// computed once, all others twice.
    ///
    /// # Errors
    ///
    /// As [`evaluate`](Self::evaluate).
    fn evaluate_mixed(
        &self,
        batch: Batch<'_, B>,
        partners: &[i64],
        share: f64,
    ) -> Result<Tensor<B, 1>, LossError> {
        let own = self.evaluate(batch.clone())?;
        let others = self.evaluate(Batch {
            labels: partners,
            ..batch
        })?;
        Ok(own.mul_scalar(share) + others.mul_scalar(1.0 - share))
    }

    /// The loss of embeddings `[n, d]` with labels `[n]`, `[1]`. Of a loss that trains parameters of its own,
    /// see [`Trained`](crate::Trained). What it draws follows from the random generator of the backend.
    ///
    /// # Errors
    ///
    /// As [`evaluate`](Self::evaluate), and [`LossError::NonFinite`].
    fn forward(
        &self,
        embeddings: Tensor<B, 2>,
        labels: Tensor<B, 1, Int>,
    ) -> Result<Tensor<B, 1>, LossError> {
        let labels = on_host(labels);
        check_finite(&embeddings)?;
        let seed = drawn_seed::<B>(&embeddings.device());
        self.evaluate(Batch {
            embeddings,
            labels: &labels,
            parameters: None,
            seed,
        })
    }
}

impl<B: RecallBackend, L: MetricLoss<B> + ?Sized> MetricLoss<B> for Box<L> {
    fn parameters(&self, classes: usize, dim: usize) -> Option<Parameters> {
        (**self).parameters(classes, dim)
    }

    fn compares_similarities(&self) -> bool {
        (**self).compares_similarities()
    }

    fn evaluate(&self, batch: Batch<'_, B>) -> Result<Tensor<B, 1>, LossError> {
        (**self).evaluate(batch)
    }

    fn evaluate_mixed(
        &self,
        batch: Batch<'_, B>,
        partners: &[i64],
        share: f64,
    ) -> Result<Tensor<B, 1>, LossError> {
        (**self).evaluate_mixed(batch, partners, share)
    }
}

/// A batch, and what belongs to it.
#[derive(Debug, Clone)]
pub struct Batch<'a, B: Backend> {
    /// `[n, d]`.
    pub embeddings: Tensor<B, 2>,
    /// The class of each row.
    pub labels: &'a [i64],
    /// What the loss trains, in the shape of [`MetricLoss::parameters`].
    pub parameters: Option<Tensor<B, 2>>,
    /// What is random is drawn from it.
    pub seed: u64,
}

impl<B: Backend> Batch<'_, B> {
    /// `[n, d]`, once there is a label for each row.
    pub(crate) fn dims(&self) -> Result<[usize; 2], LossError> {
        let dims = self.embeddings.dims();
        match self.labels.len() == dims[0] {
            true => Ok(dims),
            false => Err(LossError::LabelCount {
                labels: self.labels.len(),
                embeddings: dims[0],
            }),
        }
    }
}

/// The parameters that a loss trains, and how they begin: drawn from a normal distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parameters {
    /// Their shape.
    pub shape: [usize; 2],
    /// What they are around.
    pub mean: f64,
    /// Their standard deviation; 0 for none.
    pub std: f64,
}

impl Parameters {
    /// Draws them by the random generator of the backend.
    pub fn draw<B: Backend>(&self, device: &B::Device) -> Tensor<B, 2> {
        match self.std > 0.0 {
            true => Tensor::random(
                self.shape,
                Distribution::Normal(self.mean, self.std),
                device,
            ),
            false => Tensor::full(self.shape, self.mean, device),
        }
    }
}

/// Labels as numbers of the host.
pub(crate) fn on_host<B: Backend>(labels: Tensor<B, 1, Int>) -> Vec<i64> {
    labels.into_data().iter::<i64>().collect()
}

/// A seed from the random generator of the backend, so that `Backend::seed` makes a loss repeatable.
pub(crate) fn drawn_seed<B: Backend>(device: &B::Device) -> u64 {
    let drawn = Tensor::<B, 1>::random([1], Distribution::Uniform(0.0, 1.0), device);
    let drawn = drawn.into_scalar().elem::<f64>();
    // As many bits as the uniform numbers of any backend have.
    (drawn * f64::from(1 << 24)) as u64
}

/// Refuses what no loss can be computed of: one sum crosses to the host.
///
/// # Errors
///
/// [`LossError::NonFinite`].
pub fn check_finite<B: Backend>(embeddings: &Tensor<B, 2>) -> Result<(), LossError> {
    recall_loss::check_finite(embeddings).map_err(|error| match error {
        recall_loss::LossError::NonFinite { row } => LossError::NonFinite { row },
        other => other.into(),
    })
}
