//! Visits of all rows, in blocks.

use rayon::prelude::*;
use recall_loss::product::{Matrix, multiply, multiply_together};

use super::few::Few;
use super::row_loss::{Measure, RowLoss, Term};
use super::sides::{Found, Sides};
use super::spare;
use super::square::square;
use super::turn::{Outcome, Turn};

/// Most numbers of a matrix that is kept whole: 128 MB, as many as 5,792 items with each other have.
const KEPT: usize = 1 << 25;
/// Numbers of a block of rows, about: 40 MB. glibc's allocator gives what is larger than 32 MB back to the system when it is
/// freed, and keeps what is smaller.
const BLOCK: usize = 10 << 20;
/// How many of so many rows are a group, which has few derivatives that are not zero, or many. No matter of the number of
/// threads, so that no sum is either.
pub(super) fn group(count: usize) -> usize {
    (count / 8).next_multiple_of(32).clamp(32, 256)
}

/// Groups of a step: enough rows for a product by all threads to be fast, and few enough that they are still in a cache when
/// they are visited.
const STEP: usize = 8;

/// The loss and its gradients.
///
/// Each row is a vector of one query with all references. Up to a size the matrix of all rows is kept; beyond it there
/// is a block of rows at a time, which costs a product for each [look](RowLoss::LOOKS), and a batch compared with
/// itself what its symmetry would save.
pub(crate) fn walk<L: RowLoss>(loss: &L, sides: &Sides<'_>, wanted: bool) -> Found {
    let (rows, columns) = (sides.rows(), sides.columns());
    match rows * columns <= KEPT {
        true if sides.places.same => square(loss, sides, wanted),
        true => in_blocks(loss, sides, wanted, rows),
        false => {
            let size = (BLOCK / columns.max(1)).clamp(16, 2048);
            in_blocks(loss, sides, wanted, size)
        }
    }
}

/// The same by blocks of `size` rows.
pub(super) fn in_blocks<L: RowLoss>(
    loss: &L,
    sides: &Sides<'_>,
    wanted: bool,
    size: usize,
) -> Found {
    let (count, columns, dim) = (sides.rows(), sides.columns(), sides.dim);
    let size = size.clamp(1, count.max(1));
    let group_size = group(size);
    let step = STEP * group_size;
    let turn = Turn::new(loss, sides);
    let mut values = spare::take(size * columns);
    let blocks = || {
        (0..count)
            .step_by(size)
            .map(|start| start..count.min(start + size))
    };
    let mut notes = Vec::with_capacity(if L::LOOKS { count } else { 0 });
    if L::LOOKS {
        for block in blocks() {
            let rows = &mut values[..block.len() * columns];
            for (at, rows) in rows.chunks_mut((step * columns).max(1)).enumerate() {
                let start = block.start + at * step;
                products(sides, start, rows);
                let rows = rows.par_chunks_mut(columns).enumerate();
                notes.par_extend(rows.map(|(at, row)| turn.look(start + at, row)));
            }
        }
    }
    let whole = loss.whole(notes, sides.places);
    // Rows of a single block are still as the look has left them.
    let looked = L::LOOKS && size == count;

    let mut total = Term::default();
    let mut on_queries = vec![0.0; if wanted { count * dim } else { 0 }];
    let pulls = wanted && !sides.places.constant;
    let mut on_references = References::new(sides, L::MEASURE, pulls);
    let mut of_rows = Vec::with_capacity(count);
    for block in blocks() {
        let rows = &mut values[..block.len() * columns];
        let mut outcomes = Vec::with_capacity(block.len());
        for (at, rows) in rows.chunks_mut((step * columns).max(1)).enumerate() {
            let start = block.start + at * step;
            if !looked {
                products(sides, start, rows);
            }
            let each = rows.par_chunks_mut(columns).enumerate();
            let take = |(at, row)| turn.take(&whole, start + at, looked, row);
            let mut of_step: Vec<Outcome> = each.map(take).collect();
            if wanted {
                let target = &mut on_queries[start * dim..(start + of_step.len()) * dim];
                pull(
                    sides,
                    L::MEASURE,
                    start,
                    rows,
                    &mut of_step,
                    group_size,
                    target,
                );
            }
            outcomes.append(&mut of_step);
        }
        total = total.plus(&Outcome::total(&outcomes));
        of_rows.extend(
            outcomes
                .iter()
                .map(|outcome| (outcome.sum, outcome.term.along)),
        );
        if pulls {
            let queries = &sides.queries[block.start * dim..block.end * dim];
            match Outcome::few(&mut outcomes, rows, columns) {
                Some(few) => on_references.add_few(&few, queries),
                None => on_references.add(rows, queries),
            }
        }
    }

    spare::give_back(values);
    let scale = loss.scale(&whole, total.counted);
    let value = total.value * scale;
    if !wanted {
        return Found {
            value,
            gradients: None,
        };
    }
    finish(
        &mut on_queries,
        &sides.queries,
        dim,
        L::MEASURE,
        scale,
        &of_rows,
    );
    let on_references = pulls.then(|| on_references.finished(scale));
    let gradients = match on_references {
        Some(on_references) if sides.places.same => {
            for (sum, x) in on_queries.iter_mut().zip(on_references) {
                *sum += x;
            }
            (sides.queries_in_order(on_queries), None)
        }
        on_references => (
            sides.queries_in_order(on_queries),
            on_references.map(|rows| sides.references_in_order(rows)),
        ),
    };
    Found {
        value,
        gradients: Some(gradients),
    }
}

