//! Fusion queues operations to merge them; this one passes through to the backend inside.

use std::{marker::PhantomData, sync::Arc};

use burn::tensor::{Shape, TensorMetadata, ops::FloatTensor};
use burn_fusion::{
    Fusion, FusionBackend, FusionRuntime,
    stream::{Operation, OperationStreams},
};
use burn_ir::{CustomOpIr, HandleContainer, OperationIr, OperationOutput, TensorIr};

use crate::{RecallBackend, RecallBatch};

impl<B: FusionBackend + RecallBackend> RecallBackend for Fusion<B> {
    fn recall_and_grad(
        embeddings: FloatTensor<Self>,
        batch: &RecallBatch,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let client = embeddings.client.clone();
        let (shape, dtype) = (embeddings.shape(), embeddings.dtype());
        let streams = OperationStreams::with_inputs([&embeddings]);
        let output = |shape| TensorIr::uninit(client.create_empty_handle(), shape, dtype);
        let outputs = [output(Shape::new([batch.query_count()])), output(shape)];
        let description = CustomOpIr::new("recall_and_grad", &[embeddings.into_ir()], &outputs);
        let operation = RecallAndGrad::<B> {
            description: description.clone(),
            batch: Arc::new(batch.clone()),
            backend: PhantomData,
        };
        let [recall, grad] = client
            .register(streams, OperationIr::Custom(description), operation)
            .outputs();
        (recall, grad)
    }
}

#[derive(Debug)]
struct RecallAndGrad<B> {
    description: CustomOpIr,
    batch: Arc<RecallBatch>,
    backend: PhantomData<B>,
}

impl<B: FusionBackend + RecallBackend> Operation<B::FusionRuntime> for RecallAndGrad<B> {
    fn execute(
        &self,
        handles: &mut HandleContainer<<B::FusionRuntime as FusionRuntime>::FusionHandle>,
    ) {
        let ([embeddings], [recall_ir, grad_ir]) = self.description.as_fixed();
        let embeddings = handles.get_float_tensor::<B>(embeddings);
        let (recall, grad) = B::recall_and_grad(embeddings, &self.batch);
        handles.register_float_tensor::<B>(&recall_ir.id, recall);
        handles.register_float_tensor::<B>(&grad_ir.id, grad);
    }
}
