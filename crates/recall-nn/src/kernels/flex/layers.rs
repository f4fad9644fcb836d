//! The layers on the tensors of Flex.

use burn::tensor::{Bytes, DType, Shape};
use burn_flex::{Flex, FlexTensor, Layout};

use super::half;
use crate::kernels::cpu::conv2d::{self, Conv2dShape, Finish};
use crate::kernels::cpu::{attention, gelu, gem, layer_norm, linear, max_pool2d};
use crate::{Conv2dSettings, Kept, Kernels, Layer};

/// The kernels take and give slices of contiguous tensors.
pub(super) struct OnSlices;

impl Kernels<Flex> for OnSlices {
    fn takes(&self, layer: Layer, types: &[DType]) -> bool {
        let [first, others @ ..] = types else {
            return false;
        };
        let known = |dtype: DType| dtype == DType::F32 || half::of(dtype).is_some();
        match layer {
            Layer::Cast { to } => known(*first) && known(to.into()),
            Layer::Conv2d(Conv2dSettings { residual: true, .. }) => {
                let (residual, weights) = others.split_last().unwrap_or((first, others));
                known(*first) && residual == first && weights.iter().all(|w| *w == DType::F32)
            }
            _ => known(*first) && others.iter().all(|weight| *weight == DType::F32),
        }
    }

    fn forward(&self, layer: Layer, inputs: Vec<FlexTensor>) -> FlexTensor {
        run(layer, inputs, false).0
    }

    fn forward_keeping(&self, layer: Layer, inputs: Vec<FlexTensor>) -> (FlexTensor, Kept<Flex>) {
        run(layer, inputs, true)
    }

    fn backward(
        &self,
        layer: Layer,
        kept: Kept<Flex>,
        grad: FlexTensor,
        wanted: &[bool],
    ) -> Vec<Option<FlexTensor>> {
        match (layer, half::of(kept.dtype)) {
            (Layer::Cast { .. }, _) => vec![Some(half::cast(&grad, kept.dtype))],
            (_, Some(half)) => half::backward(half, layer, &kept, &grad, wanted),
            _ => backward(layer, &kept, &grad, wanted),
        }
    }
}

fn run(layer: Layer, inputs: Vec<FlexTensor>, keep: bool) -> (FlexTensor, Kept<Flex>) {
    match (layer, half::of(inputs[0].dtype())) {
        (Layer::Cast { to }, _) => {
            let kept = nothing_of(&inputs[0]);
            (half::cast(&inputs[0], to.into()), kept)
        }
        (_, Some(half)) => half::forward(half, layer, &inputs, keep),
        _ => forward(layer, inputs, keep),
    }
}

/// The gradients of a layer in f32.
pub(super) fn backward(
    layer: Layer,
    kept: &Kept<Flex>,
    grad: &FlexTensor,
    wanted: &[bool],
) -> Vec<Option<FlexTensor>> {
    let grad = grad.to_contiguous();
    match layer {
        Layer::Conv2d(settings) => conv2d_backward(settings, kept, &grad, wanted),
        Layer::MaxPool2d {
            kernel,
            stride,
            padding,
        } => {
            let [_, _, height, width] = four(&kept.shape);
            let pixels = max_pool2d::backward(
                floats(&grad),
                &kept.bytes,
                height,
                width,
                kernel,
                stride,
                padding,
            );
            vec![Some(tensor(pixels, &kept.shape))]
        }
        Layer::LayerNorm { epsilon } => {
            let [input, gamma] = [0, 1].map(|index| floats(&kept.tensors[index]));
            let found = layer_norm::backward(input, gamma, floats(&grad), epsilon as f32);
            let width = [gamma.len()];
            vec![
                Some(tensor(found.input, &kept.shape)),
                Some(tensor(found.gamma, &width)),
                Some(tensor(found.beta, &width)),
            ]
        }
        Layer::Gelu => {
            let input = gelu::backward(floats(&kept.tensors[0]), floats(&grad));
            vec![Some(tensor(input, &kept.shape))]
        }
        Layer::GeM => {
            let [map, p] = [0, 1].map(|index| floats(&kept.tensors[index]));
            let positions = kept.shape[2] * kept.shape[3];
            let found = gem::backward(map, positions, p[0], floats(&grad));
            vec![
                Some(tensor(found.input, &kept.shape)),
                Some(tensor(vec![found.exponent], &[1])),
            ]
        }
        Layer::Attention { heads } => {
            let (n, tokens, each) = attended(&kept.shape, heads);
            let [packed, weights] = [0, 1].map(|index| floats(&kept.tensors[index]));
            let grad = floats(&grad);
            let packed = attention::backward(packed, weights, grad, n, tokens, heads, each);
            vec![Some(tensor(packed, &kept.shape))]
        }
        Layer::Linear { bias } => {
            let [x, weight] = [0, 1].map(|index| floats(&kept.tensors[index]));
            let shape = dims(&kept.tensors[1]);
            let found = linear::backward(x, weight, shape[1], floats(&grad), wanted[0]);
            let mut grads = vec![
                found.input.map(|input| tensor(input, &kept.shape)),
                Some(tensor(found.weight, &shape)),
            ];
            grads.extend(bias.then(|| Some(tensor(found.bias, &shape[1..]))));
            grads
        }
        Layer::Cast { .. } => vec![Some(grad)],
    }
}

