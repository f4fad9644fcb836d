//! What the items of other classes add to the soft ranks.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{
    EXCLUDED, Setting,
    arrangement::{Arrangement, BLOCK, Block},
    positives::{Group, Positives},
    sigmoid::{any, exp2, sigmoid},
    tile::{LANES, Tile},
    within::split,
};

/// Tasks of a step. What they add for the block they share is summed in their order, whatever thread
/// ran them, so the sums are the same for any number of threads.
pub(super) const TASKS: usize = 32;

/// Which rows of a tile compare with something neither far above nor far below, in both directions:
/// only there does the gradient differ from zero.
#[derive(Clone, Copy)]
pub(super) struct Active {
    pub(super) left: Bits,
    pub(super) right: Bits,
}

/// A bit for each item of a block.
pub(super) type Bits = [u64; BLOCK / 64];

/// Adds to the ranks, and to their slopes, what items of other classes contribute.
///
/// A tile of similarities serves the queries on both of its sides, so only tiles on and above the
/// diagonal are computed: a step takes one block with all blocks from it on. Returns what was active
/// in each tile, by the later block, then by the earlier one.
pub(super) fn compare(
    setting: &Setting<'_>,
    arrangement: &Arrangement,
    positives: &mut Positives,
) -> Vec<Vec<Active>> {
    let blocks = &arrangement.blocks;
    let bounds: Vec<f32> = blocks
        .iter()
        .map(|block| {
            let groups = block.items.clone().flat_map(|p| positives.groups(p));
            groups.map(|group| group.low).fold(f32::INFINITY, f32::min)
        })
        .collect();
    let slots: Vec<usize> = blocks
        .iter()
        .map(|block| positives.slots(block.items.clone()).len())
        .collect();
    let mut ranks = vec![0.0; positives.rank.len()];
    let mut slopes = vec![0.0; positives.rank.len()];
    let mut active: Vec<Vec<Active>> = (0..blocks.len()).map(Vec::with_capacity).collect();
    {
        let mut sums: Vec<Sums<'_>> = split(&mut ranks, &slots)
            .into_iter()
            .zip(split(&mut slopes, &slots))
            .map(|(rank, slope)| Sums { rank, slope })
            .collect();
        let mut tasks: Vec<Task> = (0..TASKS.min(blocks.len())).map(|_| Task::new()).collect();
        let arch = Arch::new();
        for (i, left) in blocks.iter().enumerate() {
            let (done, rest) = sums.split_at_mut(i + 1);
            let own = &mut done[i];
            let later = blocks.len() - i;
            let each = later.div_ceil(TASKS);
            let used = later.div_ceil(each);

            // The diagonal tile adds to the shared block alone; it goes with the first task.
            let mut rest = rest.iter_mut();
            let mut active = active[i..].iter_mut();
            let jobs: Vec<Vec<(usize, Option<&mut Sums<'_>>, &mut Vec<Active>)>> = (0..used)
                .map(|task| {
                    (i + task * each..(i + (task + 1) * each).min(blocks.len()))
                        .map(|j| {
                            let sums = if j == i { None } else { rest.next() };
                            (j, sums, active.next().expect("one for each block"))
                        })
                        .collect()
                })
                .collect();
            jobs.into_par_iter()
                .zip(&mut tasks)
                .for_each(|(job, task)| {
                    task.rank.clear();
                    task.rank.resize(own.rank.len(), 0.0);
                    task.slope.clear();
                    task.slope.resize(own.slope.len(), 0.0);
                    for (j, sums, active) in job {
                        active.push(arch.dispatch(CompareTile {
                            setting,
                            arrangement,
                            positives,
                            left,
                            right: &blocks[j],
                            bounds: (bounds[i], bounds[j]),
                            task,
                            sums,
                        }));
                    }
                });
            for task in &tasks[..used] {
                add(own.rank, &task.rank);
                add(own.slope, &task.slope);
            }
        }
    }
    add(&mut positives.rank, &ranks);
    add(&mut positives.slope, &slopes);
    active
}

pub(super) fn add(target: &mut [f32], values: &[f32]) {
    for (target, value) in target.iter_mut().zip(values) {
        *target += value;
    }
}

/// Sums over the slots of a block.
struct Sums<'a> {
    rank: &'a mut [f32],
    slope: &'a mut [f32],
}

