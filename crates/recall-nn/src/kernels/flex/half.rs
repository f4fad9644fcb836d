//! The layers in half precision: what is kept of them takes 16 bits a number, and what is computed is f32, by the
//! same kernels, a piece of the batch at a time.

use std::ops::Range;

use burn::tensor::{Bytes, DType, Shape, bf16, f16};
use burn_flex::{Flex, FlexTensor, Layout};
use half::slice::HalfFloatSliceExt;

use super::layers::{self, dims, floats, nothing_of, tensor};
use crate::kernels::cpu::half::Half;
use crate::{Kept, Layer};

/// About how many numbers of the first input are in f32 at a time: few beside those of a chunk of images, and
/// enough for all threads. Sums for weights have one part a piece, so it is a part of the result.
const PIECE: usize = 1 << 20;

/// What the bits of this type mean, if it is one of half precision.
pub(super) fn of(dtype: DType) -> Option<Half> {
    match dtype {
        DType::F16 => Some(Half::F16),
        DType::BF16 => Some(Half::Bf16),
        _ => None,
    }
}

/// The same numbers in another type. Flex's own cast takes eight bytes a number on the way.
pub(super) fn cast(values: &FlexTensor, to: DType) -> FlexTensor {
    let values = values.to_contiguous();
    let shape = dims(&values);
    let narrowed = |half: Half, wide: &[f32]| {
        let mut halves = Halves::new(half);
        halves.push(wide);
        halves.tensor(&shape)
    };
    match (of(values.dtype()), of(to)) {
        _ if values.dtype() == to => values,
        (Some(from), None) => tensor(from.widen(bits(&values)), &shape),
        (None, Some(to)) => narrowed(to, floats(&values)),
        (Some(from), Some(to)) => narrowed(to, &from.widen(bits(&values))),
        (None, None) => values,
    }
}

/// The output of a layer, and what [`backward`] needs if `keep`.
pub(super) fn forward(
    half: Half,
    layer: Layer,
    inputs: &[FlexTensor],
    keep: bool,
) -> (FlexTensor, Kept<Flex>) {
    let inputs: Vec<_> = inputs.iter().map(FlexTensor::to_contiguous).collect();
    let mut kept = nothing_of(&inputs[0]);
    let items = Items::new(layer, &kept.shape);
    let weight = rounded_weight(half, layer, inputs.get(1));
    let (mut output, mut weights) = (Halves::new(half), Halves::new(half));
    let (mut shape, mut bytes) = (Vec::new(), Vec::new());
    for piece in items.pieces() {
        let wide = inputs
            .iter()
            .enumerate()
            .map(|(index, input)| match (index, &weight) {
                (1, Some(weight)) => weight.clone(),
                _ if input.dtype() == DType::F32 => input.clone(),
                _ => items.widened(half, input, &piece),
            });
        let (part, of_part) = layers::forward(layer, wide.collect(), keep);
        output.push_piece(floats(&part), &piece, &items);
        bytes.extend_from_slice(&of_part.bytes);
        if let (Layer::Attention { .. }, [_, part]) = (layer, &of_part.tensors[..]) {
            weights.push_piece(floats(part), &piece, &items);
        }
        shape = dims(&part);
    }
    shape = match layer {
        Layer::LayerNorm { .. } | Layer::Gelu => kept.shape.clone(),
        _ => [&[items.count], &shape[1..]].concat(),
    };
    let output = output.tensor(&shape);
    if keep {
        kept.bytes = bytes.into();
        kept.tensors = match layer {
            Layer::Conv2d(settings) => {
                let mut tensors = inputs[..2 + usize::from(settings.scale)].to_vec();
                tensors.extend(settings.relu.then(|| output.clone()));
                tensors
            }
            Layer::MaxPool2d { .. } | Layer::Cast { .. } => vec![],
            Layer::Gelu => inputs,
            Layer::LayerNorm { .. } | Layer::GeM | Layer::Linear { .. } => inputs[..2].to_vec(),
            Layer::Attention { heads } => {
                let tokens = kept.shape[1];
                let weights = weights.tensor(&[items.count, heads, tokens, tokens]);
                vec![inputs[0].clone(), weights]
            }
        };
    }
    (output, kept)
}

/// The gradients of a layer: of weights in f32, of all else in half precision.
pub(super) fn backward(
    half: Half,
    layer: Layer,
    kept: &Kept<Flex>,
    grad: &FlexTensor,
    wanted: &[bool],
) -> Vec<Option<FlexTensor>> {
    let grad = grad.to_contiguous();
    let items = Items::new(layer, &kept.shape);
    let weight = rounded_weight(half, layer, kept.tensors.get(1));
    let mut grads: Vec<Option<Grad>> = Vec::new();
    for piece in items.pieces() {
        let wide = kept
            .tensors
            .iter()
            .enumerate()
            .map(|(index, tensor)| match (index, &weight) {
                (1, Some(weight)) => weight.clone(),
                _ if tensor.dtype() == DType::F32 => tensor.clone(),
                _ => items.widened(half, tensor, &piece),
            });
        let part = Kept {
            tensors: wide.collect(),
            bytes: items.of(&kept.bytes, &piece).to_vec().into(),
            shape: items.shape(&piece),
            dtype: DType::F32,
        };
        let slopes = items.widened(half, &grad, &piece);
        let found = layers::backward(layer, &part, &slopes, wanted);
        let residual = match layer {
            Layer::Conv2d(settings) if settings.residual => Some(found.len() - 1),
            _ => None,
        };
        grads.resize_with(found.len(), || None);
        for (index, (grad, part)) in grads.iter_mut().zip(found).enumerate() {
            let Some(part) = part else {
                continue;
            };
            let of_items = index == 0 || residual == Some(index);
            match grad {
                Some(Grad::OfItems(halves)) => halves.push_piece(floats(&part), &piece, &items),
                Some(Grad::OfWeights(sum)) => add(sum, &part),
                None if of_items => {
                    let mut halves = Halves::new(half);
                    halves.push_piece(floats(&part), &piece, &items);
                    *grad = Some(Grad::OfItems(halves));
                }
                None => *grad = Some(Grad::OfWeights(part)),
            }
        }
    }
    let grads = grads.into_iter().enumerate();
    grads
        .map(|(index, found)| {
            Some(match (found?, index) {
                (Grad::OfItems(halves), 0) => halves.tensor(&kept.shape),
                // That of a residual.
                (Grad::OfItems(halves), _) => halves.tensor(&dims(&grad)),
                (Grad::OfWeights(sum), _) => sum,
            })
        })
        .collect()
}

