//! Convolutions as tensor operations.

use burn::tensor::backend::Backend;
use burn::tensor::ops::{ConvOptions, FloatTensor};
use burn::tensor::{Tensor, TensorMetadata, activation, module};

use super::cast;
use crate::Conv2dSettings;
use crate::backend::{primitive, tensor};

/// A convolution and its epilogue.
pub(super) fn conv2d<B: Backend>(
    settings: Conv2dSettings,
    inputs: Vec<FloatTensor<B>>,
) -> Tensor<B, 4> {
    let mut rest = 2..;
    let mut input = |wanted: bool| match wanted {
        true => rest.next().map(|index| inputs[index].clone()),
        false => None,
    };
    let dtype = inputs[0].dtype();
    let mut weight: Tensor<B, 4> = tensor(inputs[1].clone());
    // The scale goes into the weights, which are fewer than the outputs.
    if let Some(scale) = input(settings.scale) {
        weight = weight * tensor::<B, 1>(scale).reshape([-1, 1, 1, 1]);
    }
    let weight: Tensor<B, 4> = tensor(cast::<B>(primitive(weight), dtype));
    let shift = input(settings.shift).map(|shift| tensor::<B, 1>(cast::<B>(shift, dtype)));
    let (images, stride, padding) =
        without_gaps(tensor(inputs[0].clone()), settings, weight.dims()[2]);
    let options = ConvOptions::new([stride; 2], [padding; 2], [1; 2], 1);
    let output = module::conv2d(images, weight, shift, options);
    let output = match input(settings.residual) {
        Some(residual) => output + tensor(cast::<B>(residual, dtype)),
        None => output,
    };
    match settings.relu {
        true => activation::relu(output),
        false => output,
    }
}

/// Images without what lies between the windows of a convolution whose stride is larger than its kernel, and the stride
/// and padding that it has on them.
///
/// One of the two kernels that CubeCL's backends choose from for the gradient (`conv_transpose2d_direct` of burn-cubecl
/// 0.21) gives zeros for such a convolution, as the shortcuts of a ResNet are.
fn without_gaps<B: Backend>(
    images: Tensor<B, 4>,
    settings: Conv2dSettings,
    kernel: usize,
) -> (Tensor<B, 4>, usize, usize) {
    let Conv2dSettings {
        stride, padding, ..
    } = settings;
    if kernel >= stride {
        return (images, stride, padding);
    }
    let [n, channels, height, width] = images.dims();
    let windows = |pixels: usize| (pixels + 2 * padding - kernel) / stride + 1;
    let (down, across) = (windows(height), windows(width));
    // One stride for each window: what the last one lacks is filled up, and what no window reaches is left out.
    let filled = |pixels: usize, windows: usize| (windows * stride).max(padding + pixels);
    let sides = [filled(height, down), filled(width, across)];
    let images = match sides == [height, width] {
        true => images,
        false => {
            let like = (&images.device(), images.dtype());
            let rows = padding..padding + height;
            let columns = padding..padding + width;
            Tensor::zeros([n, channels, sides[0], sides[1]], like)
                .slice_assign([0..n, 0..channels, rows, columns], images)
        }
    };
    let windows = images
        .slice([0..n, 0..channels, 0..down * stride, 0..across * stride])
        .reshape([n, channels, down, stride, across, stride])
        .slice([0..n, 0..channels, 0..down, 0..kernel, 0..across, 0..kernel])
        .reshape([n, channels, down * kernel, across * kernel]);
    (windows, kernel, 0)
}

#[cfg(all(test, feature = "ndarray"))]
mod tests {
    use burn::backend::Autodiff;
    use burn::tensor::{Distribution, TensorData, Tolerance};
    use burn_ndarray::NdArray;

    use super::*;

    type B = Autodiff<NdArray<f64>>;

    /// A ResNet's shortcuts, windows with gaps that begin in the padding, and sides that end within a gap or a window.
    #[test]
    fn a_convolution_without_its_gaps_is_the_convolution() {
        let device = Default::default();
        let draw =
            |shape: [usize; 4]| Tensor::<B, 4>::random(shape, Distribution::Default, &device);
        for (kernel, stride, padding) in [(1, 2, 0), (1, 3, 0), (2, 3, 1), (2, 5, 0), (3, 4, 2)] {
            for (height, width) in [(3, 4), (5, 7), (8, 9), (12, 6)] {
                let weight = draw([3, 2, kernel, kernel]).detach().require_grad();
                let drawn = draw([2, 2, height, width]);
                let of = |forward: &dyn Fn(Tensor<B, 4>) -> Tensor<B, 4>| -> [TensorData; 3] {
                    let images = drawn.clone().detach().require_grad();
                    let output = forward(images.clone());
                    let gradients = (output.clone() * output.clone()).sum().backward();
                    [
                        output.into_data(),
                        images.grad(&gradients).unwrap().into_data(),
                        weight.grad(&gradients).unwrap().into_data(),
                    ]
                };
                let burns = of(&|images| {
                    let options = ConvOptions::new([stride; 2], [padding; 2], [1; 2], 1);
                    module::conv2d(images, weight.clone(), None, options)
                });
                let ours = of(&|images| {
                    let settings = Conv2dSettings {
                        stride,
                        padding,
                        scale: false,
                        shift: false,
                        residual: false,
                        relu: false,
                    };
                    conv2d::<B>(settings, vec![primitive(images), primitive(weight.clone())])
                });
                for (ours, burns) in ours.iter().zip(&burns) {
                    ours.assert_approx_eq::<f64>(burns, Tolerance::absolute(1e-12));
                }
            }
        }
    }
}
