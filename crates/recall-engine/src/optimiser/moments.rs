//! What Adam keeps of a parameter.

use burn::tensor::ops::FloatTensor;
use burn::tensor::{TensorMetadata, backend::Backend};

/// The mean gradient and the mean of its square, each of the shape of the parameter, whatever its rank.
#[derive(Debug, Clone)]
pub(crate) struct Moments<B: Backend> {
    /// The number of updates.
    pub time: usize,
    pub first: FloatTensor<B>,
    pub second: FloatTensor<B>,
}

impl<B: Backend> Moments<B> {
    /// Those of a parameter before its first update.
    pub fn before_any(param: &FloatTensor<B>) -> Self {
        let zeros = || {
            let device = B::float_device(param);
            B::float_zeros(param.shape(), &device, param.dtype().into())
        };
        Self {
            time: 0,
            first: zeros(),
            second: zeros(),
        }
    }
}
