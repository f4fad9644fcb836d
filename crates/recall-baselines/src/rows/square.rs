//! A batch compared with itself, whose matrix is kept whole.

use rayon::prelude::*;
use recall_loss::product::{Matrix, multiply};

use super::arithmetic::lanes;
use super::row_loss::{Measure, RowLoss};
use super::sides::{Found, Sides};
use super::spare;
use super::turn::{Outcome, Turn};
use super::walk::{finish, group};

/// Rows that are mirrored at once.
const GROUP: usize = 32;
/// Columns that are mirrored at once: as many as stay in a processor's nearest cache with so many rows.
const TILE: usize = 64;

/// The loss and its gradient.
///
/// Products are computed on and above the diagonal, which costs little more than half of a product, and
/// mirrored when a row is visited. Derivatives with respect to an item as query and as reference are those of a row
/// and of a column, whose sum is one more product.
pub(super) fn square<L: RowLoss>(loss: &L, sides: &Sides<'_>, wanted: bool) -> Found {
    let count = sides.rows();
    let turn = Turn::new(loss, sides);
    let mut values = Upper::products(sides);
    let notes = match L::LOOKS {
        true => values.visit(true, |index, row| turn.look(index, row)),
        false => Vec::new(),
    };
    let whole = loss.whole(notes, sides.places);
    let take = |index: usize, row: &mut [f32]| turn.take(&whole, index, L::LOOKS, row);
    let mut outcomes = values.visit(!L::LOOKS, take);
    let total = Outcome::total(&outcomes);
    let scale = loss.scale(&whole, total.counted);
    let value = total.value * scale;
    if !wanted {
        return Found {
            value,
            gradients: None,
        };
    }
    let mut pulls = vec![0.0; count * sides.dim];
    let sums = match Outcome::few(&mut outcomes, &values.values, count) {
        Some(few) => {
            few.pull_both(L::MEASURE, &sides.queries, &mut pulls);
            vec![0.0; count]
        }
        None => values.pull(&sides.queries, &mut pulls),
    };
    let along = outcomes.iter().map(|outcome| outcome.term.along);
    let of_rows: Vec<(f32, f32)> = match L::MEASURE {
        Measure::Similarity => along.map(|along| (0.0, along)).collect(),
        Measure::SquaredDistance => sums.into_iter().zip(along).collect(),
    };
    finish(
        &mut pulls,
        &sides.queries,
        sides.dim,
        L::MEASURE,
        scale,
        &of_rows,
    );
    Found {
        value,
        gradients: Some((sides.queries_in_order(pulls), None)),
    }
}

impl Drop for Upper {
    fn drop(&mut self) {
        spare::give_back(std::mem::take(&mut self.values));
    }
}

/// A square matrix of which at first only what is right of a staircase along the diagonal is known.
struct Upper {
    values: Vec<f32>,
    size: usize,
    /// Rows of a step of the staircase.
    step: usize,
}

impl Upper {
    /// The products of all queries with each other.
    fn products(sides: &Sides<'_>) -> Self {
        let (size, dim) = (sides.rows(), sides.dim);
        // Enough steps to share out, and products that are large enough.
        let step = (size / 8).next_multiple_of(64).clamp(64, 512);
        let mut values = spare::take(size * size);
        let steps = values.par_chunks_mut((step * size).max(1)).enumerate();
        steps.for_each(|(index, rows)| {
            let start = index * step;
            let count = rows.len() / size;
            let queries = Matrix::of_rows(&sides.queries[start * dim..], dim);
            let own = Matrix::of_rows(&sides.queries[start * dim..(start + count) * dim], dim);
            multiply(&mut rows[start..], size, false, own, queries.transposed());
        });
        Self { values, size, step }
    }

    /// Visits all rows, the last ones first: what is left of the staircase comes from rows above, which are not
    /// visited yet. `mirrored` says whether it is still to come.
    fn visit<T: Send>(
        &mut self,
        mirrored: bool,
        of: impl Fn(usize, &mut [f32]) -> T + Sync,
    ) -> Vec<T> {
        let size = self.size;
        let mut found: Vec<Vec<Vec<T>>> = Vec::new();
        for start in (0..size).step_by(self.step).rev() {
            let (above, below) = self.values.split_at_mut(start * size);
            let end = size.min(start + self.step);
            let groups = below[..(end - start) * size].par_chunks_mut(GROUP * size);
            let of_group = |(group, rows): (usize, &mut [f32])| {
                let first = start + group * GROUP;
                if mirrored {
                    mirror(above, size, first, rows);
                }
                let rows = rows.chunks_mut(size).enumerate();
                rows.map(|(at, row)| of(first + at, row)).collect()
            };
            found.push(groups.enumerate().map(of_group).collect());
        }
        found.into_iter().rev().flatten().flatten().collect()
    }

    /// Adds to `target` `[n, dim]` the product of the sum of the matrix and its transpose with vectors `[n, dim]`; returns
    /// the sums of that matrix's rows.
    fn pull(&self, vectors: &[f32], target: &mut [f32]) -> Vec<f32> {
        let size = self.size;
        let dim = target.len() / size;
        let group_size = group(size);
        let targets = target.par_chunks_mut((group_size * dim).max(1)).enumerate();
        let sums: Vec<Vec<f32>> = targets
            .map_init(Vec::new, |both, (group, target)| {
                let first = group * group_size;
                let count = target.len() / dim;
                both.clear();
                both.extend_from_slice(&self.values[first * size..(first + count) * size]);
                for (at, rows) in both.chunks_mut(GROUP * size).enumerate() {
                    self.add_columns(first + at * GROUP, rows);
                }
                multiply(
                    target,
                    dim,
                    true,
                    Matrix::of_rows(both, size),
                    Matrix::of_rows(vectors, dim),
                );
                both.chunks(size)
                    .map(|row| lanes(row, |x| x) as f32)
                    .collect()
            })
            .collect();
        sums.concat()
    }

    /// Adds to rows the columns from `first` on.
    fn add_columns(&self, first: usize, rows: &mut [f32]) {
        let size = self.size;
        let count = rows.len() / size;
        for left in (0..size).step_by(TILE) {
            for column in left..size.min(left + TILE) {
                let from = &self.values[column * size + first..][..count];
                for (at, &x) in from.iter().enumerate() {
                    rows[at * size + column] += x;
                }
            }
        }
    }
}

/// Fills the beginning of rows from `first` on with columns of those above.
fn mirror(above: &[f32], size: usize, first: usize, rows: &mut [f32]) {
    let (known, count) = (above.len() / size, rows.len() / size);
    for left in (0..known).step_by(TILE) {
        for column in left..known.min(left + TILE) {
            let from = &above[column * size + first..][..count];
            for (at, &x) in from.iter().enumerate() {
                rows[at * size + column] = x;
            }
        }
    }
}
