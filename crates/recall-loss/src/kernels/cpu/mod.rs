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
//! The queries of a share of a batch are on one side of their tiles alone, in blocks of their own, and meet
//! all blocks of items: two products for the similarities, as there is more to keep and nothing serves
//! twice, and two for the gradient. Beside the embeddings, which are read where they lie, and the gradient there are
//! the tiles of the tasks, and what grows with the queries.
//!
//! Every sum has a fixed order, so the number of threads changes no bit.

mod arrangement;
mod outer;
mod permute;
mod places;
mod positives;
mod ranks;
mod recall_at_k;
mod setting;
mod side;
mod sigmoid;
mod slopes;
mod smooth_ap;
mod steps;
mod tile;
mod within;

use std::borrow::Cow;

use burn::tensor::{DType, Tensor, TensorData, TensorMetadata, backend::Backend, ops::FloatTensor};

use self::{
    arrangement::Arrangement, permute::permute, positives::Positives, ranks::Visited,
    setting::Setting,
};
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

/// A backend whose tensors lie in main memory: reading one copies nothing, also where the caller keeps it.
trait Slices: Backend {
    /// Hands out the values of an f32 tensor, row by row.
    fn read<T>(embeddings: FloatTensor<Self>, read: impl FnOnce(&[f32]) -> T) -> T;
}

#[cfg(feature = "flex")]
impl Slices for burn_flex::Flex {
    fn read<T>(embeddings: FloatTensor<Self>, read: impl FnOnce(&[f32]) -> T) -> T {
        read(embeddings.to_contiguous().storage::<f32>())
    }
}

#[cfg(feature = "ndarray")]
impl<E, I, Q> Slices for burn_ndarray::NdArray<E, I, Q>
where
    E: burn_ndarray::FloatNdArrayElement,
    I: burn_ndarray::IntNdArrayElement,
    Q: burn_ndarray::QuantElement,
    burn_ndarray::NdArrayTensor:
        From<burn_ndarray::SharedArray<E>> + From<burn_ndarray::SharedArray<I>>,
{
    fn read<T>(embeddings: FloatTensor<Self>, read: impl FnOnce(&[f32]) -> T) -> T {
        if let burn_ndarray::NdArrayTensor::F32(values) = &embeddings
            && let Some(values) = values.view().to_slice()
        {
            return read(values);
        }
        // Rows that are a view of something else.
        let data = tensor::<Self, 2>(embeddings).into_data();
        read(data.as_slice().expect("the caller asked for f32"))
    }
}

/// The kernels compute in f32; other precisions take the tensor operations.
fn recall_and_grad<B: Slices>(
    embeddings: FloatTensor<B>,
    batch: &RecallBatch,
) -> (FloatTensor<B>, FloatTensor<B>) {
    if embeddings.dtype() == DType::F32 {
        return on_slices::<B>(embeddings, |values, dim| {
            let ranked = Ranked::new(values, dim, batch);
            (ranked.values(), ranked.grad())
        });
    }
    let (recall, grad) = plain::recall_and_grad::<B>(tensor(embeddings), batch);
    (primitive(recall), primitive(grad))
}

/// The loss without the second pass.
fn recall_loss<B: Slices>(embeddings: FloatTensor<B>, batch: &RecallBatch) -> FloatTensor<B> {
    let recall = if embeddings.dtype() == DType::F32 {
        let no_grad = |values: &[f32], dim| (Ranked::new(values, dim, batch).values(), vec![]);
        tensor::<B, 1>(on_slices::<B>(embeddings, no_grad).0)
    } else {
        plain::recall_and_grad::<B>(tensor(embeddings), batch).0
    };
    primitive(loss_of(recall, batch))
}

/// Hands the values of `[n, dim]` to a function, and the vectors it makes back to the backend: one of
/// its own length and one in rows of `dim`.
fn on_slices<B: Slices>(
    embeddings: FloatTensor<B>,
    compute: impl FnOnce(&[f32], usize) -> (Vec<f32>, Vec<f32>),
) -> (FloatTensor<B>, FloatTensor<B>) {
    let device = B::float_device(&embeddings);
    let [_, dim] = embeddings.shape().dims();
    let (vector, rows) = B::read(embeddings, |values| compute(values, dim));
    let (length, height) = (vector.len(), rows.len().checked_div(dim).unwrap_or(0));
    let (vector, rows) = (
        TensorData::new(vector, [length]),
        TensorData::new(rows, [height, dim]),
    );
    let options = (&device, DType::F32);
    (
        primitive(Tensor::<B, 1>::from_data(vector, options)),
        primitive(Tensor::<B, 2>::from_data(rows, options)),
    )
}

/// A batch after the first pass.
struct Ranked<'a> {
    batch: &'a RecallBatch,
    arrangement: Arrangement,
    /// The embeddings: a whole batch's in the order of classes, a share's as they came.
    embeddings: Cow<'a, [f32]>,
    dim: usize,
    positives: Positives,
    visited: Vec<Vec<Visited>>,
    /// The value at each position.
    values: Vec<f64>,
}

impl<'a> Ranked<'a> {
    fn new(embeddings: &'a [f32], dim: usize, batch: &'a RecallBatch) -> Self {
        let arrangement = Arrangement::new(batch);
        let mut embeddings = Cow::Borrowed(embeddings);
        if !arrangement.is_share() {
            let mut sorted = Vec::with_capacity(embeddings.len());
            for &row in &arrangement.rows {
                sorted.extend_from_slice(&embeddings[row * dim..(row + 1) * dim]);
            }
            embeddings = Cow::Owned(sorted);
        }
        let setting = Setting::new(&embeddings, &arrangement, dim, batch);
        let mut positives = within::compare(&setting, &arrangement);
        let visited = ranks::compare(&setting, &arrangement, &mut positives);
        // The loss is 1 − the mean value, so each query's value weighs −1 / queries.
        let objective = batch.objective();
        let scale = -1.0 / (batch.whole_query_count() as f64 * objective.tau());
        let values = outer::values(objective, &arrangement, &mut positives, scale);
        Self {
            batch,
            arrangement,
            embeddings,
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
            let is_query = self.arrangement.asked[position] && (lonely || !slots.is_empty());
            by_item[item] = is_query.then_some(self.values[position] as f32);
        }
        by_item.into_iter().flatten().collect()
    }

    /// The gradient of the loss, `[n, dim]` in the order of the batch.
    fn grad(&self) -> Vec<f32> {
        let (arrangement, positives) = (&self.arrangement, &self.positives);
        let setting = Setting::new(&self.embeddings, arrangement, self.dim, self.batch);
        let mut sorted = vec![0.0; self.embeddings.len()];
        within::gradient(&setting, arrangement, positives, &mut sorted);
        slopes::gradient(&setting, arrangement, positives, &self.visited, &mut sorted);
        if arrangement.is_share() {
            permute(&mut sorted, self.dim, &arrangement.rows);
            return sorted;
        }

        let mut grad = vec![0.0; sorted.len()];
        for (values, &row) in sorted.chunks_exact(self.dim.max(1)).zip(&arrangement.rows) {
            grad[row * self.dim..(row + 1) * self.dim].copy_from_slice(values);
        }
        grad
    }
}
