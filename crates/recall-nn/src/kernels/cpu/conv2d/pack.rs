use pulp::Simd;

use super::micro::{MOST_WIDTH, VECTORS};
use super::plan::Plan;

/// Where the positions of a tile read and write.
#[derive(Clone, Copy)]
pub(super) struct Places {
    image: [usize; MOST_WIDTH],
    y: [isize; MOST_WIDTH],
    x: [isize; MOST_WIDTH],
    /// Offsets in the first channel's outputs.
    pub(super) output: [usize; MOST_WIDTH],
    pub(super) count: usize,
    /// Whether the outputs of a whole tile are next to each other.
    pub(super) adjacent: bool,
}

impl Places {
    pub(super) const NONE: Self = Self {
        image: [0; MOST_WIDTH],
        y: [0; MOST_WIDTH],
        x: [0; MOST_WIDTH],
        output: [0; MOST_WIDTH],
        count: 0,
        adjacent: false,
    };

    /// The places of `width` positions from `first` on, those before `end`.
    #[inline(always)]
    pub(super) fn new(plan: &Plan<'_>, first: usize, end: usize, width: usize) -> Self {
        let mut places = Self {
            count: width.min(end - first),
            ..Self::NONE
        };
        let of_image = plan.rows * plan.columns;
        let (mut image, rest) = (first / of_image, first % of_image);
        let (mut row, mut column) = (rest / plan.columns, rest % plan.columns);
        for j in 0..places.count {
            places.image[j] = image * plan.from.image();
            places.y[j] = (row * plan.step) as isize;
            places.x[j] = (column * plan.step) as isize;
            places.output[j] = image * plan.to.image()
                + (row * plan.spread + plan.top) * plan.to.width
                + column * plan.spread
                + plan.left;
            column += 1;
            if column == plan.columns {
                column = 0;
                row += 1;
            }
            if row == plan.rows {
                row = 0;
                image += 1;
            }
        }
        let first = places.output[0];
        places.adjacent =
            places.count == width && (1..width).all(|j| places.output[j] == first + j);
        places
    }

    /// What a tap reads at these positions.
    #[inline(always)]
    fn pixels<S: Simd>(&self, plan: &Plan<'_>, (dy, dx): (isize, isize)) -> Pixels {
        let mut pixels = Pixels {
            offsets: [usize::MAX; MOST_WIDTH],
            masks: [0; MOST_WIDTH],
            vectors: [Source::Scattered; VECTORS],
        };
        let (height, width) = (plan.from.height as isize, plan.from.width as isize);
        for j in 0..self.count {
            let (y, x) = (self.y[j] + dy, self.x[j] + dx);
            if (0..height).contains(&y) && (0..width).contains(&x) {
                pixels.offsets[j] = self.image[j] + (y * width + x) as usize;
                pixels.masks[j] = u32::MAX;
            }
        }
        let last = plan.input.len() - (plan.from.channels - 1) * plan.from.plane();
        for vector in 0..VECTORS {
            let lanes = vector * S::F32_LANES..(vector + 1) * S::F32_LANES;
            pixels.vectors[vector] = source(&pixels.offsets[lanes], last);
        }
        pixels
    }
}

/// The pixels of the first channel at the positions of a tile.
struct Pixels {
    /// `usize::MAX` outside of the image.
    offsets: [usize; MOST_WIDTH],
    /// All ones, and zero outside of the image.
    masks: [u32; MOST_WIDTH],
    vectors: [Source; VECTORS],
}

/// How a vector is read.
#[derive(Clone, Copy)]
enum Source {
    Zero,
    /// All at once from an offset on; some may be outside of the image, though within the input.
    Adjacent(usize),
    Scattered,
}

/// How to read pixels at these offsets of an input in which each channel has `len` numbers or more.
#[inline(always)]
fn source(offsets: &[usize], len: usize) -> Source {
    let Some(inside) = offsets.iter().position(|&offset| offset != usize::MAX) else {
        return Source::Zero;
    };
    let Some(first) = offsets[inside].checked_sub(inside) else {
        return Source::Scattered;
    };
    let adjacent = first + offsets.len() <= len
        && offsets
            .iter()
            .enumerate()
            .all(|(lane, &offset)| offset == usize::MAX || offset == first + lane);
    match adjacent {
        true => Source::Adjacent(first),
        false => Source::Scattered,
    }
}

/// Writes the pixels at `places` for a part of the depth that begins at `from`: for each tap and
/// channel one row of `buffer`, which is as long as a tile is wide.
#[inline(always)]
pub(super) fn pack<S: Simd>(
    simd: S,
    plan: &Plan<'_>,
    places: &Places,
    from: usize,
    buffer: &mut [f32],
) {
    let lanes = S::F32_LANES;
    let width = VECTORS * lanes;
    let plane = plan.from.plane();
    let (mut tap, mut first) = (from / plan.from.channels, from % plan.from.channels);
    let mut rest = buffer;
    while !rest.is_empty() {
        let channels = (rest.len() / width).min(plan.from.channels - first);
        let (rows, others) = rest.split_at_mut(channels * width);
        rest = others;
        let pixels = places.pixels::<S>(plan, plan.taps[tap]);
        for (vector, source) in pixels.vectors.into_iter().enumerate() {
            let at = vector * lanes..(vector + 1) * lanes;
            let rows = rows.chunks_exact_mut(width).map(|row| &mut row[at.clone()]);
            match source {
                Source::Zero => rows.for_each(|row| row.fill(0.0)),
                Source::Adjacent(offset) => {
                    let mask = S::as_simd_u32s(&pixels.masks[at.clone()]).0[0];
                    for (channel, row) in rows.enumerate() {
                        let offset = offset + (first + channel) * plane;
                        let values = S::as_simd_f32s(&plan.input[offset..offset + lanes]).0[0];
                        let values = simd.and_u32s(simd.transmute_u32s_f32s(values), mask);
                        S::as_mut_simd_f32s(row).0[0] = simd.transmute_f32s_u32s(values);
                    }
                }
                Source::Scattered => {
                    let offsets = &pixels.offsets[at.clone()];
                    for (channel, row) in rows.enumerate() {
                        let input = &plan.input[(first + channel) * plane..];
                        for (value, &offset) in row.iter_mut().zip(offsets) {
                            *value = input.get(offset).copied().unwrap_or(0.0);
                        }
                    }
                }
            }
        }
        first = 0;
        tap += 1;
    }
}
