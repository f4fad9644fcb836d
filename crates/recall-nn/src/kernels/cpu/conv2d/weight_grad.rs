//! The gradient of the weights: dot products of rows of the output's gradient and of shifted
//! pixels.

mod dots;
mod lines;
mod patch;

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::micro;
use super::shape::Conv2dShape;
use dots::add_dots;
use lines::{Lines, copy_rows};
use patch::Patches;

/// Rows of each kind in a task are a multiple of this, which is one of each side of a tile of dot
/// products.
const UNIT: usize = 12;

/// The most rows of the gradient and of pixels in a task: together they are about as large as the
/// second cache. More rows would be copied fewer times.
const MOST: [usize; 2] = [132, 240];

/// The gradient of the weight, `[cout, cin, kernel, kernel]`, from that of `images ∗ weight`, which
/// is of the output's shape.
///
/// # Panics
///
/// If a length is not what `shape` says, or the kernel does not fit into the padded image.
pub fn weight_grad(shape: &Conv2dShape, images: &[f32], grad: &[f32]) -> Vec<f32> {
    weight_grad_on(Arch::new(), shape, images, grad)
}

pub(super) fn weight_grad_on(
    arch: Arch,
    shape: &Conv2dShape,
    images: &[f32],
    grad: &[f32],
) -> Vec<f32> {
    shape.check();
    assert_eq!(images.len(), shape.input_len());
    assert_eq!(grad.len(), shape.output_len());

    let (seen, depth) = (shape.flattened(), shape.depth());
    let patches = Patches::new(&seen, arch.dispatch(micro::Lanes));
    let [tall, wide] = task_size(shape.cout, depth);
    let across = depth.div_ceil(wide);
    let tasks = shape.cout.div_ceil(tall) * across;
    let range = |index: usize, size: usize, end: usize| index * size..((index + 1) * size).min(end);
    let sums: Vec<Vec<f32>> = (0..tasks)
        .into_par_iter()
        .map_init(
            || Buffers::new(&seen, patches, tall, wide),
            |buffers, task| {
                arch.dispatch(Task {
                    shape: &seen,
                    images,
                    grad,
                    patches,
                    outputs: range(task / across, tall, shape.cout),
                    weights: range(task % across, wide, depth),
                    buffers,
                })
            },
        )
        .collect();

    let mut output = vec![0.0; shape.weight_len()];
    for (task, sums) in sums.iter().enumerate() {
        let weights = range(task % across, wide, depth);
        let rows = output.chunks_exact_mut(depth).skip(task / across * tall);
        for (row, sums) in rows.zip(sums.chunks_exact(weights.len())) {
            row[weights.clone()].copy_from_slice(sums);
        }
    }
    output
}

/// Output channels and weights of each in a task. The shape of a task changes no sum, so it may
/// depend on the number of threads.
fn task_size(outputs: usize, depth: usize) -> [usize; 2] {
    let [mut tall, mut wide] = [
        outputs.max(1).next_multiple_of(UNIT).min(MOST[0]),
        depth.next_multiple_of(UNIT).min(MOST[1]),
    ];
    // As square as may be, since the rows of both sides are copied for each task.
    let wanted = 2 * rayon::current_num_threads();
    while outputs.div_ceil(tall) * depth.div_ceil(wide) < wanted && tall.max(wide) > UNIT {
        let longer = if tall >= wide { &mut tall } else { &mut wide };
        *longer = (*longer / 2).next_multiple_of(UNIT);
    }
    [tall, wide]
}

/// What a thread uses again for its next task.
struct Buffers {
    grad: Vec<f32>,
    pixels: Vec<f32>,
    lines: Lines,
}

impl Buffers {
    fn new(shape: &Conv2dShape, patches: Patches, tall: usize, wide: usize) -> Self {
        Self {
            grad: vec![0.0; tall * patches.pitch],
            pixels: vec![0.0; wide * patches.pitch],
            lines: Lines::new(shape, patches),
        }
    }
}

/// The gradient of a range of weights of a range of output channels.
struct Task<'a> {
    shape: &'a Conv2dShape,
    images: &'a [f32],
    grad: &'a [f32],
    patches: Patches,
    outputs: Range<usize>,
    weights: Range<usize>,
    buffers: &'a mut Buffers,
}

impl WithSimd for Task<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        // As many sums as the registers hold.
        match micro::height(S::F32_LANES) {
            12 => self.compute::<S, 6, 4>(simd),
            _ => self.compute::<S, 4, 3>(simd),
        }
    }
}

impl Task<'_> {
    #[inline(always)]
    fn compute<S: Simd, const TALL: usize, const WIDE: usize>(self, simd: S) -> Vec<f32> {
        const { assert!(UNIT.is_multiple_of(TALL) && UNIT.is_multiple_of(WIDE)) }
        let shape = self.shape;
        let size @ [out_height, _] = [shape.out_height(), shape.out_width()];
        let Buffers {
            grad,
            pixels,
            lines,
        } = self.buffers;
        let pitch = self.patches.pitch;
        let mut sums = vec![0.0; self.outputs.len() * self.weights.len()];
        for patch in self.patches.of(shape) {
            let count = patch.count();
            let padded = count.next_multiple_of(S::F32_LANES);
            let rows = grad.chunks_exact_mut(pitch).zip(self.outputs.clone());
            for (row, channel) in rows {
                let first = |image: usize| (image * shape.cout + channel) * out_height;
                copy_rows(simd, &patch, size, self.grad, first, row);
                row[count..padded].fill(0.0);
            }
            if shape.is_pointwise() {
                let rows = pixels.chunks_exact_mut(pitch).zip(self.weights.clone());
                for (row, channel) in rows {
                    let first = |image: usize| (image * shape.cin + channel) * out_height;
                    copy_rows(simd, &patch, size, self.images, first, row);
                    row[count..padded].fill(0.0);
                }
            } else {
                let mut weight = self.weights.start;
                let mut rows = pixels.chunks_exact_mut(pitch);
                while weight < self.weights.end {
                    let (line, place) = (weight / shape.kernel, weight % shape.kernel);
                    let places = place..shape.kernel.min(place + self.weights.end - weight);
                    weight += places.len();
                    let (channel, down) = (line / shape.kernel, line % shape.kernel);
                    lines.read(
                        simd,
                        shape,
                        &patch,
                        self.images,
                        channel,
                        down,
                        places.clone(),
                    );
                    // The places first: when they end, no row is taken.
                    for (place, row) in places.zip(rows.by_ref()) {
                        lines.shifted::<S>(shape, &patch, place, row);
                        row[count..padded].fill(0.0);
                    }
                }
            }
            let rows = [self.outputs.len(), self.weights.len()];
            add_dots::<S, TALL, WIDE>(simd, grad, pixels, [pitch, padded], rows, &mut sums);
        }
        sums
    }
}
