//! Matrix products, from and into blocks of larger matrices.

use std::marker::PhantomData;

use gemm::Parallelism;

/// A row-major matrix, or the transpose of one.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// `[rows, columns]` with `stride` values from one row to the next.
    pub(super) fn new(values: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        assert!(columns <= stride && rows * stride <= values.len() + stride - columns);
        Self {
            values,
            rows,
            columns,
            row_stride: stride,
            column_stride: 1,
        }
    }

    pub(super) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// `left · right`, row-major, by all threads of the pool. Its memory is written once: zeros before it would cost as
/// much as reading it.
pub(super) fn multiplied(left: Matrix<'_>, right: Matrix<'_>) -> Vec<f32> {
    let (rows, columns) = (left.rows, right.columns);
    let count = rows * columns;
    if left.columns == 0 {
        return vec![0.0; count];
    }
    let mut target = Vec::with_capacity(count);
    let mut places = Columns {
        first: target.as_mut_ptr(),
        rows,
        columns,
        stride: columns,
        borrowed: PhantomData,
    };
    places.multiply_together(left, right);
    #[expect(
        unsafe_code,
        reason = "a vector does not know what was written to its memory"
    )]
    // SAFETY: there is room for `count` numbers, and a product with terms, which does not read what was
    // there, has written each.
    unsafe {
        target.set_len(count);
    }
    target
}

/// Adjacent columns of a row-major matrix, to be written. The other columns may be written at the
/// same time.
pub(super) struct Columns<'a> {
    /// The first row's first number. Row `r`, column `c` is `r · stride + c` numbers on, for `r <
    /// rows` and `c < columns`; no one else has these places for `'a`.
    first: *mut f32,
    rows: usize,
    columns: usize,
    stride: usize,
    borrowed: PhantomData<&'a mut [f32]>,
}

#[expect(unsafe_code, reason = "a pointer says nothing about threads")]
// SAFETY: it stands for a mutable borrow of numbers, each in one `Columns` alone, and those may be
// sent.
unsafe impl Send for Columns<'_> {}

impl<'a> Columns<'a> {
    /// All columns of a matrix of so many rows.
    pub(super) fn all(matrix: &'a mut [f32], rows: usize) -> Self {
        let columns = matrix.len() / rows;
        assert_eq!(rows * columns, matrix.len());
        Self {
            first: matrix.as_mut_ptr(),
            rows,
            columns,
            stride: columns,
            borrowed: PhantomData,
        }
    }

    /// Blocks of `columns` columns, from the first to the last.
    pub(super) fn split(self, columns: usize) -> impl Iterator<Item = Columns<'a>> {
        assert_eq!(self.columns % columns, 0);
        // The blocks lie side by side within the columns of `self`, which is used up.
        (0..self.columns / columns).map(move |block| Self {
            first: self.first.wrapping_add(block * columns),
            columns,
            ..self
        })
    }

    /// Becomes `left · right`, on this thread alone.
    pub(super) fn multiply(&mut self, left: Matrix<'_>, right: Matrix<'_>) {
        self.product(left, right, Parallelism::None);
    }

    /// Becomes `left · right`, by all threads of the pool: they share the places, not the terms.
    pub(super) fn multiply_together(&mut self, left: Matrix<'_>, right: Matrix<'_>) {
        self.product(left, right, Parallelism::Rayon(0));
    }

    fn product(&mut self, left: Matrix<'_>, right: Matrix<'_>, threads: Parallelism) {
        let depth = left.columns;
        assert_eq!(depth, right.rows);
        assert_eq!((self.rows, self.columns), (left.rows, right.columns));
        if self.rows == 0 || self.columns == 0 {
            return;
        }
        #[expect(unsafe_code, reason = "gemm takes pointers")]
        // SAFETY: the largest offset read of `left` is (rows − 1) · row_stride + (depth − 1) ·
        // column_stride, which `Matrix::new` checked against the length of its slice, for the
        // transpose as well since it is the same set of elements; likewise `right`. What is written
        // are the places of `self`, borrowed mutably here and by no other, so nothing overlaps.
        unsafe {
            gemm::gemm(
                self.rows,
                self.columns,
                depth,
                self.first,
                1,
                self.stride as isize,
                false,
                left.values.as_ptr(),
                left.column_stride as isize,
                left.row_stride as isize,
                right.values.as_ptr(),
                right.column_stride as isize,
                right.row_stride as isize,
                0.0,
                1.0,
                false,
                false,
                false,
                threads,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::oracle::{assert_close, random};
    use super::*;

    #[test]
    fn blocks_of_columns_get_their_products_and_nothing_else_changes() {
        for (rows, columns, blocks, depth) in [(1, 1, 1, 1), (3, 2, 4, 5), (17, 19, 2, 50)] {
            let left = random(1, rows * depth);
            let right = random(2, depth * columns * blocks);
            let mut target = random(3, rows * columns * blocks);
            let mut expected: Vec<f64> = target.iter().map(|&value| f64::from(value)).collect();
            let stride = columns * blocks;
            // Every second block.
            let targets = Columns::all(&mut target, rows).split(columns);
            for (block, mut target) in targets.enumerate().step_by(2) {
                let right = Matrix::new(&right[block * columns..], depth, columns, stride);
                target.multiply(Matrix::new(&left, rows, depth, depth), right);
                for row in 0..rows {
                    for column in block * columns..(block + 1) * columns {
                        expected[row * stride + column] = (0..depth)
                            .map(|k| {
                                let right = right.at(k, column - block * columns);
                                f64::from(left[row * depth + k]) * f64::from(right)
                            })
                            .sum();
                    }
                }
            }
            assert_close(&target, &expected, 1e-5);
        }
    }

    #[test]
    fn a_transpose_reads_the_same_numbers() {
        let (rows, columns) = (7, 5);
        let values = random(4, rows * columns);
        let ones = vec![1.0; rows];
        let mut sums = vec![0.0; columns];
        let matrix = Matrix::new(&values, rows, columns, columns).transposed();
        Columns::all(&mut sums, columns).multiply(matrix, Matrix::new(&ones, rows, 1, 1));
        let expected: Vec<f64> = (0..columns)
            .map(|column| {
                let column = values.iter().skip(column).step_by(columns);
                column.map(|&value| f64::from(value)).sum()
            })
            .collect();
        assert_close(&sums, &expected, 1e-5);
    }

    impl Matrix<'_> {
        fn at(&self, row: usize, column: usize) -> f32 {
            self.values[row * self.row_stride + column * self.column_stride]
        }
    }
}
