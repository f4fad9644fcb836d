//! Second moments of vectors and their principal directions, in f64.

use nalgebra::{DMatrix, DMatrixViewMut, SymmetricEigen};
use rayon::prelude::*;

use crate::EvalError;

/// Vectors that are multiplied at a time.
const VECTORS: usize = 512;

/// Columns of the result that a thread computes at a time. It does not depend on how many threads there are, so
/// neither does the order of any sum.
const COLUMNS: usize = 64;

/// `Σ v vᵀ` over `count` vectors of `dim` values, `[dim, dim]`; `fill` writes the one of a number.
pub(super) fn scatter(
    count: usize,
    dim: usize,
    fill: impl Fn(usize, &mut [f64]) + Sync,
) -> DMatrix<f64> {
    let mut sum = DMatrix::zeros(dim, dim);
    for start in (0..count).step_by(VECTORS) {
        let mut vectors = DMatrix::zeros(dim, VECTORS.min(count - start));
        (vectors.as_mut_slice().par_chunks_mut(dim).enumerate())
            .for_each(|(at, vector)| fill(start + at, vector));
        let panels = sum.as_mut_slice().par_chunks_mut(dim * COLUMNS);
        panels.enumerate().for_each(|(panel, values)| {
            let (first, width) = (panel * COLUMNS, values.len() / dim);
            let mut panel = DMatrixViewMut::from_slice(values, dim, width);
            // Those on and below the diagonal.
            let mut below = panel.rows_mut(first, dim - first);
            let right = vectors.rows(first, width).transpose();
            below.gemm(1.0, &vectors.rows(first, dim - first), &right, 1.0);
        });
    }
    sum.fill_upper_triangle_with_lower_triangle();
    sum
}

/// Orthogonal directions, a column each, by descending share of a symmetric matrix, and these shares.
///
/// Of the two directions of an axis the one whose largest component is positive.
pub(super) fn principal(symmetric: DMatrix<f64>) -> Result<(Vec<f64>, DMatrix<f64>), EvalError> {
    let dim = symmetric.nrows();
    // As many steps as LAPACK allows.
    let found = SymmetricEigen::try_new(symmetric, f64::EPSILON, 30 * dim.max(1));
    let found = found.ok_or(EvalError::NoDirections)?;
    let mut order: Vec<usize> = (0..dim).collect();
    order.sort_by(|&a, &b| found.eigenvalues[b].total_cmp(&found.eigenvalues[a]));
    let shares = order.iter().map(|&at| found.eigenvalues[at]).collect();
    let columns: Vec<_> = (order.iter())
        .map(|&at| found.eigenvectors.column(at))
        .collect();
    let mut directions = DMatrix::from_columns(&columns);
    for mut direction in directions.column_iter_mut() {
        if direction[direction.icamax()] < 0.0 {
            direction.neg_mut();
        }
    }
    Ok((shares, directions))
}

/// Moves a covariance towards the multiple of the identity that has its trace: `(1 − s) C + s tr(C) / d I`.
pub(super) fn shrink(covariance: &mut DMatrix<f64>, shrinkage: f64) {
    let level = covariance.trace() / covariance.nrows() as f64;
    *covariance *= 1.0 - shrinkage;
    for at in 0..covariance.nrows() {
        covariance[(at, at)] += shrinkage * level;
    }
}
