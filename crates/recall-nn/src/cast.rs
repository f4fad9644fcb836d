use burn::tensor::{DType, Tensor};

use crate::backend::{primitive, tensor};
use crate::{Layer, NnBackend};

/// The same numbers rounded to the type `dtype`, to the nearest and in the middle to the even one; nothing is
/// computed if they are of it. The gradient goes back in the type that they came in.
///
/// # Panics
///
/// If `dtype` is no type of real numbers.
pub fn cast<B: NnBackend, const D: usize>(values: Tensor<B, D>, dtype: DType) -> Tensor<B, D> {
    if values.dtype() == dtype {
        return values;
    }
    let layer = Layer::Cast { to: dtype.into() };
    tensor(B::layer(layer, vec![primitive(values)]))
}
