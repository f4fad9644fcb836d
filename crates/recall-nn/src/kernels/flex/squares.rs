//! The sum of squares of a tensor of Flex.

use burn::tensor::{DType, TensorData};
use burn_flex::{Flex, FlexTensor};

use crate::kernels::cpu;
use crate::plain;

pub(super) fn sum_of_squares(tensor: FlexTensor) -> FlexTensor {
    if tensor.dtype() != DType::F32 {
        return plain::sum_of_squares::<Flex>(tensor);
    }
    let sum = match tensor.as_slice() {
        Some(values) => cpu::squares::sum_of_squares(values),
        None => cpu::squares::sum_of_squares(tensor.to_contiguous().storage()),
    };
    FlexTensor::from_data(TensorData::new(vec![sum as f32], [1]))
}
