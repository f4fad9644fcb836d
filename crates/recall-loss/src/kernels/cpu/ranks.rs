//! What the items of other classes add to the soft ranks.

use pulp::{Arch, Simd, WithSimd};

use super::{
    arrangement::{Arrangement, BLOCK, Block},
    positives::{Group, Positives},
    setting::Setting,
    sigmoid::{any, exp2, sigmoids},
    steps::{self, Pass, add, split},
    tile::{Rows, Tile},
};

/// Which rows of a tile compare with something neither far above nor far below, in both directions:
/// only there does the gradient differ from zero.
#[derive(Clone, Copy)]
pub(super) struct Active {
    pub(super) left: Bits,
    pub(super) right: Bits,
}

/// What a second visit to a tile wants to know.
pub(super) struct Visited {
    pub(super) active: Active,
    /// Its products, if they are kept.
    pub(super) products: Option<Vec<f32>>,
}

/// Products are kept for the second visit if those of all tiles take no more bytes than this.
const KEPT: usize = 64 << 20;

/// A bit for each item of a block.
pub(super) type Bits = [u64; BLOCK / 64];

/// Adds to the ranks, and to their slopes, what items of other classes contribute. Returns what
/// is known of each tile, by its later block, then by its earlier one.
pub(super) fn compare(
    setting: &Setting<'_>,
    arrangement: &Arrangement,
    positives: &mut Positives,
) -> Vec<Vec<Visited>> {
    let (blocks, queries) = (&arrangement.blocks, arrangement.queries());
    let slots: Vec<usize> = queries
        .iter()
        .map(|block| positives.slots_of(block).len())
        .collect();
    let mut ranks = std::mem::take(&mut positives.rank.beyond);
    let mut slopes = std::mem::take(&mut positives.slope.beyond);
    let mut sums: Vec<Sums<'_>> = split(&mut ranks, &slots)
        .into_iter()
        .zip(split(&mut slopes, &slots))
        .map(|(rank, slope)| Sums { rank, slope })
        .collect();
    let pass = Compare {
        setting,
        arrangement,
        positives,
        bounds: queries
            .iter()
            .map(|block| bound(positives, block))
            .collect(),
        keep: products(arrangement) * size_of::<f32>() <= KEPT,
        arch: Arch::new(),
    };
    let outcomes = if arrangement.is_share() {
        steps::run_with_all(&pass, &mut sums, blocks.len())
    } else {
        steps::run(&pass, &mut sums)
    };
    let visits = (1..=blocks.len()).map(|most| Vec::with_capacity(most.min(queries.len())));
    let mut visited: Vec<Vec<Visited>> = visits.collect();
    for (_, right, tile) in outcomes {
        visited[right].push(tile);
    }
    positives.rank.beyond = ranks;
    positives.slope.beyond = slopes;
    visited
}

/// How many products of two rows all tiles hold.
fn products(arrangement: &Arrangement) -> usize {
    let n = arrangement.rows.len();
    if !arrangement.is_share() {
        return n.pow(2) / 2;
    }
    let queries = arrangement.queries().iter();
    queries.map(|block| block.rows.len()).sum::<usize>() * n
}

/// Similarities not above this precede no positive of a block.
fn bound(positives: &Positives, block: &Block) -> f32 {
    let groups = block.items.iter().flat_map(|&p| positives.groups(p));
    groups.map(|group| group.low).fold(f32::INFINITY, f32::min)
}

struct Compare<'a> {
    setting: &'a Setting<'a>,
    arrangement: &'a Arrangement,
    positives: &'a Positives,
    /// The bound of each block of queries.
    bounds: Vec<f32>,
    /// Whether products are kept.
    keep: bool,
    arch: Arch,
}

/// Sums over the slots of a block.
struct Sums<'a> {
    rank: &'a mut [f32],
    slope: &'a mut [f32],
}

struct Task {
    tile: Tile,
    powers: Vec<f32>,
    rank: Vec<f32>,
    slope: Vec<f32>,
}

impl Default for Task {
    fn default() -> Self {
        Self {
            tile: Tile::default(),
            powers: vec![0.0; BLOCK],
            rank: Vec::new(),
            slope: Vec::new(),
        }
    }
}

