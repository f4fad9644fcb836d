//! The kernels of Flex, whose tensors are in main memory.

mod adam;
mod half;
mod layers;
mod squares;

use burn::tensor::ops::FloatTensor;
use burn_flex::Flex;

use crate::{AdamStep, Kernels, NnBackend};

impl NnBackend for Flex {
    fn kernels() -> Option<&'static dyn Kernels<Self>> {
        Some(&layers::OnSlices)
    }

    fn adam_step(
        step: &AdamStep,
        param: FloatTensor<Self>,
        grad: FloatTensor<Self>,
        moment_1: FloatTensor<Self>,
        moment_2: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>, FloatTensor<Self>) {
        adam::step(step, param, grad, moment_1, moment_2)
    }

    fn sum_of_squares(tensor: FloatTensor<Self>) -> FloatTensor<Self> {
        squares::sum_of_squares(tensor)
    }
}