/// Adds to `target` what pulls on the queries from `start` on, by rows of derivatives. Groups with few of these keep them
/// in the outcomes.
fn pull(
    sides: &Sides<'_>,
    measure: Measure,
    start: usize,
    rows: &[f32],
    outcomes: &mut [Outcome],
    group_size: usize,
    target: &mut [f32],
) {
    let (columns, dim) = (sides.columns(), sides.dim);
    let references = Matrix::of_rows(sides.references(), dim);
    let are_few = |of: &[Outcome]| Outcome::are_few(of, columns);
    if !outcomes.chunks(group_size).any(are_few) {
        multiply_together(
            target,
            dim,
            false,
            Matrix::of_rows(rows, columns),
            references,
        );
        return;
    }
    let groups = outcomes
        .par_chunks_mut(group_size)
        .zip(rows.par_chunks((group_size * columns).max(1)))
        .zip(target.par_chunks_mut((group_size * dim).max(1)));
    groups
        .enumerate()
        .for_each(|(group, ((outcomes, rows), target))| {
            match Outcome::few(outcomes, rows, columns) {
                Some(few) => {
                    let start = start + group * group_size;
                    let own = &sides.queries[start * dim..(start + few.0.len()) * dim];
                    few.pull(measure, own, sides.references(), target);
                    for (outcome, chosen) in outcomes.iter_mut().zip(few.0) {
                        outcome.chosen = Some(chosen);
                    }
                }
                None => multiply(
                    target,
                    dim,
                    false,
                    Matrix::of_rows(rows, columns),
                    references,
                ),
            }
        });
}

/// The products of the queries from `start` on with all references.
fn products(sides: &Sides<'_>, start: usize, rows: &mut [f32]) {
    let (columns, dim) = (sides.columns(), sides.dim);
    let end = start + rows.len().checked_div(columns).unwrap_or(0);
    let queries = Matrix::of_rows(&sides.queries[start * dim..end * dim], dim);
    let references = Matrix::of_rows(sides.references(), dim).transposed();
    multiply_together(rows, columns, false, queries, references);
}

/// From what pulls on vectors to their gradients: of `Σ g s` with similarities `s` the pull is all there is, of
/// distances `|x − y|²` it is `2 (x Σ g − pull)`. For each vector `of_rows` has `Σ g` and what is
/// [along](Term::along) it.
pub(crate) fn finish(
    pulls: &mut [f32],
    vectors: &[f32],
    dim: usize,
    measure: Measure,
    scale: f64,
    of_rows: &[(f32, f32)],
) {
    let (scale, half) = match measure {
        Measure::Similarity => (scale as f32, 1.0),
        Measure::SquaredDistance => (-2.0 * scale as f32, -0.5),
    };
    let rows = pulls
        .par_chunks_mut(dim.max(1))
        .zip(vectors.par_chunks(dim.max(1)));
    rows.zip(of_rows)
        .for_each(|((pull, vector), &(sum, along))| {
            let along = half * along - sum;
            for (pull, &x) in pull.iter_mut().zip(vector) {
                *pull = scale * (*pull + along * x);
            }
        });
}

/// What pulls on the references.
struct References<'a> {
    sides: &'a Sides<'a>,
    pulls: Vec<f32>,
    /// Of distances, the sums of their derivatives.
    sums: Vec<(f32, f32)>,
    measure: Measure,
}

impl<'a> References<'a> {
    fn new(sides: &'a Sides<'a>, measure: Measure, wanted: bool) -> Self {
        let count = if wanted { sides.columns() } else { 0 };
        Self {
            sides,
            pulls: vec![0.0; count * sides.dim],
            sums: vec![(0.0, 0.0); count],
            measure,
        }
    }

    /// Adds what rows of derivatives of some queries come to.
    fn add(&mut self, rows: &[f32], queries: &[f32]) {
        let (columns, dim) = (self.sides.columns(), self.sides.dim);
        let count = rows.len().checked_div(columns).unwrap_or(0);
        let slopes = Matrix::new(rows, count, columns, columns).transposed();
        multiply_together(
            &mut self.pulls,
            dim,
            true,
            slopes,
            Matrix::of_rows(queries, dim),
        );
        if self.measure == Measure::SquaredDistance {
            let group_size = group(columns);
            let groups = self.sums.par_chunks_mut(group_size).enumerate();
            groups.for_each(|(group, sums)| {
                for row in rows.chunks(columns) {
                    for ((sum, _), &x) in sums.iter_mut().zip(&row[group * group_size..]) {
                        *sum += x;
                    }
                }
            });
        }
    }

    fn add_few(&mut self, few: &Few, queries: &[f32]) {
        let few = few.transposed(self.sides.columns());
        let own = self.sides.references();
        few.pull(self.measure, own, queries, &mut self.pulls);
    }

    fn finished(mut self, scale: f64) -> Vec<f32> {
        let vectors = self.sides.references();
        let dim = self.sides.dim;
        finish(
            &mut self.pulls,
            vectors,
            dim,
            self.measure,
            scale,
            &self.sums,
        );
        self.pulls
    }
}
