//! Matrix products on slices, of what computes on the host.

use gemm::Parallelism;

/// A row-major matrix, or the transpose of one.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// `[rows, columns]`, one row behind the other.
    pub fn of_rows(values: &'a [f32], columns: usize) -> Self {
        let rows = values.len().checked_div(columns).unwrap_or(0);
        Self::new(values, rows, columns, columns)
    }

    /// `[rows, columns]` with `stride` values from one row to the next.
    ///
    /// # Panics
    ///
    /// If there are not so many values.
    pub fn new(values: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        assert!(columns <= stride && rows * stride <= values.len() + stride - columns);
        Self {
            values,
            rows,
            columns,
            row_stride: stride,
            column_stride: 1,
        }
    }

    /// The transpose, `[columns, rows]`.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// `target = left · right`, or `target += left · right`, on this thread alone; `stride` is from one
/// row of the target to the next.
///
/// # Panics
///
/// If the shapes do not fit together, or the target is too small.
pub fn multiply(target: &mut [f32], stride: usize, add: bool, left: Matrix<'_>, right: Matrix<'_>) {
    product(target, stride, add, left, right, Parallelism::None);
}

/// The same by all threads of the pool, which share the places and not the terms: their number changes no bit.
/// Each side is arranged for the processor once, and not once for each piece as in products of pieces.
///
/// # Panics
///
/// Those of [`multiply`].
pub fn multiply_together(
    target: &mut [f32],
    stride: usize,
    add: bool,
    left: Matrix<'_>,
    right: Matrix<'_>,
) {
    product(target, stride, add, left, right, Parallelism::Rayon(0));
}

fn product(
    target: &mut [f32],
    stride: usize,
    add: bool,
    left: Matrix<'_>,
    right: Matrix<'_>,
    threads: Parallelism,
) {
    let (rows, columns, depth) = (left.rows, right.columns, left.columns);
    assert_eq!(depth, right.rows);
    assert!(columns <= stride && rows * stride <= target.len() + stride - columns);
    if rows == 0 || columns == 0 {
        return;
    }
    let keep = if add { 1.0 } else { 0.0 };
    #[expect(unsafe_code, reason = "gemm takes pointers")]
    // SAFETY: the largest offset read of `left` is (rows − 1) · row_stride + (depth − 1) ·
    // column_stride, which `Matrix::new` checked against the length of its slice, for the transpose
    // as well since it is the same set of elements; likewise `right`. The largest offset written is
    // (rows − 1) · stride + columns − 1, checked above. The target is borrowed mutably, so nothing
    // overlaps.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            depth,
            target.as_mut_ptr(),
            1,
            stride as isize,
            add,
            left.values.as_ptr(),
            left.column_stride as isize,
            left.row_stride as isize,
            right.values.as_ptr(),
            right.column_stride as isize,
            right.row_stride as isize,
            keep,
            1.0,
            false,
            false,
            false,
            threads,
        );
    }
}
