use std::fmt::{self, Debug};
use std::sync::Arc;

use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{DType, Tensor, TensorMetadata, TensorPrimitive};

use crate::{AdamStep, Layer, plain};

/// A Burn backend that computes the layers of this crate.
///
/// The default is tensor operations, so an empty `impl` is enough for any backend. Flex brings kernels;
/// [`Autodiff`](burn::backend::Autodiff) around a backend with kernels records their own backward pass, and
/// around any other it differentiates the tensor operations.
pub trait NnBackend: Backend {
    /// Whether a product may be wrong where the right side is transposed and the inner length no multiple of 64, as some of
    /// CubeCL's are with Burn 0.21 ([`project`](crate::project) goes round it). Default false.
    const MISREADS_INNER_LENGTHS: bool = false;

    /// The kernels of this backend.
    fn kernels() -> Option<&'static dyn Kernels<Self>> {
        None
    }

    /// The output of `layer`, whose documentation says what its inputs are.
    fn layer(layer: Layer, inputs: Vec<FloatTensor<Self>>) -> FloatTensor<Self> {
        match kernels_for::<Self>(layer, &inputs) {
            Some(kernels) => kernels.forward(layer, inputs),
            None => plain::forward::<Self>(layer, inputs),
        }
    }

    /// Updates a parameter by Adam or AdamW, as Burn's optimisers of these names do, and returns it with its
    /// moments.
    ///
    /// The gradient and both moments have the shape of the parameter; before the first update the moments
    /// are zero. A backend with kernels writes in place what it is the only owner of.
    ///
    /// # Panics
    ///
    /// If the shapes differ.
    fn adam_step(
        step: &AdamStep,
        param: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        moment_1: FloatTensor<Self>,
        moment_2: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        plain::adam_step::<Self>(step, param, grad, moment_1, moment_2)
    }

    /// The sum of the squares of all numbers of a tensor of any shape, as `[1]`.
    fn sum_of_squares(tensor: FloatTensor<Self>) -> FloatTensor<Self> {
        plain::sum_of_squares::<Self>(tensor)
    }
}

/// Kernels for the layers, forward and backward.
pub trait Kernels<B: Backend>: Sync {
    /// Whether there is a kernel of `layer` for inputs of these types. By default all have to be `f32`, and
    /// Burn's own products serve linear layers.
    fn takes(&self, layer: Layer, types: &[DType]) -> bool {
        let single = types.iter().all(|dtype| *dtype == DType::F32);
        single && !matches!(layer, Layer::Linear { .. } | Layer::Cast { .. })
    }

    /// The output of `layer`.
    fn forward(&self, layer: Layer, inputs: Vec<FloatTensor<B>>) -> FloatTensor<B> {
        self.forward_keeping(layer, inputs).0
    }

    /// The output of `layer`, and what its backward pass needs.
    fn forward_keeping(
        &self,
        layer: Layer,
        inputs: Vec<FloatTensor<B>>,
    ) -> (FloatTensor<B>, Kept<B>);

    /// From the gradient of the output, those of the inputs for which `wanted` is true; there may be
    /// others among them.
    fn backward(
        &self,
        layer: Layer,
        kept: Kept<B>,
        grad: FloatTensor<B>,
        wanted: &[bool],
    ) -> Vec<Option<FloatTensor<B>>>;
}

/// What a forward pass keeps for the backward pass; what it means is up to the layer.
pub struct Kept<B: Backend> {
    /// Inputs, outputs or what else has the type of the backend's tensors.
    pub tensors: Vec<FloatTensor<B>>,
    /// Small numbers: which cell of a window was the largest.
    pub bytes: Arc<Vec<u8>>,
    /// Shape of the first input.
    pub shape: Vec<usize>,
    /// Type of the first input.
    pub dtype: DType,
}

impl<B: Backend> Clone for Kept<B> {
    fn clone(&self) -> Self {
        Self {
            tensors: self.tensors.clone(),
            bytes: Arc::clone(&self.bytes),
            shape: self.shape.clone(),
            dtype: self.dtype,
        }
    }
}

impl<B: Backend> Debug for Kept<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept")
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

/// The kernels, if there are any of this layer for inputs of these types.
pub(crate) fn kernels_for<B: NnBackend>(
    layer: Layer,
    inputs: &[FloatTensor<B>],
) -> Option<&'static dyn Kernels<B>> {
    let types: Vec<DType> = inputs.iter().map(TensorMetadata::dtype).collect();
    B::kernels().filter(|kernels| kernels.takes(layer, &types))
}

pub(crate) fn tensor<B: Backend, const D: usize>(primitive: FloatTensor<B>) -> Tensor<B, D> {
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}

pub(crate) fn primitive<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> FloatTensor<B> {
    tensor.into_primitive().tensor()
}
