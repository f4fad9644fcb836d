//! The gradient of what items of other classes add to the ranks.

use pulp::{Arch, Simd, WithSimd};

use super::{
    arrangement::{Arrangement, BLOCK, Block, Mixture},
    places::Places,
    positives::{Group, Positives},
    ranks::{Active, Bits, Visited},
    setting::Setting,
    sigmoid::{any, exp2, sigmoids},
    steps::{self, Pass, Steps, add, split},
    tile::{Rows, Tile, transpose},
};
use crate::kernels::product::{Matrix, multiply};

/// Up to one similarity in so many, their pulls are added one by one instead of in a matrix product.
const SPARSE: usize = 24;

/// Adds to the gradient, `[rows, dim]`, what similarities to other classes contribute. Tiles where
/// nothing was active, or nothing of weight, are not computed again.
pub(super) fn gradient(
    setting: &Setting<'_>,
    arrangement: &Arrangement,
    positives: &Positives,
    visited: &[Vec<Visited>],
    gradient: &mut [f32],
) {
    let blocks = &arrangement.blocks;
    let dim = setting.dim;
    let weighty: Vec<Bits> = arrangement
        .queries()
        .iter()
        .map(|block| weighty(positives, block))
        .collect();
    let values: Vec<usize> = blocks.iter().map(|block| block.rows.len() * dim).collect();
    let pass = Slopes {
        setting,
        arrangement,
        positives,
        visited,
        weighty,
        arch: Arch::new(),
    };
    if arrangement.is_share() {
        add_share(&pass, gradient);
        return;
    }
    if blocks.iter().all(|block| block.mixtures.is_none()) {
        // The blocks' rows are those of the batch, side by side.
        steps::run(&pass, &mut split(gradient, &values));
        return;
    }
    // Neighbouring blocks may share rows of a class that lies in both: each sums for itself first.
    let mut apart = vec![0.0; values.iter().sum()];
    steps::run(&pass, &mut split(&mut apart, &values));
    for (block, sums) in blocks.iter().zip(split(&mut apart, &values)) {
        add(&mut gradient[block.span_of_rows().start * dim..], sums);
    }
}

/// Adds what the queries of a share contribute.
fn add_share(pass: &Slopes<'_>, gradient: &mut [f32]) {
    let (arrangement, dim) = (pass.arrangement, pass.setting.dim);
    let mut places = Places::new(&arrangement.blocks, dim);
    let mut steps = Steps::new(pass);
    let mut shared = Vec::new();
    for (left, queries) in arrangement.queries().iter().enumerate() {
        shared.clear();
        shared.resize(queries.rows.len() * dim, 0.0);
        let mut sums = places.sums(gradient);
        let others = sums.iter_mut().map(Some).enumerate();
        steps.step(left, &mut shared.as_mut_slice(), others);
        for (sum, &row) in shared.chunks_exact(dim.max(1)).zip(&queries.rows) {
            add(&mut gradient[row * dim..], sum);
        }
    }
    places.finish(gradient);
}

struct Slopes<'a> {
    setting: &'a Setting<'a>,
    arrangement: &'a Arrangement,
    positives: &'a Positives,
    /// By the later block of a tile, then by the earlier one.
    visited: &'a [Vec<Visited>],
    weighty: Vec<Bits>,
    arch: Arch,
}

impl Slopes<'_> {
    /// The queries of a tile for which anything differs from zero.
    fn active(&self, left: usize, right: usize) -> Active {
        let Active { left: a, right: b } = self.visited[right][left].active;
        Active {
            left: both(&a, &self.weighty[left]),
            // On this side a share has items alone, and none of them is active.
            right: match self.arrangement.is_share() {
                true => b,
                false => both(&b, &self.weighty[right]),
            },
        }
    }
}

impl Pass for Slopes<'_> {
    type Sums<'s> = &'s mut [f32];
    type Task = Task;
    type Outcome = ();

    fn counts(&self, left: usize, right: usize) -> bool {
        self.active(left, right).anything()
    }

    fn begin(&self, task: &mut Task, left: usize, shared: &&mut [f32]) {
        let left = &self.arrangement.queries()[left];
        task.tile.begin(self.setting, left);
        task.gradient.clear();
        task.gradient.resize(shared.len(), 0.0);
    }

    fn tile(&self, left: usize, right: usize, task: &mut Task, sums: Option<&mut &mut [f32]>) {
        self.arch.dispatch(SlopeTile {
            pass: self,
            left,
            right,
            task,
            sums: sums.map(|sums| &mut **sums),
        });
    }

    fn end(&self, task: &Task, shared: &mut &mut [f32]) {
        add(shared, &task.gradient);
    }
}

