//! The gradient of what items of other classes add to the ranks.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{
    Setting,
    arrangement::{Arrangement, BLOCK, Block},
    positives::{Group, Positives},
    product::{Matrix, multiply},
    ranks::{Active, Bits, TASKS, add},
    sigmoid::{any, exp2, sigmoid},
    tile::{LANES, Tile, transpose},
    within::split,
};

/// Up to one similarity in so many, their pulls are added one by one instead of in a matrix product.
const SPARSE: usize = 24;

/// Adds to the gradient, `[rows, dim]`, what similarities to other classes contribute. Tiles where
/// nothing was active, or nothing of weight, are not computed again.
pub(super) fn gradient(
    setting: &Setting<'_>,
    arrangement: &Arrangement,
    positives: &Positives,
    active: &[Vec<Active>],
    gradient: &mut [f32],
) {
    let blocks = &arrangement.blocks;
    let dim = setting.dim;
    let weighty: Vec<Bits> = blocks
        .iter()
        .map(|block| weighty(positives, block))
        .collect();
    let values: Vec<usize> = blocks.iter().map(|block| block.rows.len() * dim).collect();
    // Without mixing the blocks' rows are those of the batch, side by side. With it neighbours may
    // share rows of a class that lies in both, so each sums for itself first.
    let shared = blocks.iter().any(|block| block.mixtures.is_some());
    let mut apart = vec![0.0; if shared { values.iter().sum() } else { 0 }];
    {
        let mut sums = split(if shared { &mut apart } else { &mut *gradient }, &values);
        let mut tasks: Vec<Task> = (0..TASKS.min(blocks.len())).map(|_| Task::new()).collect();
        let arch = Arch::new();
        for (i, left) in blocks.iter().enumerate() {
            let (done, rest) = sums.split_at_mut(i + 1);
            let own = &mut done[i];
            let mut rest = rest.iter_mut();
            let jobs: Vec<(usize, Active, Option<&mut &mut [f32]>)> = (i..blocks.len())
                .map(|j| (j, if j == i { None } else { rest.next() }))
                .filter_map(|(j, sums)| {
                    let active = active[j][i].both(&weighty[i], &weighty[j]);
                    active.anything().then_some((j, active, sums))
                })
                .collect();
            let each = jobs.len().div_ceil(TASKS).max(1);
            let used = jobs.len().div_ceil(each);
            let mut jobs = jobs.into_iter();
            let jobs: Vec<Vec<_>> = (0..used)
                .map(|_| jobs.by_ref().take(each).collect())
                .collect();
            jobs.into_par_iter()
                .zip(&mut tasks)
                .for_each(|(job, task)| {
                    task.gradient.clear();
                    task.gradient.resize(own.len(), 0.0);
                    for (j, active, sums) in job {
                        arch.dispatch(SlopeTile {
                            setting,
                            arrangement,
                            positives,
                            left,
                            right: &blocks[j],
                            active,
                            task,
                            sums: sums.map(|sums| &mut **sums),
                        });
                    }
                });
            for task in &tasks[..used] {
                add(own, &task.gradient);
            }
        }
    }
    if shared {
        for (block, sums) in blocks.iter().zip(split(&mut apart, &values)) {
            add(&mut gradient[block.rows.start * dim..], sums);
        }
    }
}

/// The queries of a block with a positive whose rank matters to the loss.
fn weighty(positives: &Positives, block: &Block) -> Bits {
    let mut bits = [0; BLOCK / 64];
    for (query, position) in block.items.clone().enumerate() {
        let weights = &positives.weight[positives.slots(position..position + 1)];
        if weights.iter().any(|&weight| weight != 0.0) {
            bits[query / 64] |= 1 << (query % 64);
        }
    }
    bits
}

impl Active {
    fn both(mut self, left: &Bits, right: &Bits) -> Self {
        for (bits, other) in self.left.iter_mut().zip(left) {
            *bits &= other;
        }
        for (bits, other) in self.right.iter_mut().zip(right) {
            *bits &= other;
        }
        self
    }

