//! Adam on the tensors of Flex, in place where they are nobody else's.

use burn::tensor::DType;
use burn_flex::{Flex, FlexTensor};

use crate::kernels::cpu;
use crate::{AdamStep, plain};

pub(super) fn step(
    step: &AdamStep,
    param: FlexTensor,
    grad: FlexTensor,
    moment_1: FlexTensor,
    moment_2: FlexTensor,
) -> (FlexTensor, FlexTensor, FlexTensor) {
    let tensors = [&param, &grad, &moment_1, &moment_2];
    if tensors.iter().any(|tensor| tensor.dtype() != DType::F32) {
        return plain::adam_step::<Flex>(step, param, grad, moment_1, moment_2);
    }
    let shape = param.layout().shape();
    assert!(
        tensors
            .iter()
            .all(|tensor| tensor.layout().shape() == shape),
        "a parameter, its gradient and its moments have one shape"
    );
    // In the order of the shape and nothing around it: the tensor itself where it is so.
    let [mut param, grad, mut moment_1, mut moment_2] =
        [param, grad, moment_1, moment_2].map(|tensor| tensor.to_contiguous());
    cpu::adam::step(
        step,
        // Copies what is shared: elsewhere it stays as it is.
        param.storage_mut(),
        grad.storage(),
        moment_1.storage_mut(),
        moment_2.storage_mut(),
    );
    (param, moment_1, moment_2)
}
