use burn::nn::PaddingConfig2d;
use burn::nn::conv::Conv2d;
use burn::tensor::{Tensor, activation::relu};

use crate::backend::{primitive, tensor};
use crate::{Conv2dSettings, Layer, NnBackend, cast};

/// What [`conv2d`] does to each output before it is stored: `relu(scale · sum + shift + residual)`, each
/// part if it is there. The default is nothing. A frozen batch normalisation is a scale and a shift.
#[derive(Debug, Clone)]
pub struct Epilogue<B: NnBackend> {
    /// `[out]`: what each channel is multiplied by, the convolution's own bias included.
    pub scale: Option<Tensor<B, 1>>,
    /// `[out]`: what is added to each channel.
    pub shift: Option<Tensor<B, 1>>,
    /// What is added to the output, of its shape and type.
    pub residual: Option<Tensor<B, 4>>,
    /// Whether negative outputs become zero.
    pub relu: bool,
}

impl<B: NnBackend> Default for Epilogue<B> {
    fn default() -> Self {
        Self {
            scale: None,
            shift: None,
            residual: None,
            relu: false,
        }
    }
}

/// What `convolution` computes, and `epilogue` on top in the same pass over the output.
///
/// Kernels take square windows with the same stride and padding on both axes, without dilation and
/// groups; Burn convolves the others.
///
/// Images in half precision give an output in half precision; the weights, scale and shift stay `f32`.
///
/// # Shapes
///
/// - images: `[n, in, height, width]`
/// - output: `[n, out, (height + 2 padding − kernel) / stride + 1, …]`
pub fn conv2d<B: NnBackend>(
    images: Tensor<B, 4>,
    convolution: &Conv2d<B>,
    epilogue: Epilogue<B>,
) -> Tensor<B, 4> {
    let Some((stride, padding)) = square(convolution) else {
        // Burn's convolution wants one type: that of the weights.
        let (dtype, wide) = (images.dtype(), convolution.weight.val().dtype());
        let residual = epilogue.residual.map(|residual| cast(residual, wide));
        let epilogue = Epilogue {
            residual,
            ..epilogue
        };
        let output = after(convolution.forward(cast(images, wide)), epilogue);
        return cast(output, dtype);
    };
    let bias = convolution.bias.as_ref().map(|bias| bias.val());
    let bias = match &epilogue.scale {
        Some(scale) => bias.map(|bias| bias * scale.clone()),
        None => bias,
    };
    let shift = match (bias, epilogue.shift) {
        (Some(bias), Some(shift)) => Some(bias + shift),
        (bias, shift) => bias.or(shift),
    };
    let layer = Layer::Conv2d(Conv2dSettings {
        stride,
        padding,
        scale: epilogue.scale.is_some(),
        shift: shift.is_some(),
        residual: epilogue.residual.is_some(),
        relu: epilogue.relu,
    });
    let mut inputs = vec![primitive(images), primitive(convolution.weight.val())];
    inputs.extend(epilogue.scale.map(primitive));
    inputs.extend(shift.map(primitive));
    inputs.extend(epilogue.residual.map(primitive));
    tensor(B::layer(layer, inputs))
}

/// Stride and padding, if both axes have the same ones and nothing else is set.
fn square<B: NnBackend>(convolution: &Conv2d<B>) -> Option<(usize, usize)> {
    let ([kernel, across], [stride, sideways]) = (convolution.kernel_size, convolution.stride);
    let padding = match convolution.padding {
        PaddingConfig2d::Valid => 0,
        PaddingConfig2d::Same if stride == 1 && kernel % 2 == 1 => kernel / 2,
        PaddingConfig2d::Explicit(top, left, bottom, right)
            if [left, bottom, right] == [top; 3] =>
        {
            top
        }
        _ => return None,
    };
    let plain = convolution.dilation == [1; 2] && convolution.groups == 1;
    (plain && kernel == across && stride == sideways).then_some((stride, padding))
}

fn after<B: NnBackend>(mut output: Tensor<B, 4>, epilogue: Epilogue<B>) -> Tensor<B, 4> {
    if let Some(scale) = epilogue.scale {
        output = output * scale.reshape([1, -1, 1, 1]);
    }
    if let Some(shift) = epilogue.shift {
        output = output + shift.reshape([1, -1, 1, 1]);
    }
    if let Some(residual) = epilogue.residual {
        output = output + residual;
    }
    match epilogue.relu {
        true => relu(output),
        false => output,
    }
}