/// The memory of a task, and what it adds for the block that all tasks of a step share.
struct Task {
    tile: Tile,
    powers: Vec<f32>,
    rank: Vec<f32>,
    slope: Vec<f32>,
}

impl Task {
    fn new() -> Self {
        Self {
            tile: Tile::new(),
            powers: vec![0.0; BLOCK],
            rank: Vec::new(),
            slope: Vec::new(),
        }
    }
}

struct CompareTile<'a, 'b> {
    setting: &'a Setting<'a>,
    arrangement: &'a Arrangement,
    positives: &'a Positives,
    left: &'a Block,
    right: &'a Block,
    /// Below this, a similarity contributes to no rank of the left, of the right block.
    bounds: (f32, f32),
    task: &'a mut Task,
    /// The sums of the right block, unless it is the left one.
    sums: Option<&'a mut Sums<'b>>,
}

impl WithSimd for CompareTile<'_, '_> {
    type Output = Active;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Active {
        let Self {
            setting,
            arrangement,
            positives,
            left,
            right,
            bounds,
            task,
            sums,
        } = self;
        let Task {
            tile,
            powers,
            rank,
            slope,
        } = task;
        tile.compute(setting, arrangement, left, right);
        let mut active = Active {
            left: [0; BLOCK / 64],
            right: [0; BLOCK / 64],
        };
        if tile.greatest > bounds.0 {
            let sums = Sums { rank, slope };
            let width = right.items.len();
            active.left = compare_rows(
                simd, setting, positives, left, &tile.rows, width, powers, sums,
            );
        }
        if let Some(Sums { rank, slope }) = sums
            && tile.greatest > bounds.1
        {
            tile.flip(left, right);
            let sums = Sums { rank, slope };
            let width = left.items.len();
            active.right = compare_rows(
                simd,
                setting,
                positives,
                right,
                &tile.columns,
                width,
                powers,
                sums,
            );
        }
        active
    }
}

/// Compares the positives of each query of a block with a row of similarities.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "one caller, two directions")]
fn compare_rows<S: Simd>(
    simd: S,
    setting: &Setting<'_>,
    positives: &Positives,
    queries: &Block,
    similarities: &[f32],
    width: usize,
    powers: &mut [f32],
    sums: Sums<'_>,
) -> Bits {
    let mut bits = [0; BLOCK / 64];
    let first = positives.slots(queries.items.clone()).start;
    let (powers, _) = S::as_mut_simd_f32s(powers);
    let padded = width.next_multiple_of(LANES);
    for (query, position) in queries.items.clone().enumerate() {
        let (row, _) = S::as_simd_f32s(&similarities[query * BLOCK..][..padded]);
        let slots = positives.slots(position..position + 1);
        for group in positives.groups(position) {
            let (found, above) = powers_of(simd, setting.kappa, row, group, powers);
            if found == 0 && above == 0.0 {
                continue;
            }
            if found > 0 {
                bits[query / 64] |= 1 << (query % 64);
            }
            let slots =
                slots.start + group.slots.start as usize..slots.start + group.slots.end as usize;
            let factors = &positives.factor[slots.clone()];
            let slots = slots.start - first..slots.end - first;
            let (rank, slope) = (&mut sums.rank[slots.clone()], &mut sums.slope[slots]);
            sum(simd, &powers[..found], above, factors, rank, slope);
        }
    }
    bits
}