    fn anything(&self) -> bool {
        self.left.iter().chain(&self.right).any(|&bits| bits != 0)
    }
}

/// The memory of a task, and what it adds for the block that all tasks of a step share.
struct Task {
    tile: Tile,
    /// `[BLOCK, BLOCK]`: the derivative of the loss with respect to the similarities.
    slopes: Vec<f32>,
    /// The same of the right block's queries, transposed.
    flipped: Vec<f32>,
    /// `[rows, BLOCK]`, then `[rows, rows]`: slopes of mixed items carried back to rows.
    half: Vec<f32>,
    real: Vec<f32>,
    gradient: Vec<f32>,
}

impl Task {
    fn new() -> Self {
        Self {
            tile: Tile::new(),
            slopes: vec![0.0; BLOCK * BLOCK],
            flipped: vec![0.0; BLOCK * BLOCK],
            half: Vec::new(),
            real: Vec::new(),
            gradient: Vec::new(),
        }
    }
}

struct SlopeTile<'a> {
    setting: &'a Setting<'a>,
    arrangement: &'a Arrangement,
    positives: &'a Positives,
    left: &'a Block,
    right: &'a Block,
    active: Active,
    task: &'a mut Task,
    /// The sums of the right block, unless it is the left one.
    sums: Option<&'a mut [f32]>,
}

impl WithSimd for SlopeTile<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            setting,
            arrangement,
            positives,
            left,
            right,
            active,
            task,
            sums,
        } = self;
        let Task {
            tile,
            slopes,
            flipped,
            half,
            real,
            gradient,
        } = task;
        tile.compute(setting, arrangement, left, right);
        let (height, width) = (left.items.len(), right.items.len());
        slopes.fill(0.0);
        let mut count = slope_rows(
            simd,
            setting,
            positives,
            left,
            &active.left,
            &tile.rows,
            width,
            slopes,
        );
        if active.right.iter().any(|&bits| bits != 0) {
            tile.flip(left, right);
            // The tile is not needed any more: its memory takes the transpose.
            flipped.fill(0.0);
            count += slope_rows(
                simd,
                setting,
                positives,
                right,
                &active.right,
                &tile.columns,
                height,
                flipped,
            );
            transpose(flipped, &mut tile.rows, width, height);
            for (row, other) in slopes
                .chunks_exact_mut(BLOCK)
                .zip(tile.rows.chunks_exact(BLOCK))
                .take(height)
            {
                add(&mut row[..width], other);
            }
        }
        let (slopes, stride): (&[f32], usize) = match (&left.mixtures, &right.mixtures) {
            (Some(left_mixtures), Some(right_mixtures)) => {
                let (rows, columns) = (left.rows.len(), right.rows.len());
                half.clear();
                half.resize(rows * BLOCK, 0.0);
                for (slopes, mixture) in slopes.chunks_exact(BLOCK).zip(left_mixtures) {
                    for (row, share) in [
                        (mixture.first, mixture.alpha),
                        (mixture.second, 1.0 - mixture.alpha),
                    ] {
                        let half = &mut half[row * BLOCK..][..width];
                        for (target, slope) in half.iter_mut().zip(slopes) {
                            *target += share * slope;
                        }
                    }
                }
                real.clear();
                real.resize(rows * columns, 0.0);
                for (half, real) in half.chunks_exact(BLOCK).zip(real.chunks_exact_mut(columns)) {
                    for (slope, mixture) in half.iter().zip(right_mixtures) {
                        real[mixture.first] += mixture.alpha * slope;
                        real[mixture.second] += (1.0 - mixture.alpha) * slope;
                    }
                }
                (real, columns)
            }
            _ => (slopes, BLOCK),
        };
        // s = e_a · e_b: each similarity pulls on both of its ends.
        let (rows, columns) = (left.rows.len(), right.rows.len());
        let left_rows = setting.rows(left.rows.clone());
        let right_rows = setting.rows(right.rows.clone());
        let dim = setting.dim;
        if count * SPARSE <= height * width && left.mixtures.is_none() {
            let mut sums = sums;
            for row in 0..rows {
                for column in 0..columns {
                    let slope = slopes[row * stride + column];
                    if slope != 0.0 {
                        let (a, b) = (row * dim..(row + 1) * dim, column * dim..(column + 1) * dim);
                        add_scaled(&mut gradient[a.clone()], &right_rows[b.clone()], slope);
                        let other = match &mut sums {
                            Some(sums) => &mut sums[b],
                            None => &mut gradient[b],
                        };
                        add_scaled(other, &left_rows[a], slope);
                    }
                }
            }
            return;
        }
        let slopes = Matrix::new(slopes, rows, columns, stride);
        let left_rows = Matrix::new(left_rows, rows, dim, dim);
        let right_rows = Matrix::new(right_rows, columns, dim, dim);
        multiply(gradient, dim, true, slopes, right_rows);
        let other = sums.unwrap_or(gradient);
        multiply(other, dim, true, slopes.transposed(), left_rows);
    }
}

