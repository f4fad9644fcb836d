use burn::backend::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::tensor::ops::FloatTensor;

use crate::backend::kernels_for;
use crate::{Kept, Kernels, Layer, NnBackend, plain};

impl<B: NnBackend, C: CheckpointStrategy> NnBackend for Autodiff<B, C> {
    const MISREADS_INNER_LENGTHS: bool = B::MISREADS_INNER_LENGTHS;

    fn layer(layer: Layer, inputs: Vec<FloatTensor<Self>>) -> FloatTensor<Self> {
        let inner: Vec<_> = inputs.iter().map(|input| input.primitive.clone()).collect();
        let Some(kernels) = kernels_for::<B>(layer, &inner) else {
            return plain::forward::<Self>(layer, inputs);
        };
        // Burn's nodes know their number of parents when they are compiled.
        let record = match inputs.len() {
            1 => record::<B, C, 1>,
            2 => record::<B, C, 2>,
            3 => record::<B, C, 3>,
            4 => record::<B, C, 4>,
            _ => record::<B, C, 5>,
        };
        record(kernels, layer, &inputs, inner)
    }
}

/// Runs the kernel of `layer` and, where a gradient is wanted, records how it comes back.
fn record<B: NnBackend, C: CheckpointStrategy, const N: usize>(
    kernels: &'static dyn Kernels<B>,
    layer: Layer,
    inputs: &[FloatTensor<Autodiff<B, C>>],
    inner: Vec<FloatTensor<B>>,
) -> FloatTensor<Autodiff<B, C>> {
    let nodes: [_; N] = std::array::from_fn(|index| inputs[index].node.clone());
    match Backward::<B, N>::prepare::<C>(LayerBackward(layer), nodes)
        .compute_bound()
        .stateful()
    {
        OpsKind::Tracked(prep) => {
            let (output, kept) = kernels.forward_keeping(layer, inner);
            prep.finish(KeptBy { kernels, kept }, output)
        }
        OpsKind::UnTracked(prep) => prep.finish(kernels.forward(layer, inner)),
    }
}

#[derive(Debug)]
struct LayerBackward(Layer);

/// What a layer kept, and whose kernels know what it means.
struct KeptBy<B: NnBackend> {
    kernels: &'static dyn Kernels<B>,
    kept: Kept<B>,
}

impl<B: NnBackend> Clone for KeptBy<B> {
    fn clone(&self) -> Self {
        Self {
            kernels: self.kernels,
            kept: self.kept.clone(),
        }
    }
}

impl<B: NnBackend> std::fmt::Debug for KeptBy<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.kept.fmt(f)
    }
}

impl<B: NnBackend, const N: usize> Backward<B, N> for LayerBackward {
    type State = KeptBy<B>;

    fn backward(self, ops: Ops<Self::State, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let wanted: Vec<bool> = ops.parents.iter().map(Option::is_some).collect();
        let KeptBy { kernels, kept } = ops.state;
        let found = kernels.backward(self.0, kept, grad, &wanted);
        for (parent, grad) in ops.parents.into_iter().zip(found) {
            if let (Some(parent), Some(grad)) = (parent, grad) {
                grads.register::<B>(parent.id, grad);
            }
        }
    }
}
