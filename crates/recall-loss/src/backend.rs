use burn::tensor::{Tensor, TensorPrimitive, backend::Backend, ops::FloatTensor};

use crate::{RecallBatch, plain};

/// A Burn backend that computes the losses of this crate, and their gradients.
///
/// The default bodies are the tensor operations of [`plain`], so an empty `impl` is enough for any
/// backend. Flex, NdArray and the CubeCL backends (CUDA, wgpu and their like, with and without
/// Fusion) bring kernels, each under the feature of its name; [`Autodiff`](burn::backend::Autodiff)
/// around any of them registers the analytic gradient. For one of your own,
/// `impl RecallBackend for MyBackend {}` is all; the functions of [`plain`] need not even that.
pub trait RecallBackend: Backend {
    /// The value of every query under the batch's [`Objective`](crate::Objective), its soft recall
    /// averaged over k or its soft average precision, and the gradient of the loss with respect to the
    /// embeddings. Not differentiable.
    ///
    /// Finite embeddings `[n, d]` → `[queries]`, in the order of [`RecallBatch::queries`], and
    /// `[n, d]`. An implementation keeps to memory proportional to the block size of the settings
    /// times the number of items.
    fn recall_and_grad(
        embeddings: FloatTensor<Self>,
        batch: &RecallBatch,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (recall, grad) = plain::recall_and_grad::<Self>(tensor(embeddings), batch);
        (primitive(recall), primitive(grad))
    }

    /// The loss, `1 −` the mean value, which backends with autodiff differentiate.
    ///
    /// Finite embeddings `[n, d]` → `[1]`.
    fn recall_loss(embeddings: FloatTensor<Self>, batch: &RecallBatch) -> FloatTensor<Self> {
        let (recall, _) = Self::recall_and_grad(embeddings, batch);
        primitive(loss_of(tensor::<Self, 1>(recall)))
    }

    /// Whether its tensors lie in the host's memory and are computed by the host's threads, so that
    /// code which works on slices serves it best.
    fn on_host() -> bool {
        false
    }
}

/// `1 −` the mean of the queries' values.
pub(crate) fn loss_of<B: Backend>(recall: Tensor<B, 1>) -> Tensor<B, 1> {
    recall.mean().neg().add_scalar(1.0)
}

pub(crate) fn tensor<B: Backend, const D: usize>(primitive: FloatTensor<B>) -> Tensor<B, D> {
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}

pub(crate) fn primitive<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> FloatTensor<B> {
    tensor.into_primitive().tensor()
}