/// The output of a layer in f32, and what [`backward`] needs if `keep`.
pub(super) fn forward(
    layer: Layer,
    inputs: Vec<FlexTensor>,
    keep: bool,
) -> (FlexTensor, Kept<Flex>) {
    let inputs: Vec<_> = inputs.iter().map(FlexTensor::to_contiguous).collect();
    let shape = dims(&inputs[0]);
    let input = floats(&inputs[0]);
    let mut kept = nothing_of(&inputs[0]);
    let output = match layer {
        Layer::Conv2d(settings) => {
            let output = conv2d_forward(settings, &inputs);
            if keep {
                kept.tensors = inputs[..2 + usize::from(settings.scale)].to_vec();
                // Where ReLU let something through is seen in what came out.
                kept.tensors.extend(settings.relu.then(|| output.clone()));
            }
            output
        }
        Layer::MaxPool2d {
            kernel,
            stride,
            padding,
        } => {
            let [n, channels, height, width] = four(&shape);
            let (pixels, taps) =
                max_pool2d::forward(input, height, width, kernel, stride, padding, keep);
            kept.bytes = taps.into();
            let side = |pixels: usize| (pixels + 2 * padding - kernel) / stride + 1;
            tensor(pixels, &[n, channels, side(height), side(width)])
        }
        Layer::LayerNorm { epsilon } => {
            let [gamma, beta] = [1, 2].map(|index| floats(&inputs[index]));
            let rows = layer_norm::forward(input, gamma, beta, epsilon as f32);
            kept.tensors = inputs[..2].to_vec();
            tensor(rows, &shape)
        }
        Layer::Gelu => {
            kept.tensors = inputs.clone();
            tensor(gelu::forward(input), &shape)
        }
        Layer::GeM => {
            let [n, channels, height, width] = four(&shape);
            kept.tensors = inputs.clone();
            let pooled = gem::forward(input, height * width, floats(&inputs[1])[0]);
            tensor(pooled, &[n, channels])
        }
        Layer::Attention { heads } => {
            let (n, tokens, each) = attended(&shape, heads);
            let (rows, weights) = attention::forward(input, n, tokens, heads, each, keep);
            if keep {
                let weights = tensor(weights, &[n, heads, tokens, tokens]);
                kept.tensors = vec![inputs[0].clone(), weights];
            }
            tensor(rows, &[n, tokens, heads * each])
        }
        Layer::Linear { bias } => {
            let out = dims(&inputs[1])[1];
            let bias = bias.then(|| floats(&inputs[2]));
            let rows = linear::forward(input, floats(&inputs[1]), out, bias);
            kept.tensors = inputs[..2].to_vec();
            tensor(rows, &[shape[0], out])
        }
        Layer::Cast { .. } => inputs[0].clone(),
    };
    (output, kept)
}

/// What is known of the first input of a layer that has kept nothing yet.
pub(super) fn nothing_of(input: &FlexTensor) -> Kept<Flex> {
    Kept {
        tensors: vec![],
        bytes: Default::default(),
        shape: dims(input),
        dtype: input.dtype(),
    }
}

