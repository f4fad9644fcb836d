use std::ops::Range;

use pulp::Simd;

use super::super::shape::Conv2dShape;
use super::patch::{Patch, Patches};

/// The most numbers in a vector, which may be read and written behind the end of a line.
const SLACK: usize = 16;

/// For one channel and one row of the kernel, the padded pixels that a patch sees: one line of them
/// for each line of the patch. Pixels `stride` apart are next to each other, so that what one place
/// of the kernel sees is a piece of each line.
pub(super) struct Lines {
    /// `[phase, line, pitch]`.
    values: Vec<f32>,
    pitch: usize,
}

impl Lines {
    pub(super) fn new(shape: &Conv2dShape, patches: Patches) -> Self {
        let phases = shape.stride.min(shape.kernel);
        let pitch = patches.columns + (shape.kernel - 1) / shape.stride;
        Self {
            values: vec![0.0; phases * patches.lines * pitch + SLACK],
            pitch,
        }
    }

    /// Reads what the places `places` of row `down` of the kernel see in `channel`.
    #[expect(
        clippy::too_many_arguments,
        reason = "a place in a tensor of four dimensions"
    )]
    #[inline(always)]
    pub(super) fn read<S: Simd>(
        &mut self,
        simd: S,
        shape: &Conv2dShape,
        patch: &Patch,
        images: &[f32],
        channel: usize,
        down: usize,
        places: Range<usize>,
    ) {
        let (stride, padding, out_height) = (shape.stride, shape.padding, shape.out_height());
        let phases = stride.min(shape.kernel);
        let pitch = self.pitch;
        let plane = patch.lines.len() * pitch;
        for phase in 0..phases {
            // The first place of this phase, if it is among those asked for.
            let skipped = places.start.saturating_sub(phase).next_multiple_of(stride);
            if phase + skipped >= places.end {
                continue;
            }
            // The columns of the line that are within the image.
            let inside = |end: usize| {
                let columns = (end + padding).saturating_sub(phase).div_ceil(stride);
                columns.saturating_sub(patch.columns.start).min(pitch)
            };
            let inside = inside(0)..inside(shape.width);
            let first =
                ((patch.columns.start + inside.start) * stride + phase).saturating_sub(padding);
            // A short line is one vector: what is too much the next line writes over.
            let mask = mask(inside.clone());
            let mask = (stride == 1 && pitch <= S::F32_LANES).then(|| S::as_simd_u32s(&mask).0[0]);
            let (mut image, mut row) = (
                patch.lines.start / out_height,
                patch.lines.start % out_height,
            );
            for to in (phase * plane..(phase + 1) * plane).step_by(pitch) {
                let y = (row * stride + down).wrapping_sub(padding);
                if y < shape.height && !inside.is_empty() {
                    let start = ((image * shape.cin + channel) * shape.height + y) * shape.width;
                    let vector = (start + first)
                        .checked_sub(inside.start)
                        .and_then(|start| images.get(start..start + S::F32_LANES));
                    if let (Some(mask), Some(pixels)) = (mask, vector) {
                        let pixels = simd.transmute_u32s_f32s(S::as_simd_f32s(pixels).0[0]);
                        let line = &mut self.values[to..to + S::F32_LANES];
                        S::as_mut_simd_f32s(line).0[0] =
                            simd.transmute_f32s_u32s(simd.and_u32s(pixels, mask));
                    } else {
                        let line = &mut self.values[to..to + pitch];
                        line[..inside.start].fill(0.0);
                        line[inside.end..].fill(0.0);
                        let pixels = &images[start..start + shape.width][first..];
                        every(simd, stride, pixels, &mut line[inside.clone()]);
                    }
                } else {
                    self.values[to..to + pitch].fill(0.0);
                }
                row += 1;
                if row == out_height {
                    row = 0;
                    image += 1;
                }
            }
        }
    }

    /// Writes what a place of the row that was read sees at the patch's positions, and as much
    /// behind them as a vector is long.
    #[inline(always)]
    pub(super) fn shifted<S: Simd>(
        &self,
        shape: &Conv2dShape,
        patch: &Patch,
        place: usize,
        row: &mut [f32],
    ) {
        let (lanes, columns) = (S::F32_LANES, patch.columns.len());
        let phase = place % shape.stride;
        let mut from = phase * patch.lines.len() * self.pitch + place / shape.stride;
        let mut to = 0;
        for _ in patch.lines.clone() {
            // Whole vectors: what is too much the next line writes over.
            let mut column = 0;
            while column < columns {
                let pixels = &self.values[from + column..][..lanes];
                S::as_mut_simd_f32s(&mut row[to + column..][..lanes]).0[0] =
                    S::as_simd_f32s(pixels).0[0];
                column += lanes;
            }
            from += self.pitch;
            to += columns;
        }
    }
}

/// Copies a patch from images of lines of `width`, `height` in an image, where `first(image)` is
/// the first line.
#[inline(always)]
pub(super) fn copy_rows<S: Simd>(
    simd: S,
    patch: &Patch,
    [height, width]: [usize; 2],
    values: &[f32],
    first: impl Fn(usize) -> usize,
    row: &mut [f32],
) {
    let columns = &patch.columns;
    let whole = columns.len() == width;
    let (mut image, mut line) = (patch.lines.start / height, patch.lines.start % height);
    let mut row = &mut row[..patch.count()];
    while !row.is_empty() {
        // Whole lines of an image follow each other.
        let len = match whole {
            true => row.len().min((height - line) * width),
            false => columns.len(),
        };
        let start = (first(image) + line) * width + columns.start;
        let (piece, rest) = row.split_at_mut(len);
        copy(simd, &values[start..start + len], piece);
        row = rest;
        line += if whole { height } else { 1 };
        if line >= height {
            line = 0;
            image += 1;
        }
    }
}

/// Copies what is mostly a few numbers, for which a call of `memcpy` takes longer than the copy.
#[inline(always)]
fn copy<S: Simd>(simd: S, from: &[f32], to: &mut [f32]) {
    let (from, from_rest) = S::as_simd_f32s(from);
    let (to, to_rest) = S::as_mut_simd_f32s(to);
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
    if !to_rest.is_empty() {
        simd.partial_store_f32s(to_rest, simd.partial_load_f32s(from_rest));
    }
}

/// Copies every `stride`th number of `from`.
#[inline(always)]
fn every<S: Simd>(simd: S, stride: usize, from: &[f32], to: &mut [f32]) {
    match stride {
        1 => copy(simd, &from[..to.len()], to),
        // In vectors as well, which the compiler finds in pairs alone.
        2 => {
            let (pairs, last) = from.as_chunks::<2>();
            for (to, pair) in to.iter_mut().zip(pairs) {
                *to = pair[0];
            }
            if let (Some(to), Some(&last)) = (to.get_mut(pairs.len()), last.first()) {
                *to = last;
            }
        }
        _ => {
            for (to, from) in to.iter_mut().zip(from.chunks(stride)) {
                *to = from[0];
            }
        }
    }
}

/// All ones in a range of lanes, which may end behind the last one, and zero elsewhere.
#[inline(always)]
fn mask(inside: Range<usize>) -> [u32; SLACK] {
    std::array::from_fn(|lane| if inside.contains(&lane) { u32::MAX } else { 0 })
}
