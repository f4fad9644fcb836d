use burn::backend::{
    Autodiff,
    autodiff::{
        checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
        grads::Gradients,
        ops::{Backward, Ops, OpsKind, unary},
    },
};
use burn::tensor::{ElementConversion, ops::FloatTensor};

use crate::{
    RecallBackend, RecallBatch,
    backend::{loss_of, primitive, tensor},
};

/// A node whose state is its gradient, found together with its value.
#[derive(Debug)]
struct Known;

impl<B: RecallBackend> Backward<B, 1> for Known {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        unary::<B, _>(ops.parents, ops.node, grads, |upstream| {
            let (gradient, upstream) = (tensor::<B, 2>(ops.state), tensor::<B, 1>(upstream));
            // To read a number waits for a device, but not for the host.
            primitive(match B::on_host() {
                true => match upstream.into_scalar().elem::<f64>() {
                    1.0 => gradient,
                    factor => gradient.mul_scalar(factor),
                },
                false => gradient * upstream.unsqueeze::<2>(),
            })
        });
    }
}

impl<B: RecallBackend, C: CheckpointStrategy> RecallBackend for Autodiff<B, C> {
    fn recall_and_grad(
        embeddings: FloatTensor<Self>,
        batch: &RecallBatch,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        use burn::tensor::backend::AutodiffBackend;

        let (recall, grad) = B::recall_and_grad(Self::inner(embeddings), batch);
        (Self::from_inner(recall), Self::from_inner(grad))
    }

    fn recall_loss(embeddings: FloatTensor<Self>, batch: &RecallBatch) -> FloatTensor<Self> {
        match Known
            .prepare::<C>([embeddings.node.clone()])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prep) => {
                let (recall, grad) = B::recall_and_grad(embeddings.primitive, batch);
                prep.finish(grad, primitive(loss_of(tensor::<B, 1>(recall), batch)))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::recall_loss(embeddings.primitive, batch)),
        }
    }

    fn zero_with_gradient(of: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        let prepared = Known
            .prepare::<C>([of.node.clone()])
            .compute_bound()
            .stateful();
        let zero = B::zero_with_gradient(of.primitive, gradient.primitive.clone());
        match prepared {
            OpsKind::Tracked(prep) => prep.finish(gradient.primitive, zero),
            OpsKind::UnTracked(prep) => prep.finish(zero),
        }
    }

    fn on_host() -> bool {
        B::on_host()
    }
}
