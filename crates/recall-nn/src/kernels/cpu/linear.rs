//! `x w + b` of rows, and its gradients, as three matrix products.

use rayon::prelude::*;

use super::product::{Matrix, multiplied};

/// Rows that a thread adds the bias to at once.
const ROWS: usize = 16;
/// Columns of the gradient that a thread sums at once.
const COLUMNS: usize = 256;

/// Gradients for the inputs of [`forward`].
pub(crate) struct LinearGrads {
    /// `[rows, width]`, if it is wanted.
    pub(crate) input: Option<Vec<f32>>,
    /// `[width, out]`.
    pub(crate) weight: Vec<f32>,
    /// `[out]`.
    pub(crate) bias: Vec<f32>,
}

/// Rows `x` `[rows, width]` with `weight` `[width, out]` and perhaps `bias` `[out]`; the output is
/// `[rows, out]`.
pub(crate) fn forward(x: &[f32], weight: &[f32], out: usize, bias: Option<&[f32]>) -> Vec<f32> {
    let (rows, width) = sizes(x, weight, out);
    if rows * out == 0 {
        return Vec::new();
    }
    let x = Matrix::new(x, rows, width, width);
    let mut output = multiplied(x, Matrix::new(weight, width, out, out));
    if let Some(bias) = bias {
        assert_eq!(bias.len(), out);
        output.par_chunks_mut(ROWS * out).for_each(|rows| {
            for row in rows.chunks_exact_mut(out) {
                let sums = row.iter_mut().zip(bias);
                sums.for_each(|(sum, bias)| *sum += bias);
            }
        });
    }
    output
}

/// Gradients, given `grad` `[rows, out]` for the output.
pub(crate) fn backward(
    x: &[f32],
    weight: &[f32],
    out: usize,
    grad: &[f32],
    wants_input: bool,
) -> LinearGrads {
    let (rows, width) = sizes(x, weight, out);
    assert_eq!(grad.len(), rows * out);
    if x.is_empty() || grad.is_empty() {
        return LinearGrads {
            input: wants_input.then(|| vec![0.0; x.len()]),
            weight: vec![0.0; weight.len()],
            bias: vec![0.0; out],
        };
    }
    let slopes = Matrix::new(grad, rows, out, out);
    let input = wants_input.then(|| {
        let weight = Matrix::new(weight, width, out, out).transposed();
        multiplied(slopes, weight)
    });
    let turned = Matrix::new(x, rows, width, width).transposed();
    let mut grads = LinearGrads {
        input,
        weight: multiplied(turned, slopes),
        bias: vec![0.0; out],
    };
    let columns = grads.bias.par_chunks_mut(COLUMNS).enumerate();
    columns.for_each(|(block, sums)| {
        for row in grad.chunks_exact(out) {
            let slopes = &row[block * COLUMNS..];
            sums.iter_mut()
                .zip(slopes)
                .for_each(|(sum, slope)| *sum += slope);
        }
    });
    grads
}

/// Rows, and numbers of a row.
fn sizes(x: &[f32], weight: &[f32], out: usize) -> (usize, usize) {
    let width = weight.len().checked_div(out).unwrap_or(0);
    assert_eq!(width * out, weight.len());
    let rows = x.len().checked_div(width).unwrap_or(0);
    assert_eq!(rows * width, x.len());
    (rows, width)
}

#[cfg(test)]
mod tests {
    use super::super::oracle::{assert_close, assert_same_bits, random, slopes, wide};
    use super::*;

    fn naive(x: &[f64], weight: &[f64], bias: &[f64]) -> Vec<f64> {
        let out = bias.len();
        let width = weight.len() / out;
        let row = |x: &[f64]| -> Vec<f64> {
            let sum = |column: usize| -> f64 {
                let weight = weight.iter().skip(column).step_by(out);
                bias[column] + x.iter().zip(weight).map(|(x, w)| x * w).sum::<f64>()
            };
            (0..out).map(sum).collect()
        };
        x.chunks_exact(width).flat_map(row).collect()
    }

    #[test]
    fn values_and_gradients_are_those_of_naive_loops() {
        for (rows, width, out) in [(1, 1, 1), (5, 3, 7), (40, 33, 17)] {
            let (x, grad) = (random(1, rows * width), random(2, rows * out));
            let (weight, bias) = (random(3, width * out), random(4, out));
            let exact = naive(&wide(&x), &wide(&weight), &wide(&bias));
            assert_close(&forward(&x, &weight, out, Some(&bias)), &exact, 1e-5);
            let without = naive(&wide(&x), &wide(&weight), &vec![0.0; out]);
            assert_close(&forward(&x, &weight, out, None), &without, 1e-5);

            let weighted = |x: &[f64], weight: &[f64], bias: &[f64]| -> f64 {
                let output = naive(x, weight, bias);
                output
                    .iter()
                    .zip(&grad)
                    .map(|(a, &b)| a * f64::from(b))
                    .sum()
            };
            let (wide_x, wide_weight, wide_bias) = (wide(&x), wide(&weight), wide(&bias));
            let grads = backward(&x, &weight, out, &grad, true);
            let of_x = slopes(&wide_x, |x| weighted(x, &wide_weight, &wide_bias));
            assert_close(&grads.input.unwrap(), &of_x, 1e-5);
            let of_weight = slopes(&wide_weight, |weight| weighted(&wide_x, weight, &wide_bias));
            assert_close(&grads.weight, &of_weight, 1e-5);
            let of_bias = slopes(&wide_bias, |bias| weighted(&wide_x, &wide_weight, bias));
            assert_close(&grads.bias, &of_bias, 1e-5);
            assert!(backward(&x, &weight, out, &grad, false).input.is_none());
        }
    }

    #[test]
    fn no_rows_no_output() {
        assert!(forward(&[], &[1.0; 6], 3, Some(&[0.0; 3])).is_empty());
        let grads = backward(&[], &[1.0; 6], 3, &[], true);
        assert_eq!((grads.weight, grads.bias), (vec![0.0; 6], vec![0.0; 3]));
    }

    #[test]
    fn the_number_of_threads_does_not_matter() {
        // As large as those of a transformer: gemm shares out smaller ones otherwise.
        let (rows, width, out) = (300, 384, 500);
        let (x, grad) = (random(5, rows * width), random(6, rows * out));
        let (weight, bias) = (random(7, width * out), random(8, out));
        assert_same_bits(|| {
            let grads = backward(&x, &weight, out, &grad, true);
            let output = forward(&x, &weight, out, Some(&bias));
            vec![output, grads.input.unwrap(), grads.weight, grads.bias]
        });
    }
}
