use burn::tensor::{Int, Tensor, backend::Backend};

use crate::{LossError, Mixup, RecallAtKLoss, interpolation::Interpolation, relevance::Relevance};

impl RecallAtKLoss {
    /// The loss of a batch as plain tensor operations, differentiable by Burn's autodiff.
    ///
    /// Autodiff keeps every comparison: memory grows with n² times the class size. For batches of
    /// more than some hundred items use [`value_and_grad`](Self::value_and_grad), which gives the same
    /// numbers.
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
    pub fn forward<B: Backend>(
        &self,
        embeddings: Tensor<B, 2>,
        labels: Tensor<B, 1, Int>,
    ) -> Result<Tensor<B, 1>, LossError> {
        self.forward_impl(embeddings, labels, None)
    }

    /// [`forward`](Self::forward) over real and virtual items.
    ///
    /// # Errors
    ///
    /// As `forward`, and [`LossError::MixupRow`] or [`LossError::MixupClasses`] if the mixup does not
    /// belong to this batch.
    pub fn forward_mixed<B: Backend>(
        &self,
        embeddings: Tensor<B, 2>,
        labels: Tensor<B, 1, Int>,
        mixup: &Mixup,
    ) -> Result<Tensor<B, 1>, LossError> {
        self.forward_impl(embeddings, labels, Some(mixup))
    }

    fn forward_impl<B: Backend>(
        &self,
        embeddings: Tensor<B, 2>,
        labels: Tensor<B, 1, Int>,
        mixup: Option<&Mixup>,
    ) -> Result<Tensor<B, 1>, LossError> {
        let labels = check_batch(&embeddings, labels)?;
        let mixup = mixup.filter(|mixup| !mixup.is_empty());
        let relevance = Relevance::new(&labels, mixup)?;
        let loss = self.for_batch(labels.len());
        let (device, dtype) = (embeddings.device(), embeddings.dtype());

        let mut similarities = embeddings.clone().matmul(embeddings.transpose());
        if let Some(Mixup {
            first,
            second,
            alpha,
        }) = mixup
        {
            for dim in [0, 1] {
                let mixed = Interpolation::new(dim, first, second, alpha.clone(), &device, dtype)
                    .mix(similarities.clone());
                similarities = Tensor::cat(vec![similarities, mixed], dim);
            }
        }

        let mut recalls = Vec::new();
        for block in relevance.blocks(usize::MAX) {
            let block = block.to_device::<B>(&device, dtype);
            let own = block.own.clone().flatten(0, 1);
            let rows = loss.exclude_query(similarities.clone().select(0, own), &block);
            let ranks = loss.soft_ranks(rows, &block);
            recalls.push(loss.soft_recall(ranks, &block));
        }
        Ok(Tensor::cat(recalls, 0).mean().neg().add_scalar(1.0))
    }
}

/// The labels of a batch that makes sense.
pub(crate) fn check_batch<B: Backend>(
    embeddings: &Tensor<B, 2>,
    labels: Tensor<B, 1, Int>,
) -> Result<Vec<i64>, LossError> {
    let [rows, dim] = embeddings.dims();
    let labels: Vec<i64> = labels.into_data().iter::<i64>().collect();
    if labels.len() != rows {
        return Err(LossError::LabelCount {
            labels: labels.len(),
            embeddings: rows,
        });
    }
    if rows == 0 {
        return Err(LossError::NoPositives { items: 0 });
    }
    // One number crosses to the host: anything not finite times 0 is NaN, and so is a sum with it.
    let probe = embeddings
        .clone()
        .detach()
        .mul_scalar(0.0)
        .sum()
        .into_data();
    if probe.iter::<f64>().any(|sum| sum != 0.0) {
        let values = embeddings.clone().detach().into_data();
        let fault = values.iter::<f64>().position(|value| !value.is_finite());
        return Err(LossError::NonFinite {
            row: fault.unwrap_or(0) / dim.max(1),
        });
    }
    Ok(labels)
}
