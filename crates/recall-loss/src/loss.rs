use std::ops::Range;

use burn::tensor::{Int, Tensor, TensorData, backend::Backend};

use crate::{
    LossError, Mixup, Objective, RecallBackend, RecallBatch,
    backend::{loss_of, primitive, tensor},
};

/// What [`RecallAtKLoss::value_and_grad`](crate::RecallAtKLoss::value_and_grad) and
/// [`SmoothAp::value_and_grad`](crate::SmoothAp::value_and_grad) give, and `value_and_grad_of` of either for
/// a share of the queries.
#[derive(Debug, Clone)]
pub struct LossAndGrad<B: Backend> {
    /// `[1]`: the loss; of a share, its part of the loss of the batch.
    pub loss: Tensor<B, 1>,
    /// `[n, d]`: its gradient with respect to the embeddings, all of them.
    pub grad: Tensor<B, 2>,
    /// `[queries]`: the value of each query, its soft recall averaged over k or its soft average
    /// precision; the loss is 1 − their mean. Of a share it is the sum of 1 − each of them, over the number
    /// of queries of the whole batch.
    pub recall: Tensor<B, 1>,
    /// The items that `recall` speaks of, ascending: rows of the batch, then, from `n` on, virtual
    /// items in the order of the mixup. Items without a positive are missing,
    /// unless the loss counts them, and those of other shares.
    pub queries: Vec<usize>,
}

impl<B: Backend> LossAndGrad<B> {
    /// The gradient, and all of it: what the two-pass step of `recall-step` asks of an objective. So
    /// `|embeddings| loss.value_and_grad(embeddings, labels, None).map(LossAndGrad::for_step)` is one.
    pub fn for_step(self) -> (Tensor<B, 2>, Self) {
        (self.grad.clone(), self)
    }
}

/// The loss of a batch, as the losses' methods of this name promise it.
pub(crate) fn forward<B: RecallBackend>(
    objective: impl Into<Objective>,
    embeddings: Tensor<B, 2>,
    labels: Tensor<B, 1, Int>,
    mixup: Option<&Mixup>,
) -> Result<Tensor<B, 1>, LossError> {
    let batch = checked(objective, &embeddings, labels, mixup)?;
    Ok(tensor(B::recall_loss(primitive(embeddings), &batch)))
}

/// The loss and its gradient, likewise.
pub(crate) fn value_and_grad<B: RecallBackend>(
    objective: impl Into<Objective>,
    embeddings: Tensor<B, 2>,
    labels: Tensor<B, 1, Int>,
    mixup: Option<&Mixup>,
) -> Result<LossAndGrad<B>, LossError> {
    let batch = checked(objective, &embeddings, labels, mixup)?;
    Ok(computed(embeddings, &batch))
}

/// A share of both, likewise.
pub(crate) fn value_and_grad_of<B: RecallBackend>(
    objective: impl Into<Objective>,
    rows: Range<usize>,
    embeddings: Tensor<B, 2>,
    labels: Tensor<B, 1, Int>,
    mixup: Option<&Mixup>,
) -> Result<LossAndGrad<B>, LossError> {
    let batch = checked(objective, &embeddings, labels, mixup)?.share(rows)?;
    Ok(computed(embeddings, &batch))
}

fn computed<B: RecallBackend>(embeddings: Tensor<B, 2>, batch: &RecallBatch) -> LossAndGrad<B> {
    let (recall, grad) = B::recall_and_grad(primitive(embeddings), batch);
    let recall: Tensor<B, 1> = tensor(recall);
    LossAndGrad {
        loss: loss_of(recall.clone(), batch),
        grad: tensor(grad),
        recall,
        queries: batch.queries(),
    }
}

fn checked<B: Backend>(
    objective: impl Into<Objective>,
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
    let batch = RecallBatch::new(objective, &labels, mixup)?;
    check_finite(embeddings)?;
    Ok(batch)
}

/// Refuses what no loss can be computed of: one sum crosses to the host.
///
/// # Errors
///
/// [`LossError::NonFinite`].
pub fn check_finite<B: Backend>(embeddings: &Tensor<B, 2>) -> Result<(), LossError> {
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
