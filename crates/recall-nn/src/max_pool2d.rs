use burn::nn::PaddingConfig2d;
use burn::nn::pool::MaxPool2d;
use burn::tensor::Tensor;

use crate::backend::{primitive, tensor};
use crate::{Layer, NnBackend};

/// The largest side of a window that kernels take: the place of the largest number fits a byte.
const LARGEST: usize = 16;

/// What `pool` computes.
///
/// Kernels take square windows of at most 16 pixels a side with the same stride and padding on both axes
/// and no dilation; Burn pools the others.
///
/// # Shapes
///
/// - images: `[n, channels, height, width]`
/// - output: `[n, channels, (height + 2 padding − kernel) / stride + 1, …]`
pub fn max_pool2d<B: NnBackend>(images: Tensor<B, 4>, pool: &MaxPool2d) -> Tensor<B, 4> {
    match square(pool) {
        Some(layer) => tensor(B::layer(layer, vec![primitive(images)])),
        None => pool.forward(images),
    }
}

fn square(pool: &MaxPool2d) -> Option<Layer> {
    let ([kernel, across], [stride, sideways]) = (pool.kernel_size, pool.stride);
    let padding = match pool.padding {
        PaddingConfig2d::Valid => 0,
        PaddingConfig2d::Explicit(top, left, bottom, right)
            if [left, bottom, right] == [top; 3] =>
        {
            top
        }
        _ => return None,
    };
    let plain = pool.dilation == [1; 2] && !pool.ceil_mode && kernel <= LARGEST;
    (plain && kernel == across && stride == sideways && 2 * padding <= kernel).then_some(
        Layer::MaxPool2d {
            kernel,
            stride,
            padding,
        },
    )
}
