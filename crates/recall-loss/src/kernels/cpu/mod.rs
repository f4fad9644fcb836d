//! The kernels for backends that keep their tensors in main memory.
//!
//! The work that cannot be avoided is two matrix products: the similarities, and the gradient. They
//! are done in square tiles on and above the diagonal, since the similarity of two items serves both
//! of them as queries, and nothing larger than a tile exists. First pass: each tile adds to the soft
//! ranks of the positives of the queries on its two sides. From the ranks follow the recalls and how
//! much each rank weighs. Second pass: the tiles again, now for the derivatives with respect to the
//! similarities, which at once pull on both ends. A tile in which every comparison was saturated has
//! none and is left out.
//!
//! What a tile costs beside the products is one exponential for each similarity and direction, and
//! one reciprocal for each of the query's positives. Vectors in which every item is far from every
//! positive cost a comparison.
//!
//! Every sum has a fixed order, so the number of threads changes no bit.

mod arrangement;
mod positives;
mod product;
mod ranks;
mod recall;
mod sigmoid;
mod slopes;
mod tile;
mod within;

use std::{f64::consts::LOG2_E, ops::Range};

use burn::tensor::{DType, Tensor, TensorData, backend::Backend, ops::FloatTensor};

use self::arrangement::Arrangement;
use crate::{
    RecallBackend, RecallBatch,
    backend::{primitive, tensor},
    plain,
};

/// Stands for "less similar than anything": compared with it, every positive comes first.
const EXCLUDED: f32 = -1e30;

#[cfg(feature = "flex")]
impl RecallBackend for burn_flex::Flex {
    fn recall_and_grad(
        embeddings: FloatTensor<Self>,
        batch: &RecallBatch,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        on_host::<Self>(embeddings, batch)
    }
}

#[cfg(feature = "ndarray")]
impl<E, I, Q> RecallBackend for burn_ndarray::NdArray<E, I, Q>
where
    E: burn_ndarray::FloatNdArrayElement,
    I: burn_ndarray::IntNdArrayElement,
    Q: burn_ndarray::QuantElement,
    burn_ndarray::NdArrayTensor:
        From<burn_ndarray::SharedArray<E>> + From<burn_ndarray::SharedArray<I>>,
{
    fn recall_and_grad(
        embeddings: FloatTensor<Self>,
        batch: &RecallBatch,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        on_host::<Self>(embeddings, batch)
    }
}

/// The kernels compute in f32; other precisions take the tensor operations.
fn on_host<B: Backend>(
    embeddings: FloatTensor<B>,
    batch: &RecallBatch,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let embeddings: Tensor<B, 2> = tensor(embeddings);
    if embeddings.dtype() != DType::F32 {
        let (recall, grad) = plain::recall_and_grad(embeddings, batch);
        return (primitive(recall), primitive(grad));
    }
    let device = embeddings.device();
    let [rows, dim] = embeddings.dims();
    let data = embeddings.into_data();
    let values = data.as_slice::<f32>().expect("f32 was asked about above");
    let (recall, grad) = recall_and_grad(values, dim, batch);
    let recall_shape = [recall.len()];
    let options = (&device, DType::F32);
    (
        primitive(Tensor::<B, 1>::from_data(
            TensorData::new(recall, recall_shape),
            options,
        )),
        primitive(Tensor::<B, 2>::from_data(
            TensorData::new(grad, [rows, dim]),
            options,
        )),
    )
}

/// What the parts of the computation have in common.
struct Setting<'a> {
    /// `[n, dim]`, in the order of classes.
    embeddings: &'a [f32],
    dim: usize,
    /// `log₂(e) / τ_rank`: from differences of similarities to powers of two.
    kappa: f32,
    query_in_rank: bool,
}

impl<'a> Setting<'a> {
    fn rows(&self, rows: Range<usize>) -> &'a [f32] {
        &self.embeddings[rows.start * self.dim..rows.end * self.dim]
    }
}

fn recall_and_grad(embeddings: &[f32], dim: usize, batch: &RecallBatch) -> (Vec<f32>, Vec<f32>) {
    let arrangement = Arrangement::new(batch);
    let mut sorted = Vec::with_capacity(embeddings.len());
    for &row in &arrangement.rows {
        sorted.extend_from_slice(&embeddings[row * dim..(row + 1) * dim]);
    }
    let loss = batch.loss();
    let setting = Setting {
        embeddings: &sorted,
        dim,
        kappa: (LOG2_E / loss.tau_rank) as f32,
        query_in_rank: loss.query_in_rank,
    };

    let mut positives = within::compare(&setting, &arrangement);
    let active = ranks::compare(&setting, &arrangement, &mut positives);
    // The loss is 1 − the mean recall, so each query's recall weighs −1 / queries.
    let scale = -1.0 / (batch.query_count() as f64 * loss.tau_rank);
    let recalls = recall::recall(loss, &arrangement, &mut positives, scale);
    let mut grad = vec![0.0; sorted.len()];
    within::gradient(&setting, &arrangement, &positives, &mut grad);
    slopes::gradient(&setting, &arrangement, &positives, &active, &mut grad);

    let mut by_item = vec![None; arrangement.items.len()];
    for (position, &item) in arrangement.items.iter().enumerate() {
        let is_query = !positives.slots(position..position + 1).is_empty();
        by_item[item] = is_query.then_some(recalls[position] as f32);
    }
    // The memory of the sorted rows takes the gradient in the order of the batch.
    let mut unsorted = sorted;
    for (values, &row) in grad.chunks_exact(dim.max(1)).zip(&arrangement.rows) {
        unsorted[row * dim..(row + 1) * dim].copy_from_slice(values);
    }
    (by_item.into_iter().flatten().collect(), unsorted)
}