/// Collects `2^((c − s)κ)` of the vectors of similarities that are not all far below or above a
/// group's positives, and counts what lies above in the others.
#[inline(always)]
fn powers_of<S: Simd>(
    simd: S,
    kappa: f32,
    row: &[S::f32s],
    group: &Group,
    powers: &mut [S::f32s],
) -> (usize, f32) {
    let (low, high) = (simd.splat_f32s(group.low), simd.splat_f32s(group.high));
    let (centre, kappa) = (simd.splat_f32s(group.centre), simd.splat_f32s(-kappa));
    let (zero, one) = (simd.splat_f32s(0.0), simd.splat_f32s(1.0));
    let mut found = 0;
    let mut above = zero;
    for &similarity in row {
        let relevant = simd.greater_than_f32s(similarity, low);
        if !any(simd, relevant) {
            continue;
        }
        let near = simd.and_m32s(relevant, simd.less_than_f32s(similarity, high));
        if any(simd, near) {
            powers[found] = exp2(simd, simd.mul_add_e_f32s(similarity, kappa, centre));
            found += 1;
        } else {
            above = simd.add_f32s(above, simd.select_f32s(relevant, one, zero));
        }
    }
    (found, simd.reduce_sum_f32s(above))
}

/// Adds the soft comparisons of some items to the sums of each positive of a group.
#[inline(always)]
fn sum<S: Simd>(
    simd: S,
    powers: &[S::f32s],
    above: f32,
    factors: &[f32],
    ranks: &mut [f32],
    slopes: &mut [f32],
) {
    let (factors, rest) = factors.as_chunks::<4>();
    let (rank_chunks, rank_rest) = ranks.as_chunks_mut::<4>();
    let (slope_chunks, slope_rest) = slopes.as_chunks_mut::<4>();
    for ((factors, ranks), slopes) in factors.iter().zip(rank_chunks).zip(slope_chunks) {
        sum_some(simd, powers, above, factors, ranks, slopes);
    }
    match rest.len() {
        0 => {}
        1 => sum_rest::<S, 1>(simd, powers, above, rest, rank_rest, slope_rest),
        2 => sum_rest::<S, 2>(simd, powers, above, rest, rank_rest, slope_rest),
        _ => sum_rest::<S, 3>(simd, powers, above, rest, rank_rest, slope_rest),
    }
}

#[inline(always)]
fn sum_rest<S: Simd, const N: usize>(
    simd: S,
    powers: &[S::f32s],
    above: f32,
    factors: &[f32],
    ranks: &mut [f32],
    slopes: &mut [f32],
) {
    let (Some(factors), Some(ranks), Some(slopes)) = (
        factors.first_chunk::<N>(),
        ranks.first_chunk_mut::<N>(),
        slopes.first_chunk_mut::<N>(),
    ) else {
        return;
    };
    sum_some(simd, powers, above, factors, ranks, slopes);
}

/// The sums of a few positives, in registers.
#[inline(always)]
fn sum_some<S: Simd, const N: usize>(
    simd: S,
    powers: &[S::f32s],
    above: f32,
    factors: &[f32; N],
    ranks: &mut [f32; N],
    slopes: &mut [f32; N],
) {
    let factors = factors.map(|factor| simd.splat_f32s(factor));
    let mut rank = [simd.splat_f32s(0.0); N];
    let mut slope = [simd.splat_f32s(0.0); N];
    for &power in powers {
        for i in 0..N {
            let t = simd.mul_f32s(power, factors[i]);
            let after = sigmoid(simd, t);
            rank[i] = simd.add_f32s(rank[i], after);
            slope[i] = simd.mul_add_e_f32s(simd.mul_f32s(t, after), after, slope[i]);
        }
    }
    for i in 0..N {
        ranks[i] += above + simd.reduce_sum_f32s(rank[i]);
        slopes[i] += simd.reduce_sum_f32s(slope[i]);
    }
}

const _: () = assert!(EXCLUDED < 0.0 && BLOCK.is_multiple_of(64) && BLOCK.is_multiple_of(LANES));