fn both(a: &Bits, b: &Bits) -> Bits {
    std::array::from_fn(|word| a[word] & b[word])
}

/// The queries of a block with a positive whose rank matters to the loss.
fn weighty(positives: &Positives, block: &Block) -> Bits {
    let mut bits = [0; BLOCK / 64];
    for (query, &position) in block.items.iter().enumerate() {
        let weights = &positives.weight.beyond[positives.slots(position..position + 1)];
        if weights.iter().any(|&weight| weight != 0.0) {
            bits[query / 64] |= 1 << (query % 64);
        }
    }
    bits
}

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

impl Default for Task {
    fn default() -> Self {
        Self {
            tile: Tile::default(),
            slopes: vec![0.0; BLOCK * BLOCK],
            flipped: vec![0.0; BLOCK * BLOCK],
            half: Vec::new(),
            real: Vec::new(),
            gradient: Vec::new(),
        }
    }
}

struct SlopeTile<'a, 'b> {
    pass: &'a Slopes<'b>,
    left: usize,
    right: usize,
    task: &'a mut Task,
    sums: Option<&'a mut [f32]>,
}

impl WithSimd for SlopeTile<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Slopes {
            setting,
            arrangement,
            positives,
            ..
        } = self.pass;
        let active = self.pass.active(self.left, self.right);
        let (left, right) = (
            &arrangement.queries()[self.left],
            &arrangement.blocks[self.right],
        );
        let Task {
            tile,
            slopes,
            flipped,
            half,
            real,
            gradient,
        } = self.task;
        let kept = self.pass.visited[self.right][self.left].products.as_deref();
        tile.compute(setting, arrangement, left, right, kept);
        let similarities = Rows {
            values: &tile.rows,
            width: right.items.len(),
        };
        slopes.fill(0.0);
        let mut count = slope_rows(
            simd,
            setting.kappa,
            positives,
            left,
            &active.left,
            similarities,
            slopes,
        );
        if active.right.iter().any(|&word| word != 0) {
            tile.flip(left, right);
            let similarities = Rows {
                values: &tile.columns,
                width: left.items.len(),
            };
            flipped.fill(0.0);
            count += slope_rows(
                simd,
                setting.kappa,
                positives,
                right,
                &active.right,
                similarities,
                flipped,
            );
            // The tile has been read: its memory takes the transpose.
            transpose(flipped, &mut tile.rows, right.items.len(), left.items.len());
            add(slopes, &tile.rows);
        }

        let columns = right.rows.len();
        let (left_rows, right_rows) = tile.sides(setting, left, right);
        let pull = Pull {
            rows: left.rows.len(),
            columns,
            dim: setting.dim,
            left: left_rows,
            right: right_rows,
        };
        if let (Some(left_mixtures), Some(right_mixtures)) = (&left.mixtures, &right.mixtures) {
            half.clear();
            half.resize(left.rows.len() * BLOCK, 0.0);
            unmix_rows(slopes, left_mixtures, half);
            real.clear();
            real.resize(left.rows.len() * columns, 0.0);
            unmix_columns(half, right_mixtures, real, columns);
            let slopes = Matrix::new(real, left.rows.len(), columns, columns);
            pull.all(slopes, gradient, self.sums);
        } else if count * SPARSE <= left.items.len() * columns {
            pull.each(slopes, gradient, self.sums);
        } else {
            let slopes = Matrix::new(slopes, left.rows.len(), columns, BLOCK);
            pull.all(slopes, gradient, self.sums);
        }
    }
}

/// Carries slopes `[items, BLOCK]` back to what the items are mixed of, `[rows, BLOCK]`.
#[inline(always)]
fn unmix_rows(slopes: &[f32], mixtures: &[Mixture], rows: &mut [f32]) {
    for (slopes, mixture) in slopes.chunks_exact(BLOCK).zip(mixtures) {
        let shares = [
            (mixture.first, mixture.alpha),
            (mixture.second, 1.0 - mixture.alpha),
        ];
        for (row, share) in shares {
            add_scaled(&mut rows[row * BLOCK..][..BLOCK], slopes, share);
        }
    }
}

/// The same for the columns: `[rows, BLOCK]` to `[rows, count]`.
#[inline(always)]
fn unmix_columns(slopes: &[f32], mixtures: &[Mixture], rows: &mut [f32], count: usize) {
    for (slopes, row) in slopes.chunks_exact(BLOCK).zip(rows.chunks_exact_mut(count)) {
        for (slope, mixture) in slopes.iter().zip(mixtures) {
            row[mixture.first] += mixture.alpha * slope;
            row[mixture.second] += (1.0 - mixture.alpha) * slope;
        }
    }
}