impl Pass for Compare<'_> {
    type Sums<'s> = Sums<'s>;
    type Task = Task;
    type Outcome = Visited;

    fn counts(&self, _: usize, _: usize) -> bool {
        true
    }

    fn begin(&self, task: &mut Task, left: usize, shared: &Sums<'_>) {
        let left = &self.arrangement.queries()[left];
        task.tile.begin(self.setting, left);
        for sums in [&mut task.rank, &mut task.slope] {
            sums.clear();
            sums.resize(shared.rank.len(), 0.0);
        }
    }

    fn tile(
        &self,
        left: usize,
        right: usize,
        task: &mut Task,
        sums: Option<&mut Sums<'_>>,
    ) -> Visited {
        self.arch.dispatch(CompareTile {
            pass: self,
            left,
            right,
            task,
            sums,
        })
    }

    fn end(&self, task: &Task, shared: &mut Sums<'_>) {
        add(shared.rank, &task.rank);
        add(shared.slope, &task.slope);
    }
}

struct CompareTile<'a, 'b, 's> {
    pass: &'a Compare<'b>,
    left: usize,
    right: usize,
    task: &'a mut Task,
    sums: Option<&'a mut Sums<'s>>,
}

impl WithSimd for CompareTile<'_, '_, '_> {
    type Output = Visited;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Visited {
        let Compare {
            setting,
            arrangement,
            positives,
            bounds,
            keep,
            ..
        } = self.pass;
        let (left, right) = (
            &arrangement.queries()[self.left],
            &arrangement.blocks[self.right],
        );
        let Task {
            tile,
            powers,
            rank,
            slope,
        } = self.task;
        tile.compute(setting, arrangement, left, right, None);
        let mut active = Active {
            left: [0; BLOCK / 64],
            right: [0; BLOCK / 64],
        };
        if tile.greatest > bounds[self.left] {
            let similarities = Rows {
                values: &tile.rows,
                width: right.items.len(),
            };
            let sums = Sums { rank, slope };
            active.left = compare_rows(
                simd,
                setting.kappa,
                positives,
                left,
                similarities,
                powers,
                sums,
            );
        }
        if let Some(Sums { rank, slope }) = self.sums
            && tile.greatest > bounds[self.right]
        {
            tile.flip(left, right);
            let similarities = Rows {
                values: &tile.columns,
                width: left.items.len(),
            };
            let sums = Sums { rank, slope };
            active.right = compare_rows(
                simd,
                setting.kappa,
                positives,
                right,
                similarities,
                powers,
                sums,
            );
        }
        Visited {
            active,
            products: (*keep && active.anything()).then(|| tile.products(left).to_vec()),
        }
    }
}

impl Active {
    /// Whether any row is active.
    pub(super) fn anything(&self) -> bool {
        self.left.iter().chain(&self.right).any(|&word| word != 0)
    }
}

/// Compares the positives of each query of a block with a row of similarities.
#[inline(always)]
fn compare_rows<S: Simd>(
    simd: S,
    kappa: f32,
    positives: &Positives,
    queries: &Block,
    similarities: Rows<'_>,
    powers: &mut [f32],
    sums: Sums<'_>,
) -> Bits {
    let mut bits = [0; BLOCK / 64];
    let first = positives.slots_of(queries).start;
    let (powers, _) = S::as_mut_simd_f32s(powers);
    for (query, &position) in queries.items.iter().enumerate() {
        let (row, _) = S::as_simd_f32s(similarities.row(query));
        let slots = positives.slots(position..position + 1);
        for group in positives.groups(position) {
            let (found, above) = powers_of(simd, kappa, row, group, powers);
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
        let t = factors.map(|factor| simd.mul_f32s(power, factor));
        let after = sigmoids(simd, t);
        for i in 0..N {
            rank[i] = simd.add_f32s(rank[i], after[i]);
            slope[i] = simd.mul_add_e_f32s(simd.mul_f32s(t[i], after[i]), after[i], slope[i]);
        }
    }
    for i in 0..N {
        ranks[i] += above + simd.reduce_sum_f32s(rank[i]);
        slopes[i] += simd.reduce_sum_f32s(slope[i]);
    }
}

const _: () = assert!(BLOCK.is_multiple_of(64));
