use burn::tensor::{DType, IndexingUpdateOp, Int, Tensor, backend::Backend};

use crate::{
    LossError, Mixup, RecallAtKLoss,
    forward::check_batch,
    interpolation::Interpolation,
    relevance::{DeviceQueryBlock, QueryBlock, Relevance, ints},
    surrogate::sigmoid_slope,
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

impl RecallAtKLoss {
    /// The loss and its gradient with respect to the embeddings, by the chain rule written out.
    ///
    /// No autodiff graph is built: call it on the inner backend, and hand the gradient to the model
    /// by back-propagating `Σ embeddings · grad`. Queries are handled in blocks, so memory grows with
    /// `block_size · n` and not with n². Only similarities of real embeddings are computed; virtual
    /// rows and columns are mixed from them.
    ///
    /// # Shapes
    ///
    /// - embeddings: `[n, d]`, rows of unit length
    /// - labels: `[n]`
    ///
    /// # Errors
    ///
    /// As [`forward_mixed`](Self::forward_mixed).
    pub fn value_and_grad<B: Backend>(
        &self,
        embeddings: Tensor<B, 2>,
        labels: Tensor<B, 1, Int>,
        mixup: Option<&Mixup>,
    ) -> Result<LossAndGrad<B>, LossError> {
        let labels = check_batch(&embeddings, labels)?;
        let mixup = mixup.filter(|mixup| !mixup.is_empty());
        let relevance = Relevance::new(&labels, mixup)?;
        let loss = self.for_batch(labels.len());
        let (device, dtype) = (embeddings.device(), embeddings.dtype());
        let columns = mixup.map(
            |Mixup {
                 first,
                 second,
                 alpha,
             }| { Interpolation::new(1, first, second, alpha.clone(), &device, dtype) },
        );
        // The loss is 1 − the mean recall, so each query's recall weighs −1 / queries.
        let weight = -1.0 / relevance.queries() as f64;

        let mut grad = embeddings.zeros_like();
        let mut recalls = Vec::new();
        let mut queries = Vec::with_capacity(relevance.queries());
        for block in relevance.blocks(self.block_size) {
            let rows = BlockRows::new(&block, mixup, labels.len(), &device, dtype);
            let own = embeddings.clone().select(0, rows.real.clone());

            let mut similarities = rows.expand(own.clone().matmul(embeddings.clone().transpose()));
            if let Some(columns) = &columns {
                let mixed = columns.mix(similarities.clone());
                similarities = Tensor::cat(vec![similarities, mixed], 1);
            }

            let tensors = block.to_device(&device, dtype);
            let (recall, slope) = loss.recall_and_slope(similarities, &tensors);
            recalls.push(recall.flatten(0, 1));
            queries.extend(block.items);

            let mut slope = slope.mul_scalar(weight);
            if let Some(columns) = &columns {
                let (n, items) = (labels.len(), relevance.items());
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

        let mut order: Vec<usize> = (0..queries.len()).collect();
        order.sort_unstable_by_key(|&i| queries[i]);
        queries.sort_unstable();
        let recall = Tensor::cat(recalls, 0).select(0, ints(&order, &device));
        let loss = recall.clone().mean().neg().add_scalar(1.0);
        Ok(LossAndGrad {
            loss,
            grad,
            recall,
            queries,
        })
    }

    /// The soft recall `[b, 1]` of each query and its derivative `[b, N]` with respect to the query's
    /// similarities.
    fn recall_and_slope<B: Backend>(
        &self,
        similarities: Tensor<B, 2>,
        block: &DeviceQueryBlock<B>,
    ) -> (Tensor<B, 2>, Tensor<B, 2>) {
        let similarities = self.exclude_query(similarities, block);
        let ranks = self.soft_ranks(similarities.clone(), block);
        let recall = self.soft_recall(ranks.clone(), block);
        let rank_slope = self
            .soft_recall_slope(ranks, block)
            .mul_scalar(1.0 / self.tau_rank);

        // A rank rises with the similarity of each item z, by σ'/τ, and falls with that of its own
        // positive x, by the sum of all those.
        let [rows, width] = block.positives.dims();
        let mut slope = similarities.zeros_like();
        let mut on_positives = Vec::with_capacity(width);
        for slot in 0..width {
            let index = block.positives.clone().slice([0..rows, slot..slot + 1]);
            let positive = similarities.clone().gather(1, index.clone());
            let precedes = self.precedes(similarities.clone(), positive);
            // x against itself is no comparison. Left in, its two shares of σ'(0)/τ would cancel up to
            // rounding, and in a saturated row that rounding is all there would be.
            let itself = precedes.clone().gather(1, index.clone());
            let precedes = precedes.scatter(1, index, itself.neg(), IndexingUpdateOp::Add);
            let step =
                sigmoid_slope(precedes) * rank_slope.clone().slice([0..rows, slot..slot + 1]);
            on_positives.push(step.clone().sum_dim(1).neg());
            slope = slope + step;
        }
        let on_positives = Tensor::cat(on_positives, 1);
        let slope = slope.scatter(
            1,
            block.positives.clone(),
            on_positives,
            IndexingUpdateOp::Add,
        );
        (recall, slope)
    }
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
