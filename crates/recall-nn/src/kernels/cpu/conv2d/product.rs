use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::finish::{Finish, Part};
use super::micro::{self, Lanes, VECTORS};
use super::pack::{Places, pack};
use super::plan::Plan;
use super::target::Target;

/// Products that are summed before they go to the output: their pixels stay in the second cache.
const DEEP: usize = 256;

/// Tiles of positions whose pixels are packed together.
const TILES: usize = 4;

/// Panels of output channels for which packing pixels pays.
const LEAST_PANELS: usize = 4;

/// Stores what `plan` says at all its outputs, and at no others. `weight(o, t, i)` is the weight of
/// output channel `o`, tap `t` and input channel `i`.
///
/// # Safety
///
/// `target` is alive, as long as the output that `plan` says, and used by nobody else.
#[expect(unsafe_code, reason = "the output is shared by threads")]
pub(super) unsafe fn product(
    arch: Arch,
    plan: &Plan<'_>,
    weight: impl Fn(usize, usize, usize) -> f32 + Sync,
    target: Target,
    finish: Finish<'_>,
) {
    let lanes = arch.dispatch(Lanes);
    let (height, width) = (micro::height(lanes), VECTORS * lanes);
    let weights = pack_weights(plan, weight, height);
    let positions = plan.positions();
    let blocks = positions.div_ceil(TILES * width);
    let panels = plan.to.channels.div_ceil(height);
    if blocks == 0 || panels == 0 {
        return;
    }
    // Few positions: threads share the channels as well, which changes no sum.
    let wanted = (4 * rayon::current_num_threads()).div_ceil(blocks);
    let share = panels.div_ceil(wanted.min(panels.div_ceil(LEAST_PANELS)));
    let shares = panels.div_ceil(share);
    (0..blocks * shares).into_par_iter().for_each_init(
        || vec![0.0; TILES * width * DEEP],
        |buffer, task| {
            let (start, panel) = (task / shares * TILES * width, task % shares * share);
            arch.dispatch(Block {
                plan,
                weights: &weights,
                target,
                finish,
                positions: start..(start + TILES * width).min(positions),
                panels: panel..(panel + share).min(panels),
                buffer,
            });
        },
    );
}

/// The weights by panels of `height` output channels, `[panel, depth, height]`.
fn pack_weights(
    plan: &Plan<'_>,
    weight: impl Fn(usize, usize, usize) -> f32 + Sync,
    height: usize,
) -> Vec<f32> {
    let (depth, channels) = (plan.depth(), plan.from.channels);
    let panels = plan.to.channels.div_ceil(height);
    let mut packed = vec![0.0; panels * depth * height];
    packed
        .par_chunks_mut(depth * height)
        .enumerate()
        .for_each(|(panel, packed)| {
            let outputs = panel * height..((panel + 1) * height).min(plan.to.channels);
            // In this order the weights are read in pieces, whichever of the channels is the outer
            // one.
            for channel in 0..channels {
                for tap in 0..plan.taps.len() {
                    let column = &mut packed[(tap * channels + channel) * height..];
                    for (packed, output) in column.iter_mut().zip(outputs.clone()) {
                        *packed = weight(output, tap, channel);
                    }
                }
            }
        });
    packed
}

/// The outputs of a range of positions in the channels of a range of panels.
struct Block<'a> {
    plan: &'a Plan<'a>,
    weights: &'a [f32],
    /// Used by the others outside of this block's outputs alone.
    target: Target,
    finish: Finish<'a>,
    positions: Range<usize>,
    panels: Range<usize>,
    buffer: &'a mut [f32],
}

impl WithSimd for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match micro::height(S::F32_LANES) {
            12 => self.compute::<S, 12>(simd),
            _ => self.compute::<S, 6>(simd),
        }
    }
}

impl Block<'_> {
    #[inline(always)]
    fn compute<S: Simd, const HEIGHT: usize>(self, simd: S) {
        let width = VECTORS * S::F32_LANES;
        let (plan, depth) = (self.plan, self.plan.depth());
        let mut places = [Places::NONE; TILES];
        let starts = self.positions.clone().step_by(width);
        let tiles = starts.len();
        for (places, start) in places.iter_mut().zip(starts) {
            *places = Places::new(plan, start, self.positions.end, width);
        }
        let places = &places[..tiles];
        for from in (0..depth).step_by(DEEP) {
            let deep = DEEP.min(depth - from);
            for (places, buffer) in places
                .iter()
                .zip(self.buffer.chunks_exact_mut(DEEP * width))
            {
                pack(simd, plan, places, from, &mut buffer[..deep * width]);
            }
            let part = Part {
                target: self.target,
                added: from > 0,
                finish: (from + deep == depth).then_some(self.finish),
            };
            for panel in self.panels.clone() {
                let weights = &self.weights[(panel * depth + from) * HEIGHT..][..deep * HEIGHT];
                for (places, buffer) in places.iter().zip(self.buffer.chunks_exact(DEEP * width)) {
                    let (pixels, _) = S::as_simd_f32s(&buffer[..deep * width]);
                    let sums = micro::multiply::<S, HEIGHT>(simd, weights, pixels);
                    for (row, sums) in sums.into_iter().enumerate() {
                        let channel = panel * HEIGHT + row;
                        if channel < plan.to.channels {
                            store(simd, plan, part, places, channel, sums);
                        }
                    }
                }
            }
        }
    }
}

/// Stores the sums of a channel at `places`.
#[inline(always)]
fn store<S: Simd>(
    simd: S,
    plan: &Plan<'_>,
    part: Part<'_>,
    places: &Places,
    channel: usize,
    sums: [S::f32s; VECTORS],
) {
    let plane = channel * plan.to.plane();
    if places.adjacent {
        #[expect(unsafe_code, reason = "the output is shared by threads")]
        // SAFETY: the offsets are those of this tile's positions in this channel, which is one of
        // the output's: within it, as `Places::new` counts rows and columns up to those of the
        // plan. No two tiles have a position and a channel in common. The parts of a tile are
        // stored one after the other by one thread, to which the first one adds nothing.
        unsafe {
            part.store(simd, channel, places.output[0] + plane, sums);
        }
        return;
    }
    let mut row = [0.0; super::micro::MOST_WIDTH];
    S::as_mut_simd_f32s(&mut row).0[..VECTORS].copy_from_slice(&sums);
    for (&sum, &offset) in row.iter().zip(&places.output[..places.count]) {
        #[expect(unsafe_code, reason = "the output is shared by threads")]
        // SAFETY: as above.
        unsafe {
            part.store_one(channel, offset + plane, sum);
        }
    }
}
