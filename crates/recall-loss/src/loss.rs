use burn::tensor::{Int, Tensor, TensorData, backend::Backend};

use crate::{
    LossError, Mixup, RecallAtKLoss, RecallBackend, RecallBatch,
    backend::{loss_of, primitive, tensor},
};

/// What [`RecallAtKLoss::value_and_grad`] gives.
#[derive(Debug, Clone)]
pub struct LossAndGrad<B: Backend> {
    /// `[1]`: the loss.
    pub loss: Tensor<B, 1>,
    /// `[n, d]`: its gradient with respect to the embeddings.
    pub grad: Tensor<B, 2>,
    /// `[queries]`: the soft recall of each query, averaged over k; the loss is 1 − their mean.
    pub recall: Tensor<B, 1>,
    /// The items that `recall` speaks of, ascending: rows of the batch, then, from `n` on, virtual
    /// items in the order of the mixup. Items without a positive are missing.
    pub queries: Vec<usize>,
}

impl<B: Backend> LossAndGrad<B> {
    /// The gradient, and all of it: what the two-pass step of `recall-step` asks of an objective. So
    /// `|embeddings| loss.value_and_grad(embeddings, labels, None).map(LossAndGrad::for_step)` is one.
    pub fn for_step(self) -> (Tensor<B, 2>, Self) {
        (self.grad.clone(), self)
    }
}

impl RecallAtKLoss {
    /// The loss of a batch, differentiable by Burn's autodiff.
    ///
    /// Around a backend of this crate, [`Autodiff`](burn::backend::Autodiff) computes the gradient
    /// together with the value and keeps nothing else for the backward pass. Second derivatives do
    /// not exist.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[n, d]`, rows of unit length
    /// - labels: `[n]`, the class of each row, in any order and with any class sizes; items alone in
    ///   their class are part of every database but no queries
    /// - output: `[1]`, from 0 to 1 under the default settings
    ///
    /// # Errors
    ///
    /// [`LossError::LabelCount`], [`LossError::NoPositives`] or [`LossError::NonFinite`].
    pub fn forward<B: RecallBackend>(
        &self,
        embeddings: Tensor<B, 2>,
        labels: Tensor<B, 1, Int>,
    ) -> Result<Tensor<B, 1>, LossError> {
        self.forward_checked(embeddings, labels, None)
    }

    /// [`forward`](Self::forward) over real and virtual items.
    ///
    /// # Errors
    ///
    /// As `forward`, and [`LossError::MixupRow`] or [`LossError::MixupClasses`] if the mixup does not
    /// belong to this batch.
    pub fn forward_mixed<B: RecallBackend>(
        &self,
        embeddings: Tensor<B, 2>,
        labels: Tensor<B, 1, Int>,
        mixup: &Mixup,
    ) -> Result<Tensor<B, 1>, LossError> {
        self.forward_checked(embeddings, labels, Some(mixup))
    }

    fn forward_checked<B: RecallBackend>(
        &self,
        embeddings: Tensor<B, 2>,
        labels: Tensor<B, 1, Int>,
        mixup: Option<&Mixup>,
    ) -> Result<Tensor<B, 1>, LossError> {
        let batch = self.checked(&embeddings, labels, mixup)?;
        Ok(tensor(B::recall_loss(primitive(embeddings), &batch)))
    }

    /// The loss and its gradient with respect to the embeddings, by the chain rule written out.
    ///
    /// No autodiff graph is built: call it on the inner backend, and hand the gradient to the model
    /// by back-propagating `Σ embeddings · grad`. Memory grows with `block_size · n` and not with n².
    /// Only similarities of real embeddings are computed; those of virtual ones are mixed from them.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[n, d]`, rows of unit length
    /// - labels: `[n]`
    ///
    /// # Errors
    ///
    /// As [`forward_mixed`](Self::forward_mixed).
    pub fn value_and_grad<B: RecallBackend>(
        &self,
        embeddings: Tensor<B, 2>,
        labels: Tensor<B, 1, Int>,
        mixup: Option<&Mixup>,
    ) -> Result<LossAndGrad<B>, LossError> {
        let batch = self.checked(&embeddings, labels, mixup)?;
        let (recall, grad) = B::recall_and_grad(primitive(embeddings), &batch);
        let recall: Tensor<B, 1> = tensor(recall);
        Ok(LossAndGrad {
            loss: loss_of(recall.clone()),
            grad: tensor(grad),
            recall,
            queries: batch.queries(),
        })
    }

    /// A batch for [`RecallBackend`] or [`plain`](crate::plain).
    ///
    /// # Errors
    ///
    /// [`LossError::NoPositives`], [`LossError::MixupRow`] or [`LossError::MixupClasses`].
    pub fn batch(&self, labels: &[i64], mixup: Option<&Mixup>) -> Result<RecallBatch, LossError> {
        RecallBatch::new(self, labels, mixup)
    }

    fn checked<B: Backend>(
        &self,
        embeddings: &Tensor<B, 2>,
        labels: Tensor<B, 1, Int>,
        mixup: Option<&Mixup>,
    ) -> Result<RecallBatch, LossError> {
        let [rows, _] = embeddings.dims();
        let labels: Vec<i64> = labels.into_data().iter::<i64>().collect();
        if labels.len() != rows {
            return Err(LossError::LabelCount {
                labels: labels.len(),
                embeddings: rows,
            });
        }
        let batch = self.batch(&labels, mixup)?;
        check_finite(embeddings)?;
        Ok(batch)
    }
}

/// Refuses what no loss can be computed of: one sum crosses to the host.
fn check_finite<B: Backend>(embeddings: &Tensor<B, 2>) -> Result<(), LossError> {
    // No similarity is greater than the sum of all squares.
    let squares = |rows: Tensor<B, 2>| (rows.clone() * rows).sum().into_data();
    let finite = |sum: &TensorData| sum.iter::<f64>().all(|sum| sum < GREATEST);
    let embeddings = embeddings.clone().detach();
    if finite(&squares(embeddings.clone())) {
        return Ok(());
    }
    let values = embeddings.into_data();
    let dim = values.shape[1].max(1);
    let mut lengths = vec![0.0; values.shape[0]];
    for (index, value) in values.iter::<f64>().enumerate() {
        lengths[index / dim] += value * value;
    }
    // If it takes all rows together to overflow, the longest is to blame.
    let fault = lengths
        .iter()
        .position(|&length| length.is_nan() || length >= GREATEST);
    let longest = || (0..lengths.len()).max_by(|&a, &b| lengths[a].total_cmp(&lengths[b]));
    Err(LossError::NonFinite {
        row: fault.or_else(longest).unwrap_or(0),
    })
}

/// Far above what normalised embeddings add up to, and below what stands for "excluded".
const GREATEST: f64 = 1e29;
