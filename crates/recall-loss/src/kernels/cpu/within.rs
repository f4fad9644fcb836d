//! Comparisons within the classes: a query's positives with each other and, if it is in its own list,
//! the query.
//!
//! They are few, and where classes are well separated they are all there is. So they are computed
//! from exact differences, one exponential a comparison, and no positive is compared with itself:
//! subtracting that ½ afterwards would leave its rounding behind.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::{
    arrangement::{Arrangement, Class, Mixture},
    positives::{Group, Positives, group},
    setting::{EXCLUDED, Setting},
    side::Side,
    sigmoid::{exp2, sigmoid},
    steps::split,
};
use crate::kernels::product::{Matrix, multiply};
use crate::objective::Itself;

/// Vectors are at most this long in any instruction set.
const MOST_LANES: usize = 16;

/// Fills in the slots of every query, with what its own class adds to the ranks.
pub(super) fn compare(setting: &Setting<'_>, arrangement: &Arrangement) -> Positives {
    let mut positives = Positives::new(arrangement, setting.objective);
    let slots: Vec<usize> = arrangement
        .classes
        .iter()
        .map(|class| positives.slots(class.items.clone()).len())
        .collect();
    let members = split(&mut positives.member, &slots);
    let factors = split(&mut positives.factor, &slots);
    let ranks = split(&mut positives.rank.within, &slots);
    let slopes = split(&mut positives.slope.within, &slots);

    let arch = Arch::new();
    let groups: Vec<Vec<Vec<Group>>> = arrangement
        .classes
        .par_iter()
        .zip(members)
        .zip(factors.into_par_iter().zip(ranks).zip(slopes))
        .map(|((class, member), ((factor, rank), slope))| {
            arch.dispatch(Compare {
                setting,
                arrangement,
                class,
                member,
                factor,
                rank,
                slope,
            })
        })
        .collect();
    for groups in groups.into_iter().flatten() {
        positives.push_groups(groups);
    }
    positives
}

/// Sets the gradient, `[rows, dim]`, to what similarities within the classes contribute.
pub(super) fn gradient(
    setting: &Setting<'_>,
    arrangement: &Arrangement,
    positives: &Positives,
    gradient: &mut [f32],
) {
    let values: Vec<usize> = arrangement
        .classes
        .iter()
        .map(|class| class.rows.len() * setting.dim)
        .collect();
    let arch = Arch::new();
    arrangement
        .classes
        .par_iter()
        .zip(split(gradient, &values))
        .for_each(|(class, gradient)| {
            arch.dispatch(Gradient {
                setting,
                arrangement,
                class,
                positives,
                gradient,
            });
        });
}

struct Compare<'a> {
    setting: &'a Setting<'a>,
    arrangement: &'a Arrangement,
    class: &'a Class,
    member: &'a mut [u32],
    factor: &'a mut [f32],
    rank: &'a mut [f32],
    slope: &'a mut [f32],
}

impl WithSimd for Compare<'_> {
    type Output = Vec<Vec<Group>>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Self::Output {
        if !self.arrangement.asks(self.class) {
            return vec![Vec::new(); self.class.items.len()];
        }
        let mut rows = ClassRows::new(self.setting, self.arrangement, self.class);
        let items = self.class.items.len();
        let objective = self.setting.objective;
        let itself = objective.itself() == Itself::Positive;
        let count = objective.positives_in(items);
        let mut sorted = vec![0.0; count];
        let mut groups = Vec::with_capacity(items);
        let mut filled = 0;
        for (query, position) in self.class.items.clone().enumerate() {
            if !self.arrangement.asked[position] {
                groups.push(Vec::new());
                continue;
            }
            let slots = filled..filled + count;
            filled = slots.end;
            let member = &mut self.member[slots.clone()];
            let positives = (0..items).filter(|&other| itself || other != query);
            for (member, positive) in member.iter_mut().zip(positives) {
                *member = positive as u32;
            }
            let row = rows.row(query, true);
            member.sort_by(|&a, &b| row[a as usize].total_cmp(&row[b as usize]));
            for (similarity, &x) in sorted.iter_mut().zip(&*member) {
                *similarity = row[x as usize];
            }
            let factor = &mut self.factor[slots.clone()];
            groups.push(group(&sorted, self.setting.kappa, factor));

            let row = rows.row(query, self.setting.query_listed());
            for (slot, &x) in slots.zip(&*member) {
                let own = std::mem::replace(&mut row[x as usize], EXCLUDED);
                let (rank, slope) = preceding(simd, row, own, self.setting.kappa);
                row[x as usize] = own;
                self.rank[slot] = 1.0 + rank;
                self.slope[slot] = slope;
            }
        }
        groups
    }
}

/// `Σ_z σ` and `Σ_z σ'` of all similarities of a row against one of them.
#[inline(always)]
fn preceding<S: Simd>(simd: S, row: &[f32], own: f32, kappa: f32) -> (f32, f32) {
    let (row, _) = S::as_simd_f32s(row);
    let (own, kappa) = (simd.splat_f32s(own), simd.splat_f32s(kappa));
    let (mut rank, mut slope) = (simd.splat_f32s(0.0), simd.splat_f32s(0.0));
    for &similarity in row {
        let t = exp2(simd, simd.mul_f32s(simd.sub_f32s(own, similarity), kappa));
        let after = sigmoid(simd, t);
        rank = simd.add_f32s(rank, after);
        slope = simd.mul_add_e_f32s(simd.mul_f32s(t, after), after, slope);
    }
    (simd.reduce_sum_f32s(rank), simd.reduce_sum_f32s(slope))
}

struct Gradient<'a> {
    setting: &'a Setting<'a>,
    arrangement: &'a Arrangement,
    class: &'a Class,
    positives: &'a Positives,
    gradient: &'a mut [f32],
}