fn conv2d_forward(settings: Conv2dSettings, inputs: &[FlexTensor]) -> FlexTensor {
    let mut rest = inputs[2..].iter();
    let mut input = |wanted: bool| wanted.then(|| rest.next()).flatten().map(floats);
    let scale = input(settings.scale);
    let finish = Finish {
        shift: input(settings.shift),
        residual: input(settings.residual),
        relu: settings.relu,
    };
    let shape = conv2d_shape(settings, &dims(&inputs[0]), &dims(&inputs[1]));
    let [images, weight] = [0, 1].map(|index| floats(&inputs[index]));
    let output = conv2d::forward(&shape, images, weight, scale, finish);
    let sides = [shape.out_height(), shape.out_width()];
    tensor(output, &[shape.n, shape.cout, sides[0], sides[1]])
}

fn conv2d_backward(
    settings: Conv2dSettings,
    kept: &Kept<Flex>,
    grad: &FlexTensor,
    wanted: &[bool],
) -> Vec<Option<FlexTensor>> {
    let (images, weight) = (&kept.tensors[0], &kept.tensors[1]);
    let shape = conv2d_shape(settings, &kept.shape, &dims(weight));
    let scale = settings.scale.then(|| floats(&kept.tensors[2]));
    let output = kept.tensors.last().filter(|_| settings.relu).map(floats);
    let plane = shape.out_height() * shape.out_width();
    let (passed, of_shift) = conv2d::relu_grad(floats(grad), output, shape.cout, plane);
    let through = passed.as_deref().unwrap_or_else(|| floats(grad));

    let of_images = wanted[0].then(|| {
        let pixels = conv2d::input_grad(&shape, through, floats(weight), scale);
        tensor(pixels, &kept.shape)
    });
    let wants_scale = settings.scale && wanted[2];
    let mut of_weight =
        (wanted[1] || wants_scale).then(|| conv2d::weight_grad(&shape, floats(images), through));
    let mut grads = vec![of_images, None];
    if let (Some(scale), Some(of_weight)) = (scale, &mut of_weight) {
        // The gradient of the scaled weight, from which follow those of both its factors.
        let rows = of_weight.chunks_exact_mut(shape.depth());
        let weights = floats(weight).chunks_exact(shape.depth());
        let of_scale = rows.zip(weights).zip(scale).map(|((row, weights), scale)| {
            let mut sum = 0.0;
            for (slope, weight) in row.iter_mut().zip(weights) {
                sum += *slope * weight;
                *slope *= scale;
            }
            sum
        });
        let of_scale: Vec<f32> = of_scale.collect();
        grads.push(Some(tensor(of_scale, &[shape.cout])));
    } else if settings.scale {
        grads.push(None);
    }
    grads[1] = of_weight.map(|of_weight| tensor(of_weight, &dims(weight)));
    if settings.shift {
        grads.push(Some(tensor(of_shift, &[shape.cout])));
    }
    if settings.residual {
        grads.push(Some(match passed {
            Some(passed) => tensor(passed, &dims(grad)),
            None => grad.clone(),
        }));
    }
    grads
}

fn conv2d_shape(settings: Conv2dSettings, images: &[usize], weight: &[usize]) -> Conv2dShape {
    let [n, cin, height, width] = four(images);
    Conv2dShape {
        n,
        cin,
        height,
        width,
        cout: weight[0],
        kernel: weight[2],
        stride: settings.stride,
        padding: settings.padding,
    }
}

/// Images, tokens and numbers of a head.
fn attended(packed: &[usize], heads: usize) -> (usize, usize, usize) {
    (packed[0], packed[1], packed[2] / 3 / heads)
}

fn four(shape: &[usize]) -> [usize; 4] {
    std::array::from_fn(|axis| shape[axis])
}

pub(super) fn dims(tensor: &FlexTensor) -> Vec<usize> {
    tensor.layout().shape().to_vec()
}

pub(super) fn floats(tensor: &FlexTensor) -> &[f32] {
    tensor.storage()
}

pub(super) fn tensor(values: Vec<f32>, shape: &[usize]) -> FlexTensor {
    let layout = Layout::contiguous(Shape::from(shape.to_vec()));
    FlexTensor::new(Bytes::from_elems(values), layout, DType::F32)
}
