//! Kernels in CubeCL, for CUDA, wgpu and whatever else it compiles to.
//!
//! A block of queries at a time: the products of its real rows with all rows, the soft ranks of all
//! positives, recalls, the slope of the loss along every similarity, and two products that carry it
//! to the embeddings. Everything is queued; nothing waits for the device. That is for Recall@k; other
//! losses take the tensor operations of [`plain`].

#[cfg(feature = "fusion")]
mod fusion;
mod mix;
mod product;
mod query;
mod ranks;
mod recall;
mod rows;
mod sigmoid;
mod slope;
mod tables;

use burn::tensor::{
    DType,
    ops::{FloatTensor, FloatTensorOps},
};
use burn_cubecl::{
    BoolElement, CubeBackend, CubeRuntime, FloatElement, IntElement, kernel::into_contiguous,
    ops::numeric, tensor::CubeTensor,
};

use self::{
    product::product,
    tables::{Block, DeviceTables, Tables},
};
use crate::{
    Objective, RecallBackend, RecallBatch,
    backend::{primitive, tensor},
    plain,
};

impl<R, F, I, BT> RecallBackend for CubeBackend<R, F, I, BT>
where
    R: CubeRuntime,
    F: FloatElement,
    I: IntElement,
    BT: BoolElement,
{
    fn recall_and_grad(
        embeddings: FloatTensor<Self>,
        batch: &RecallBatch,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        // A share without queries has no block, and buffers of no bytes are nothing to launch kernels with.
        let nothing = batch.query_count() == 0;
        let (Objective::RecallAtK(loss), DType::F32, false) =
            (batch.objective(), embeddings.dtype, nothing)
        else {
            let (recall, grad) = plain::recall_and_grad::<Self>(tensor(embeddings), batch);
            return (primitive(recall), primitive(grad));
        };
        let embeddings = into_contiguous(embeddings);
        let client = &embeddings.client;
        let largest_buffer = client.properties().memory.max_page_size as usize;
        let host = Tables::new(batch, tables::block_size(batch, largest_buffer));
        let tables = host.to_device(loss, batch, client, &embeddings.device);

        let recall = tables.empty([batch.query_count()]);
        let mut grad: Option<CubeTensor<R>> = None;
        for block in host.blocks() {
            let own = rows::take(&embeddings, &tables, block);
            let products =
                product::<R, F, I, BT>(own.clone(), Self::float_transpose(embeddings.clone()));
            let slope = product_slope(products, &recall, &tables, block);

            // s = e_q · e_z: each similarity pulls on both of its ends.
            let on_queries = product::<R, F, I, BT>(slope.clone(), embeddings.clone());
            let on_items = product::<R, F, I, BT>(Self::float_transpose(slope), own);
            let sum = match grad {
                None => on_items,
                Some(grad) => into_contiguous(numeric::add(grad, on_items)),
            };
            rows::add(&sum, on_queries, &tables, block);
            grad = Some(sum);
        }
        let grad = grad.unwrap_or_else(|| {
            let [rows, dim] = burn::tensor::TensorMetadata::shape(&embeddings).dims();
            tables.empty([rows, dim])
        });
        (recall, grad)
    }
}

/// The recalls of a block's queries, written into `recall`, and the derivative of the loss with
/// respect to the products of the block's rows with all rows.
///
/// `[r, n]` → `[r, n]`
fn product_slope<R: CubeRuntime>(
    products: CubeTensor<R>,
    recall: &CubeTensor<R>,
    tables: &DeviceTables<R>,
    block: &Block,
) -> CubeTensor<R> {
    let similarities = match &tables.mixup {
        Some(mixup) => mix::expand(products, mixup, tables, block),
        None => products,
    };
    let (ranks, steepness) = ranks::soft_ranks(&similarities, tables, block);
    let weights = recall::soft_recall(ranks, recall, tables, block);
    let slope = slope::similarity_slope(similarities, weights, steepness, tables, block);
    match &tables.mixup {
        Some(mixup) => mix::collapse(slope, mixup, tables, block),
        None => slope,
    }
}