#[inline(always)]
fn add_scaled(target: &mut [f32], values: &[f32], scale: f32) {
    for (target, value) in target.iter_mut().zip(values) {
        *target += scale * value;
    }
}

/// The derivative of the loss with respect to the similarities of a block's active queries; returns
/// how many may differ from zero.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "one caller, two directions")]
fn slope_rows<S: Simd>(
    simd: S,
    setting: &Setting<'_>,
    positives: &Positives,
    queries: &Block,
    active: &Bits,
    similarities: &[f32],
    width: usize,
    slopes: &mut [f32],
) -> usize {
    let padded = width.next_multiple_of(LANES);
    let mut count = 0;
    for (query, position) in queries.items.clone().enumerate() {
        if active[query / 64] & (1 << (query % 64)) == 0 {
            continue;
        }
        let (row, _) = S::as_simd_f32s(&similarities[query * BLOCK..][..padded]);
        let (target, _) = S::as_mut_simd_f32s(&mut slopes[query * BLOCK..][..padded]);
        let slots = positives.slots(position..position + 1);
        for group in positives.groups(position) {
            let slots =
                slots.start + group.slots.start as usize..slots.start + group.slots.end as usize;
            let factors = &positives.factor[slots.clone()];
            let weights = &positives.weight[slots];
            if weights.iter().all(|&weight| weight == 0.0) {
                continue;
            }
            count += slope_group(simd, setting.kappa, row, group, factors, weights, target);
        }
    }
    count * S::F32_LANES
}

/// Adds the slopes with respect to the similarities near a group's positives.
#[inline(always)]
fn slope_group<S: Simd>(
    simd: S,
    kappa: f32,
    row: &[S::f32s],
    group: &Group,
    factors: &[f32],
    weights: &[f32],
    slopes: &mut [S::f32s],
) -> usize {
    let (low, high) = (simd.splat_f32s(group.low), simd.splat_f32s(group.high));
    let (centre, kappa) = (simd.splat_f32s(group.centre), simd.splat_f32s(-kappa));
    let mut count = 0;
    for (slope, &similarity) in slopes.iter_mut().zip(row) {
        let near = simd.and_m32s(
            simd.greater_than_f32s(similarity, low),
            simd.less_than_f32s(similarity, high),
        );
        if !any(simd, near) {
            continue;
        }
        count += 1;
        let power = exp2(simd, simd.mul_add_e_f32s(similarity, kappa, centre));
        let mut sum = *slope;
        for (&factor, &weight) in factors.iter().zip(weights) {
            let t = simd.mul_f32s(power, simd.splat_f32s(factor));
            let after = sigmoid(simd, t);
            let weighted = simd.mul_f32s(after, simd.splat_f32s(weight));
            sum = simd.mul_add_e_f32s(simd.mul_f32s(t, after), weighted, sum);
        }
        *slope = sum;
    }
    count
}