/// Similarities pull on both of their ends, `s = e_a · e_b`: the embeddings, `[rows, dim]`, of the rows on both
/// sides of a tile.
struct Pull<'a> {
    rows: usize,
    columns: usize,
    dim: usize,
    left: &'a [f32],
    right: &'a [f32],
}

impl Pull<'_> {
    /// Adds `slopes · right` to the gradient of the left block and `slopesᵀ · left` to that of the right
    /// one, which may be the same.
    #[inline(always)]
    fn all(&self, slopes: Matrix<'_>, gradient: &mut [f32], sums: Option<&mut [f32]>) {
        let dim = self.dim;
        let left = Matrix::new(self.left, self.rows, dim, dim);
        let right = Matrix::new(self.right, self.columns, dim, dim);
        multiply(gradient, dim, true, slopes, right);
        let other = sums.unwrap_or(gradient);
        multiply(other, dim, true, slopes.transposed(), left);
    }

    /// The same, one similarity at a time, for slopes `[BLOCK, BLOCK]` that are mostly zero.
    #[inline(always)]
    fn each(&self, slopes: &[f32], gradient: &mut [f32], mut sums: Option<&mut [f32]>) {
        let dim = self.dim;
        for (row, slopes) in slopes.chunks_exact(BLOCK).take(self.rows).enumerate() {
            let a = row * dim..(row + 1) * dim;
            for (column, &slope) in slopes.iter().take(self.columns).enumerate() {
                if slope != 0.0 {
                    let b = column * dim..(column + 1) * dim;
                    add_scaled(&mut gradient[a.clone()], &self.right[b.clone()], slope);
                    let other = match &mut sums {
                        Some(sums) => &mut sums[b],
                        None => &mut gradient[b],
                    };
                    add_scaled(other, &self.left[a.clone()], slope);
                }
            }
        }
    }
}

#[inline(always)]
fn add_scaled(target: &mut [f32], values: &[f32], scale: f32) {
    for (target, value) in target.iter_mut().zip(values) {
        *target += scale * value;
    }
}

/// The derivative of the loss with respect to the similarities of a block's active queries, added to
/// `slopes`; returns how many similarities may have one.
#[inline(always)]
fn slope_rows<S: Simd>(
    simd: S,
    kappa: f32,
    positives: &Positives,
    queries: &Block,
    active: &Bits,
    similarities: Rows<'_>,
    slopes: &mut [f32],
) -> usize {
    let mut count = 0;
    for (query, &position) in queries.items.iter().enumerate() {
        if active[query / 64] & (1 << (query % 64)) == 0 {
            continue;
        }
        let (row, _) = S::as_simd_f32s(similarities.row(query));
        let (target, _) = S::as_mut_simd_f32s(&mut slopes[query * BLOCK..][..BLOCK]);
        let slots = positives.slots(position..position + 1);
        for group in positives.groups(position) {
            let slots =
                slots.start + group.slots.start as usize..slots.start + group.slots.end as usize;
            let factors = &positives.factor[slots.clone()];
            let weights = &positives.weight.beyond[slots];
            // What ranks far behind every k comes first, and without a weight.
            let Some(start) = weights.iter().position(|&weight| weight != 0.0) else {
                continue;
            };
            let (factors, weights) = (&factors[start..], &weights[start..]);
            count += slope_group(simd, kappa, row, group, factors, weights, target);
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
        let (factor_pairs, factor) = factors.as_chunks::<2>();
        let (weight_pairs, weight) = weights.as_chunks::<2>();
        for (factors, weights) in factor_pairs.iter().zip(weight_pairs) {
            *slope = weighted_slopes(simd, power, factors, weights, *slope);
        }
        if let (Some(factor), Some(weight)) = (factor.first_chunk::<1>(), weight.first_chunk()) {
            *slope = weighted_slopes(simd, power, factor, weight, *slope);
        }
    }
    count
}

/// Adds the slopes with respect to some similarities of the comparisons with a few positives.
#[inline(always)]
fn weighted_slopes<S: Simd, const N: usize>(
    simd: S,
    power: S::f32s,
    factors: &[f32; N],
    weights: &[f32; N],
    mut sum: S::f32s,
) -> S::f32s {
    let t = factors.map(|factor| simd.mul_f32s(power, simd.splat_f32s(factor)));
    let after = sigmoids(simd, t);
    for i in 0..N {
        let weighted = simd.mul_f32s(after[i], simd.splat_f32s(weights[i]));
        sum = simd.mul_add_e_f32s(simd.mul_f32s(t[i], after[i]), weighted, sum);
    }
    sum
}