impl WithSimd for Gradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if !self.arrangement.asks(self.class) {
            return;
        }
        let mut rows = ClassRows::new(self.setting, self.arrangement, self.class);
        let real = self.class.rows.len();
        // d loss / d similarity of the class's rows: first of queries with items, then both ways.
        let mut pull = vec![0.0; real * real];
        let mut slopes = vec![0.0; rows.padded];
        for (query, position) in self.class.items.clone().enumerate() {
            let slots = self.positives.slots(position..position + 1);
            let Positives { weight, slope, .. } = self.positives;
            let (within, beyond) = (&weight.within[slots.clone()], &weight.beyond[slots.clone()]);
            if within.iter().chain(beyond).all(|&weight| weight == 0.0) {
                continue;
            }
            let row = rows.row(query, self.setting.query_listed());
            slopes.fill(0.0);
            for slot in slots {
                let x = self.positives.member[slot] as usize;
                let (weight, weight_beyond) = (weight.within[slot], weight.beyond[slot]);
                let own = std::mem::replace(&mut row[x], EXCLUDED);
                add_slopes(simd, row, own, self.setting.kappa, weight, &mut slopes);
                row[x] = own;
                slopes[x] -= weight * slope.within[slot] + weight_beyond * slope.beyond[slot];
            }
            rows.collapse(query, &slopes, &mut pull);
        }
        for i in 0..real {
            for j in 0..i {
                let sum = pull[i * real + j] + pull[j * real + i];
                pull[i * real + j] = sum;
                pull[j * real + i] = sum;
            }
            pull[i * real + i] *= 2.0;
        }
        multiply(
            self.gradient,
            self.setting.dim,
            false,
            Matrix::new(&pull, real, real, real),
            rows.side.matrix(self.setting, &rows.rows),
        );
    }
}

/// Adds `weight · σ'` of all similarities of a row against one of them.
#[inline(always)]
fn add_slopes<S: Simd>(
    simd: S,
    row: &[f32],
    own: f32,
    kappa: f32,
    weight: f32,
    slopes: &mut [f32],
) {
    let (row, _) = S::as_simd_f32s(row);
    let (slopes, _) = S::as_mut_simd_f32s(slopes);
    let (own, kappa) = (simd.splat_f32s(own), simd.splat_f32s(kappa));
    let weight = simd.splat_f32s(weight);
    for (slope, &similarity) in slopes.iter_mut().zip(row) {
        let t = exp2(simd, simd.mul_f32s(simd.sub_f32s(own, similarity), kappa));
        let after = sigmoid(simd, t);
        let weighted = simd.mul_f32s(after, weight);
        *slope = simd.mul_add_e_f32s(simd.mul_f32s(t, after), weighted, *slope);
    }
}

/// The similarities of each query of a class to all items of the class.
struct ClassRows {
    rows: Vec<usize>,
    side: Side,
    mixtures: Vec<Mixture>,
    real: Vec<f32>,
    count: usize,
    mixed: bool,
    mixed_row: Vec<f32>,
    row: Vec<f32>,
    padded: usize,
}

impl ClassRows {
    fn new(setting: &Setting<'_>, arrangement: &Arrangement, class: &Class) -> Self {
        let count = class.rows.len();
        let rows: Vec<usize> = class.rows.clone().collect();
        let mut side = Side::default();
        side.take(setting, &rows);
        let matrix = side.matrix(setting, &rows);
        let mut real = vec![0.0; count * count];
        multiply(&mut real, count, false, matrix, matrix.transposed());
        let padded = class.items.len().next_multiple_of(MOST_LANES);
        Self {
            rows,
            side,
            mixtures: arrangement.mixtures_of(class).collect(),
            real,
            count,
            mixed: class.items.len() > count,
            mixed_row: vec![0.0; count],
            row: vec![EXCLUDED; padded],
            padded,
        }
    }

    /// The similarities of one query, padded; its own is there if asked for.
    fn row(&mut self, query: usize, own: bool) -> &mut [f32] {
        let real = |row: usize| &self.real[row * self.count..(row + 1) * self.count];
        if self.mixed {
            let Mixture {
                first,
                second,
                alpha,
            } = self.mixtures[query];
            for ((mixed, a), b) in self.mixed_row.iter_mut().zip(real(first)).zip(real(second)) {
                *mixed = alpha * a + (1.0 - alpha) * b;
            }
            for (value, mixture) in self.row.iter_mut().zip(&self.mixtures) {
                *value = mixture.alpha * self.mixed_row[mixture.first]
                    + (1.0 - mixture.alpha) * self.mixed_row[mixture.second];
            }
        } else {
            self.row[..self.count].copy_from_slice(real(query));
        }
        if !own {
            self.row[query] = EXCLUDED;
        }
        &mut self.row
    }

    /// Adds a query's slopes to those of the rows that it and the items are made of.
    fn collapse(&mut self, query: usize, slopes: &[f32], pull: &mut [f32]) {
        let count = self.count;
        if !self.mixed {
            pull[query * count..(query + 1) * count].copy_from_slice(&slopes[..count]);
            return;
        }
        self.mixed_row.fill(0.0);
        for (slope, mixture) in slopes.iter().zip(&self.mixtures) {
            self.mixed_row[mixture.first] += mixture.alpha * slope;
            self.mixed_row[mixture.second] += (1.0 - mixture.alpha) * slope;
        }
        let Mixture {
            first,
            second,
            alpha,
        } = self.mixtures[query];
        for (row, share) in [(first, alpha), (second, 1.0 - alpha)] {
            for (target, slope) in pull[row * count..].iter_mut().zip(&self.mixed_row) {
                *target += share * slope;
            }
        }
    }
}
