//! Derivatives of which most are zero.

use rayon::prelude::*;

use super::row_loss::{Chosen, Measure};

/// The derivatives of a loss that has chosen few comparisons: columns and values of each row.
pub(crate) struct Few(pub Vec<Chosen>);

impl Few {
    /// From one in this many on, a product of the whole matrix costs less.
    const SHARE: usize = 64;

    /// Whether so many of all derivatives are few.
    pub fn are(count: usize, all: usize) -> bool {
        count * Self::SHARE <= all
    }

    /// Those of a row that are not zero.
    pub fn of_row(row: &[f32]) -> Chosen {
        let mut found = Vec::new();
        // Most parts have none, which is seen at once.
        for (part, values) in row.chunks(64).enumerate() {
            if count(values) > 0 {
                let of_part = values.iter().enumerate().filter(|&(_, &x)| x != 0.0);
                found.extend(of_part.map(|(at, &x)| (part * 64 + at, x)));
            }
        }
        found
    }

    /// Columns become rows.
    pub fn transposed(&self, columns: usize) -> Self {
        let mut found = vec![Vec::new(); columns];
        for (row, values) in self.0.iter().enumerate() {
            for &(column, value) in values {
                found[column].push((row, value));
            }
        }
        Self(found)
    }

    /// Adds to `target` `[n, dim]` what pulls on the vectors of the rows: `Σ g y` of derivatives `g` and the vectors `y`
    /// `[m, dim]` of their columns. Of distances it is `Σ g (y − x)`, with the vectors `x` `[n, dim]` of the rows.
    pub fn pull(&self, measure: Measure, own: &[f32], vectors: &[f32], target: &mut [f32]) {
        let Some(dim) = target
            .len()
            .checked_div(self.0.len())
            .filter(|&dim| dim > 0)
        else {
            return;
        };
        let rows = target.par_chunks_mut(dim).zip(own.par_chunks(dim));
        rows.zip(&self.0).for_each(|((row, own), values)| {
            for &(column, value) in values {
                let vector = &vectors[column * dim..(column + 1) * dim];
                let numbers = row.iter_mut().zip(vector.iter().zip(own));
                match measure {
                    Measure::Similarity => numbers.for_each(|(sum, (&y, _))| *sum += value * y),
                    Measure::SquaredDistance => {
                        numbers.for_each(|(sum, (&y, &x))| *sum += value * (y - x));
                    }
                }
            }
        });
    }

    /// The same of a batch compared with itself, in both directions.
    pub fn pull_both(&self, measure: Measure, vectors: &[f32], target: &mut [f32]) {
        self.pull(measure, vectors, vectors, target);
        let transposed = self.transposed(self.0.len());
        transposed.pull(measure, vectors, vectors, target);
    }
}

/// How many are not zero.
#[inline(always)]
pub(super) fn count(row: &[f32]) -> usize {
    // So few that a number of this size holds them, and more fit into a vector.
    let some = |part: &[f32]| part.iter().map(|&x| u32::from(x != 0.0)).sum::<u32>();
    row.chunks(1 << 16).map(|part| some(part) as usize).sum()
}

#[cfg(test)]
mod tests {
    use recall_loss::product::{Matrix, multiply};

    use super::*;

    #[test]
    fn few_derivatives_have_the_product_of_the_whole_matrix() {
        let (rows, columns, dim) = (70, 130, 3);
        let slope = |at: usize| {
            if at % 97 == 5 {
                (at % 13) as f32 - 6.0
            } else {
                0.0
            }
        };
        let slopes: Vec<f32> = (0..rows * columns).map(slope).collect();
        let vectors = |count: usize| -> Vec<f32> {
            (0..count * dim).map(|at| (at % 17) as f32 / 8.0).collect()
        };
        let few = Few(slopes.chunks(columns).map(Few::of_row).collect());
        let counted = few.0.iter().map(Vec::len).sum::<usize>();
        assert_eq!(counted, count(&slopes));
        assert!(Few::are(counted, slopes.len()) && !Few::are(2 * counted, slopes.len()));

        let whole = Matrix::of_rows(&slopes, columns);
        for (few, whole, [from, to]) in [
            (few.transposed(columns), whole.transposed(), [rows, columns]),
            (few, whole, [columns, rows]),
        ] {
            let vectors = vectors(from);
            let mut found = vec![1.0; to * dim];
            let mut expected = found.clone();
            let own = vec![0.5; to * dim];
            few.pull(Measure::Similarity, &own, &vectors, &mut found);
            multiply(
                &mut expected,
                dim,
                true,
                whole,
                Matrix::of_rows(&vectors, dim),
            );
            let mut pairs = found.iter().zip(&expected);
            assert!(pairs.all(|(a, b)| (a - b).abs() < 1e-4));
            // Differences from what is one half everywhere.
            few.pull(Measure::SquaredDistance, &own, &vectors, &mut found);
            let sums = few
                .0
                .iter()
                .map(|row| row.iter().map(|&(_, x)| x).sum::<f32>());
            let sums = sums.flat_map(|sum| [sum; 3]);
            let mut pairs = found.iter().zip(expected.iter().zip(sums));
            assert!(pairs.all(|(a, (b, sum))| (a - (2.0 * b - 1.0 - 0.5 * sum)).abs() < 1e-4));
        }
    }
}