/// A gradient, of which each piece has a part.
enum Grad {
    OfItems(Halves),
    OfWeights(FlexTensor),
}

fn add(sum: &mut FlexTensor, part: &FlexTensor) {
    let sums = sum.storage_mut::<f32>().iter_mut().zip(floats(part));
    sums.for_each(|(sum, part)| *sum += part);
}

/// The weight of a product, rounded as the other side is.
fn rounded_weight(half: Half, layer: Layer, weight: Option<&FlexTensor>) -> Option<FlexTensor> {
    match layer {
        Layer::Conv2d(_) | Layer::Linear { .. } => {
            let weight = weight?.to_contiguous();
            Some(tensor(half.rounded(floats(&weight)), &dims(&weight)))
        }
        _ => None,
    }
}

/// What a layer computes independently of each other: images, rows, or single numbers.
struct Items {
    /// The shape of the first input.
    input: Vec<usize>,
    count: usize,
    /// The shape of one of them.
    each: Vec<usize>,
}

impl Items {
    fn new(layer: Layer, shape: &[usize]) -> Self {
        let numbers: usize = shape.iter().product();
        let each = match layer {
            Layer::Gelu | Layer::Cast { .. } => &[],
            Layer::LayerNorm { .. } => &shape[shape.len() - 1..],
            _ => &shape[1..],
        };
        let count = match each.len() + 1 == shape.len() {
            true => shape[0],
            false => numbers.checked_div(each.iter().product()).unwrap_or(0),
        };
        Self {
            input: shape.to_vec(),
            count,
            each: each.to_vec(),
        }
    }

    /// Pieces of about the same size, at least one.
    fn pieces(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let count = self.count;
        let numbers: usize = self.each.iter().product();
        let most = (PIECE / numbers.max(1)).max(1);
        let pieces = count.div_ceil(most).max(1);
        (0..pieces).map(move |piece| piece * count / pieces..(piece + 1) * count / pieces)
    }

    /// The shape of the first input of a piece.
    fn shape(&self, piece: &Range<usize>) -> Vec<usize> {
        [&[piece.len()], &self.each[..]].concat()
    }

    /// What of some values, as many for each item, are those of a piece.
    fn of<'a, T>(&self, values: &'a [T], piece: &Range<usize>) -> &'a [T] {
        let each = values.len().checked_div(self.count).unwrap_or(0);
        &values[piece.start * each..piece.end * each]
    }

    /// A piece of a tensor in f32.
    fn widened(&self, half: Half, values: &FlexTensor, piece: &Range<usize>) -> FlexTensor {
        let shape = match dims(values) {
            all if all == self.input => self.shape(piece),
            all => [&[piece.len()], &all[1..]].concat(),
        };
        tensor(half.widen(self.of(bits(values), piece)), &shape)
    }
}

/// Numbers of 16 bits that grow to be a tensor.
struct Halves {
    half: Half,
    bits: Vec<u16>,
}

impl Halves {
    fn new(half: Half) -> Self {
        let bits = Vec::new();
        Self { half, bits }
    }

    /// Puts the numbers of a piece behind those of the pieces before it.
    fn push_piece(&mut self, wide: &[f32], piece: &Range<usize>, items: &Items) {
        if piece.start == 0 {
            let each = wide.len().checked_div(piece.len()).unwrap_or(0);
            self.bits.reserve_exact(items.count * each);
        }
        self.push(wide);
    }

    fn push(&mut self, wide: &[f32]) {
        let start = self.bits.len();
        self.bits.resize(start + wide.len(), 0);
        self.half.narrow(wide, &mut self.bits[start..]);
    }

    fn tensor(self, shape: &[usize]) -> FlexTensor {
        let layout = Layout::contiguous(Shape::from(shape.to_vec()));
        let dtype = match self.half {
            Half::F16 => DType::F16,
            Half::Bf16 => DType::BF16,
        };
        FlexTensor::new(Bytes::from_elems(self.bits), layout, dtype)
    }
}

/// The numbers of a contiguous tensor in half precision.
fn bits(values: &FlexTensor) -> &[u16] {
    match values.dtype() {
        DType::F16 => values.storage::<f16>().reinterpret_cast(),
        _ => values.storage::<bf16>().reinterpret_cast(),
    }
}
