//! Similarities, a block of queries at a time, with derivatives that are known.

use burn::tensor::{Tensor, backend::Backend};
use recall_loss::RecallBackend;

use crate::Places;
use crate::dense::{self, Dense, ordered};
use crate::rows::widened;

/// Numbers of a block of rows, about.
pub(crate) const BLOCK: usize = 1 << 23;

/// What a block of queries comes to.
pub(crate) struct OfBlock<B: Backend> {
    /// A number for each query, `[b, 1]`.
    pub values: Tensor<B, 2>,
    /// The derivatives of the loss with respect to the similarities, `[b, n]`, if they are wanted.
    pub slopes: Option<Tensor<B, 2>>,
}

/// The gradients of the queries, and of the references where these are others, in the order of the batch.
pub(crate) type Gradients<B> = (Tensor<B, 2>, Option<Tensor<B, 2>>);

/// The values `[n, 1]` of all queries, in the order of their places, and the gradients of the loss if `of_block` has
/// derivatives, in single precision if the batch is in half precision. Nothing is larger than a few blocks of rows.
///
/// `of_block` gets the comparisons, the places of the block's queries, and the number of the first.
pub(crate) fn in_blocks<B: Backend>(
    queries: Tensor<B, 2>,
    references: Tensor<B, 2>,
    places: &Places,
    block: usize,
    of_block: impl Fn(&Dense<B>, &Places, usize) -> OfBlock<B>,
) -> (Tensor<B, 2>, Option<Gradients<B>>) {
    let (rows, columns) = (places.rows.len(), places.references.len());
    let size = (block / columns.max(1)).clamp(16, 1024);
    let queries = widened(ordered(queries, &places.queries));
    let references = widened(ordered(references, &places.references));
    let mut values = Vec::new();
    let mut on_queries = Vec::new();
    let mut on_references = references.zeros_like();
    for start in (0..rows).step_by(size) {
        let end = rows.min(start + size);
        let block = Places {
            queries: (start..end).collect(),
            references: (0..columns).collect(),
            rows: places.rows[start..end].to_vec(),
            same: false,
            constant: false,
        };
        let dense = Dense::new(queries.clone(), references.clone(), &block);
        let found = of_block(&dense, &block, start);
        values.push(found.values);
        if let Some(slopes) = found.slopes {
            on_queries.push(slopes.clone().matmul(references.clone()));
            on_references = on_references + slopes.transpose().matmul(dense.queries);
        }
    }
    let gradients = (!on_queries.is_empty()).then(|| {
        let on_queries = Tensor::cat(on_queries, 0);
        match places.same {
            true => (in_order(on_queries + on_references, &places.queries), None),
            false => (
                in_order(on_queries, &places.queries),
                Some(in_order(on_references, &places.references)),
            ),
        }
    });
    (Tensor::cat(values, 0), gradients)
}

/// Rows at their places to rows of the batch.
fn in_order<B: Backend>(rows: Tensor<B, 2>, order: &[usize]) -> Tensor<B, 2> {
    let mut place = vec![0; order.len()];
    for (at, &item) in order.iter().enumerate() {
        place[item] = at;
    }
    ordered(rows, &place)
}

/// A value `[1]` with gradients that are known, in the precision of the batch.
pub(crate) fn with_gradients<B: RecallBackend>(
    value: Tensor<B, 1>,
    queries: Tensor<B, 2>,
    references: Tensor<B, 2>,
    gradients: Option<Gradients<B>>,
) -> Tensor<B, 1> {
    let dtype = queries.dtype();
    let value = match value.dtype() == dtype {
        true => value,
        false => value.cast(dtype),
    };
    let narrow = |(of, gradient): (Tensor<B, 2>, Tensor<B, 2>)| match gradient.dtype() == dtype {
        true => (of, gradient),
        false => (of, gradient.cast(dtype)),
    };
    let gradients = gradients
        .into_iter()
        .flat_map(|(on_queries, on_references)| {
            let on_references = on_references.map(|gradient| (references.clone(), gradient));
            [Some((queries.clone(), on_queries)), on_references]
        });
    dense::with_gradients(value, gradients.flatten().map(narrow))
}
