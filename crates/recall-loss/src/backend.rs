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
    /// `[n, d]`. Of a [`share`](RecallBatch::share), the values of its queries, of which there may be
    /// none, and the gradient of its part of the loss. An implementation keeps to memory proportional to
    /// the block size of the settings times the number of items.
    fn recall_and_grad(
        embeddings: FloatTensor<Self>,
        batch: &RecallBatch,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (recall, grad) = plain::recall_and_grad::<Self>(tensor(embeddings), batch);
        (primitive(recall), primitive(grad))
    }

    /// The loss, `1 −` the mean value, or a share's part of it, which backends with autodiff differentiate.
    ///
    /// Finite embeddings `[n, d]` → `[1]`.
    fn recall_loss(embeddings: FloatTensor<Self>, batch: &RecallBatch) -> FloatTensor<Self> {
        let (recall, _) = Self::recall_and_grad(embeddings, batch);
        primitive(loss_of(tensor::<Self, 1>(recall), batch))
    }

    /// A zero, `[1]`, whose gradient with respect to `of` is `gradient`, a tensor of the same shape: what makes a loss
    /// differentiable whose gradient is computed with its value. Backends without autodiff give the zero alone.
    fn zero_with_gradient(of: FloatTensor<Self>, gradient: FloatTensor<Self>) -> FloatTensor<Self> {
        let _ = gradient;
        let of = tensor::<Self, 2>(of);
        primitive(Tensor::<Self, 1>::zeros([1], (&of.device(), of.dtype())))
    }

    /// Whether its tensors lie in the host's memory and are computed by the host's threads, so that
    /// code which works on slices serves it best.
    fn on_host() -> bool {
        false
    }
}

/// `1 −` the mean of the queries' values; of a share, the sum of `1 −` the values over the number of
/// queries of the whole batch.
pub(crate) fn loss_of<B: Backend>(recall: Tensor<B, 1>, batch: &RecallBatch) -> Tensor<B, 1> {
    if batch.is_whole() {
        return recall.mean().neg().add_scalar(1.0);
    }
    let [queries] = recall.dims();
    if queries == 0 {
        return Tensor::zeros([1], (&recall.device(), recall.dtype()));
    }
    let weight = 1.0 / batch.whole_query_count() as f64;
    let losses = recall.neg().add_scalar(1.0);
    losses.sum().mul_scalar(weight)
}

pub(crate) fn tensor<B: Backend, const D: usize>(primitive: FloatTensor<B>) -> Tensor<B, D> {
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}

pub(crate) fn primitive<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> FloatTensor<B> {
    tensor.into_primitive().tensor()
}
