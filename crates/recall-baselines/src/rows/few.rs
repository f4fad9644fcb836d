//! Derivatives of which most are zero.

use burn::tensor::{Tensor, backend::Backend};
use rayon::prelude::*;

use super::host::host_values;

/// The derivatives of a loss that has chosen few comparisons: columns and values of each row.
pub(super) struct Few(Vec<Vec<(usize, f32)>>);

impl Few {
    /// From one in this many on, a product of the whole matrix costs less.
    const SHARE: usize = 64;

    /// None if there are too many.
    pub fn of(slopes: &[f32], columns: usize) -> Option<Self> {
        let rows = || slopes.par_chunks(columns.max(1));
        let some = |row: &[f32]| row.iter().map(|&x| u32::from(x != 0.0)).sum::<u32>();
        // Where the first rows have many there is no need to look further.
        let first = &slopes[..slopes.len().min(columns * 64)];
        if some(first) as usize * Self::SHARE > first.len() {
            return None;
        }
        let counts: Vec<u32> = rows().map(some).collect();
        let count: usize = counts.iter().map(|&count| count as usize).sum();
        if count * Self::SHARE > slopes.len() {
            return None;
        }
        let of_row = |(row, count): (&[f32], &u32)| {
            let mut found = Vec::with_capacity(*count as usize);
            // Most parts have none, which is seen at once.
            for (part, values) in row.chunks(64).enumerate() {
                if some(values) > 0 {
                    let of_part = values.iter().enumerate().filter(|&(_, &x)| x != 0.0);
                    found.extend(of_part.map(|(at, &x)| (part * 64 + at, x)));
                }
            }
            found
        };
        Some(Self(rows().zip(&counts).map(of_row).collect()))
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

    /// The product with vectors `[m, d]`, one for each column.
    pub fn times<B: Backend>(&self, vectors: &Tensor<B, 2>) -> Vec<f32> {
        let [_, dim] = vectors.dims();
        let vectors = host_values(vectors.clone());
        let mut product = vec![0.0; self.0.len() * dim];
        product
            .par_chunks_mut(dim.max(1))
            .zip(&self.0)
            .for_each(|(row, values)| {
                for &(column, value) in values {
                    let vector = &vectors[column * dim..(column + 1) * dim];
                    for (sum, &x) in row.iter_mut().zip(vector) {
                        *sum += value * x;
                    }
                }
            });
        product
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, TensorData};
    use burn_flex::Flex;

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
        let tensor = |count: usize| {
            let values: Vec<f32> = (0..count * dim).map(|at| (at % 17) as f32 / 8.0).collect();
            Tensor::<Flex, 2>::from_data(
                TensorData::new(values, [count, dim]),
                (&Default::default(), DType::F32),
            )
        };
        let whole = Tensor::<Flex, 2>::from_data(
            TensorData::new(slopes.clone(), [rows, columns]),
            (&Default::default(), DType::F32),
        );
        let few = Few::of(&slopes, columns).unwrap();
        let close = |found: Vec<f32>, expected: Tensor<Flex, 2>| {
            let expected = host_values(expected);
            assert_eq!(found.len(), expected.len());
            assert!(
                found
                    .iter()
                    .zip(&expected)
                    .all(|(a, b)| (a - b).abs() < 1e-4)
            );
        };
        close(
            few.times(&tensor(columns)),
            whole.clone().matmul(tensor(columns)),
        );
        let transposed = few.transposed(columns);
        close(
            transposed.times(&tensor(rows)),
            whole.transpose().matmul(tensor(rows)),
        );

        let many: Vec<f32> = (0..rows * columns).map(|at| (at % 2) as f32).collect();
        assert!(Few::of(&many, columns).is_none());
    }
}
