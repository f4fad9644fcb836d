use burn::tensor::{DType, IndexingUpdateOp, Int, Tensor, backend::Backend};

use super::{
    blocks::{QueryBlock, ints},
    comparisons::Comparisons,
    interpolation::Interpolation,
    products::products,
};
use crate::{Mixup, RecallBatch};

/// The value of every query, its recall or its average precision, and the gradient of the loss with respect to the embeddings.
///
/// Memory grows with the `block_size` of the settings times the number of items. Of a
/// [`share`](RecallBatch::share) of a batch, the values of its queries and the gradient of its part of the loss.
///
/// # Shapes
///
/// - embeddings: `[n, d]`
/// - output: `[queries]`, in the order of [`RecallBatch::queries`], and `[n, d]`
pub fn recall_and_grad<B: Backend>(
    embeddings: Tensor<B, 2>,
    batch: &RecallBatch,
) -> (Tensor<B, 1>, Tensor<B, 2>) {
    let (objective, mixup) = (batch.objective(), batch.mixup());
    let (device, dtype) = (embeddings.device(), embeddings.dtype());
    let columns = mixup.map(
        |Mixup {
             first,
             second,
             alpha,
         }| { Interpolation::new(1, first, second, alpha.clone(), &device, dtype) },
    );
    // The loss is 1 − the mean value, so each query's value weighs −1 / queries.
    let weight = -1.0 / batch.whole_query_count() as f64;

    let mut grad = embeddings.zeros_like();
    let mut values = Vec::new();
    let mut queries = Vec::with_capacity(batch.query_count());
    for block in batch.blocks(objective.block_size()) {
        let rows = BlockRows::new(&block, mixup, batch.rows(), &device, dtype);
        let own = embeddings.clone().select(0, rows.real.clone());

        let mut similarities = rows.expand(products(own.clone(), embeddings.clone()));
        if let Some(columns) = &columns {
            let mixed = columns.mix(similarities.clone());
            similarities = Tensor::cat(vec![similarities, mixed], 1);
        }

        let tensors = block.to_device(&device, dtype);
        let comparisons = Comparisons::new(similarities, &tensors, objective);
        let ranks = comparisons.ranks();
        values.push(objective.value(ranks.clone(), &tensors).flatten(0, 1));
        queries.extend(block.items);

        let on_ranks = objective.value_slope(ranks, &tensors);
        let mut slope = comparisons.slope(on_ranks, &tensors).mul_scalar(weight);
        if let Some(columns) = &columns {
            let (n, items) = (batch.rows(), batch.items());
            let [queries, _] = slope.dims();
            let real = slope.clone().slice([0..queries, 0..n]);
            let mixed = slope.slice([0..queries, n..items]);
            slope = columns.add_transposed(real, mixed);
        }
        let slope = rows.collapse(slope);

        // s = e_q · e_z: each similarity pulls on both of its ends.
        let on_queries = slope.clone().matmul(embeddings.clone());
        grad = grad + slope.transpose().matmul(own);
        grad = grad.select_assign(0, rows.real, on_queries, IndexingUpdateOp::Add);
    }

    let ranked = queries.len();
    queries.extend(batch.counted_lonely());
    if queries.len() > ranked {
        values.push(Tensor::ones([queries.len() - ranked], (&device, dtype)));
    }
    if queries.is_empty() {
        return (Tensor::zeros([0], (&device, dtype)), grad);
    }
    let mut order: Vec<usize> = (0..queries.len()).collect();
    order.sort_unstable_by_key(|&i| queries[i]);
    let values = Tensor::cat(values, 0).select(0, ints(&order, &device));
    (values, grad)
}

/// Which real embeddings the queries of a block are made of, and how.
struct BlockRows<B: Backend> {
    /// `[r]`: the rows of the batch that occur.
    real: Tensor<B, 1, Int>,
    count: usize,
    /// How the block's queries are mixed from those; none where they are those, in order.
    mix: Option<Interpolation<B>>,
}

impl<B: Backend> BlockRows<B> {
    fn new(
        block: &QueryBlock,
        mixup: Option<&Mixup>,
        n: usize,
        device: &B::Device,
        dtype: DType,
    ) -> Self {
        let Some(mixup) = mixup.filter(|_| block.items.iter().any(|&item| item >= n)) else {
            return Self {
                real: ints(&block.items, device),
                count: block.items.len(),
                mix: None,
            };
        };
        let ends = |&item: &usize| match item.checked_sub(n) {
            None => (item, item, 1.0),
            Some(pair) => (mixup.first[pair], mixup.second[pair], mixup.alpha[pair]),
        };
        let queries: Vec<_> = block.items.iter().map(ends).collect();
        let mut real: Vec<usize> = queries.iter().flat_map(|&(a, b, _)| [a, b]).collect();
        real.sort_unstable();
        real.dedup();
        let place = |row: usize| real.partition_point(|&other| other < row);
        let first: Vec<_> = queries.iter().map(|&(a, _, _)| place(a)).collect();
        let second: Vec<_> = queries.iter().map(|&(_, b, _)| place(b)).collect();
        let alpha = queries.iter().map(|&(_, _, alpha)| alpha).collect();
        Self {
            real: ints(&real, device),
            count: real.len(),
            mix: Some(Interpolation::new(0, &first, &second, alpha, device, dtype)),
        }
    }

    /// Rows of the real embeddings → rows of the queries.
    fn expand(&self, similarities: Tensor<B, 2>) -> Tensor<B, 2> {
        match &self.mix {
            Some(mix) => mix.mix(similarities),
            None => similarities,
        }
    }

    /// A gradient of the queries' rows → of the real embeddings' rows.
    fn collapse(&self, slope: Tensor<B, 2>) -> Tensor<B, 2> {
        let Some(mix) = &self.mix else { return slope };
        let [_, columns] = slope.dims();
        let zeros = Tensor::zeros([self.count, columns], (&slope.device(), slope.dtype()));
        mix.add_transposed(zeros, slope)
    }
}
