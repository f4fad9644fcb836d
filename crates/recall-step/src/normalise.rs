use burn::tensor::{Tensor, backend::Backend};

/// Scales each row to unit length, so that dot products are cosines.
///
/// A row shorter than 10⁻⁶ is divided by that instead, and stays finite.
///
/// # Shapes
///
/// - rows: `[n, d]`
/// - output: `[n, d]`
pub fn l2_normalise<B: Backend>(rows: Tensor<B, 2>) -> Tensor<B, 2> {
    // Clamped before the root: its slope at 0 is infinite. No division: its backward pass takes a
    // reciprocal, which burn-ndarray approximates to four digits.
    let squared = rows.clone().powf_scalar(2.0).sum_dim(1).clamp_min(1e-12);
    rows * squared.powf_scalar(-0.5)
}
