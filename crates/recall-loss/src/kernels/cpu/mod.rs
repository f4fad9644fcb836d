//! The kernels for backends that keep their tensors in main memory.
//!
//! The work that cannot be avoided is two matrix products: the similarities, and the gradient. They
//! are done in square tiles on and above the diagonal, since the similarity of two items serves both
//! of them as queries. First pass: each tile adds to the soft ranks of the positives of the queries
//! on its two sides. From the ranks follow the values of the queries, recall or average precision, and how
//! much each rank weighs. Second pass: the tiles again, now for the derivatives with respect to the similarities, which at once pull on
//! both ends. A tile in which every comparison was saturated has none and is left out. The products
//! of the others are kept between the passes as long as all of them take at most 64 MB; of a larger
//! batch no more than one tile for each of at most 32 tasks exists at a time.
//!
//! What a tile costs beside the products is one exponential for each similarity and direction, and
//! one reciprocal for each of the query's positives. Vectors in which every item is far from every
//! positive cost a comparison.
//!
//! Every sum has a fixed order, so the number of threads changes no bit.

mod arrangement;
mod outer;
mod positives;
mod product;
mod ranks;
mod recall_at_k;
mod setting;
mod sigmoid;
mod slopes;
mod smooth_ap;
mod steps;
mod tile;
mod within;

use burn::tensor::{DType, Tensor, TensorData, backend::Backend, ops::FloatTensor};

use self::{arrangement::Arrangement, positives::Positives, ranks::Visited, setting::Setting};
use crate::{
    RecallBackend, RecallBatch,
    backend::{loss_of, primitive, tensor},
    plain,
};

#[cfg(feature = "flex")]
impl RecallBackend for burn_flex::Flex {
    fn recall_and_grad(
        embeddings: FloatTensor<Self>,
        batch: &RecallBatch,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        recall_and_grad::<Self>(embeddings, batch)
    }

    fn recall_loss(embeddings: FloatTensor<Self>, batch: &RecallBatch) -> FloatTensor<Self> {
        recall_loss::<Self>(embeddings, batch)
    }

    fn on_host() -> bool {
        true
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
        recall_and_grad::<Self>(embeddings, batch)
    }

    fn recall_loss(embeddings: FloatTensor<Self>, batch: &RecallBatch) -> FloatTensor<Self> {
        recall_loss::<Self>(embeddings, batch)
    }

    fn on_host() -> bool {
        true
    }
}

/// The kernels compute in f32; other precisions take the tensor operations.
fn recall_and_grad<B: Backend>(
    embeddings: FloatTensor<B>,
    batch: &RecallBatch,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let embeddings: Tensor<B, 2> = tensor(embeddings);
    let (recall, grad) = if embeddings.dtype() == DType::F32 {
        on_slices(embeddings, |values, dim| {
            let ranked = Ranked::new(values, dim, batch);
            (ranked.values(), ranked.grad())
        })
    } else {
        plain::recall_and_grad(embeddings, batch)
    };
    (primitive(recall), primitive(grad))
}

/// The loss without the second pass.
fn recall_loss<B: Backend>(embeddings: FloatTensor<B>, batch: &RecallBatch) -> FloatTensor<B> {
    let embeddings: Tensor<B, 2> = tensor(embeddings);
    let recall = if embeddings.dtype() == DType::F32 {
        let no_grad = |values: &[f32], dim| (Ranked::new(values, dim, batch).values(), vec![]);
        on_slices(embeddings, no_grad).0
    } else {
        plain::recall_and_grad(embeddings, batch).0
    };
    primitive(loss_of(recall))
}

/// Hands the values of `[n, dim]` to a function, and the vectors it makes back to the backend: one of
/// its own length and one in rows of `dim`.
fn on_slices<B: Backend>(
    embeddings: Tensor<B, 2>,
    compute: impl FnOnce(&[f32], usize) -> (Vec<f32>, Vec<f32>),
) -> (Tensor<B, 1>, Tensor<B, 2>) {
    let device = embeddings.device();
    let [_, dim] = embeddings.dims();
    let data = embeddings.into_data();
    let values = data.as_slice::<f32>().expect("the caller asked for f32");
    let (vector, rows) = compute(values, dim);
    let (length, height) = (vector.len(), rows.len().checked_div(dim).unwrap_or(0));
    let options = (&device, DType::F32);
    (
        Tensor::from_data(TensorData::new(vector, [length]), options),
        Tensor::from_data(TensorData::new(rows, [height, dim]), options),
    )
}

/// A batch after the first pass.
struct Ranked<'a> {
    batch: &'a RecallBatch,
    arrangement: Arrangement,
    /// The embeddings in the order of classes.
    sorted: Vec<f32>,
    dim: usize,
    positives: Positives,
    visited: Vec<Vec<Visited>>,
    /// The value at each position.
    values: Vec<f64>,
}

impl<'a> Ranked<'a> {
    fn new(embeddings: &[f32], dim: usize, batch: &'a RecallBatch) -> Self {
        let arrangement = Arrangement::new(batch);
        let mut sorted = Vec::with_capacity(embeddings.len());
        for &row in &arrangement.rows {
            sorted.extend_from_slice(&embeddings[row * dim..(row + 1) * dim]);
        }
        let objective = batch.objective();
        let setting = Setting::new(&sorted, dim, batch);
        let mut positives = within::compare(&setting, &arrangement);
        let visited = ranks::compare(&setting, &arrangement, &mut positives);
        // The loss is 1 − the mean value, so each query's value weighs −1 / queries.
        let scale = -1.0 / (batch.query_count() as f64 * objective.tau());
        let values = outer::values(objective, &arrangement, &mut positives, scale);
        Self {
            batch,
            arrangement,
            sorted,
            dim,
            positives,
            visited,
            values,
        }
    }

    /// The value of each query, in the order of items.
    fn values(&self) -> Vec<f32> {
        let lonely = self.batch.objective().counts_lonely();
        let mut by_item = vec![None; self.arrangement.items.len()];
        for (position, &item) in self.arrangement.items.iter().enumerate() {
            let slots = self.positives.slots(position..position + 1);
            let is_query = lonely || !slots.is_empty();
            by_item[item] = is_query.then_some(self.values[position] as f32);
        }
        by_item.into_iter().flatten().collect()
    }

    /// The gradient of the loss, `[n, dim]` in the order of the batch.
    fn grad(&self) -> Vec<f32> {
        let (arrangement, positives) = (&self.arrangement, &self.positives);
        let setting = Setting::new(&self.sorted, self.dim, self.batch);
        let mut sorted = vec![0.0; self.sorted.len()];
        within::gradient(&setting, arrangement, positives, &mut sorted);
        slopes::gradient(&setting, arrangement, positives, &self.visited, &mut sorted);

        let mut grad = vec![0.0; sorted.len()];
        for (values, &row) in sorted.chunks_exact(self.dim.max(1)).zip(&arrangement.rows) {
            grad[row * self.dim..(row + 1) * self.dim].copy_from_slice(values);
        }
        grad
    }
}
