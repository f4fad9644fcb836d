//! Kernels for the backends that keep their tensors in main memory.

use crate::RecallBackend;

#[cfg(feature = "flex")]
impl RecallBackend for burn_flex::Flex {}

#[cfg(feature = "ndarray")]
impl<E, I, Q> RecallBackend for burn_ndarray::NdArray<E, I, Q>
where
    E: burn_ndarray::FloatNdArrayElement,
    I: burn_ndarray::IntNdArrayElement,
    Q: burn_ndarray::QuantElement,
    burn_ndarray::NdArrayTensor:
        From<burn_ndarray::SharedArray<E>> + From<burn_ndarray::SharedArray<I>>,
{
}
