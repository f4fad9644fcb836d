//! Layer normalisation: `γ (x − mean) / √(variance + epsilon) + β` in each row.

use pulp::Arch;
use rayon::prelude::*;

use super::sums::sums;

/// Rows a task; the sums for γ and β have one part a task, so it is a part of the result.
const ROWS: usize = 16;

/// Gradients for the inputs of [`forward`].
pub(crate) struct LayerNormGrads {
    /// Of the shape of `x`.
    pub(crate) input: Vec<f32>,
    /// `[width]`.
    pub(crate) gamma: Vec<f32>,
    /// `[width]`.
    pub(crate) beta: Vec<f32>,
}

/// Rows `x` `[rows, width]` with `gamma` and `beta` `[width]`.
pub(crate) fn forward(x: &[f32], gamma: &[f32], beta: &[f32], epsilon: f32) -> Vec<f32> {
    let width = gamma.len();
    assert_eq!(beta.len(), width);
    let mut output = vec![0.0; x.len()];
    if x.is_empty() {
        return output;
    }
    assert_eq!(x.len() % width, 0);
    let arch = Arch::new();
    let tasks = output.par_chunks_mut(ROWS * width);
    let tasks = tasks.zip(x.par_chunks(ROWS * width));
    tasks.for_each(|(output, x)| {
        arch.dispatch(
            #[inline(always)]
            || {
                let rows = output.chunks_exact_mut(width).zip(x.chunks_exact(width));
                for (output, x) in rows {
                    let (mean, inverse) = moments(x, epsilon);
                    let affine = gamma.iter().zip(beta);
                    for ((output, &x), (&gamma, &beta)) in output.iter_mut().zip(x).zip(affine) {
                        *output = (x - mean) * inverse * gamma + beta;
                    }
                }
            },
        );
    });
    output
}

/// Gradients, given `grad` for the output.
pub(crate) fn backward(x: &[f32], gamma: &[f32], grad: &[f32], epsilon: f32) -> LayerNormGrads {
    let width = gamma.len();
    assert_eq!(x.len(), grad.len());
    let mut grads = LayerNormGrads {
        input: vec![0.0; x.len()],
        gamma: vec![0.0; width],
        beta: vec![0.0; width],
    };
    if x.is_empty() {
        return grads;
    }
    assert_eq!(x.len() % width, 0);
    let arch = Arch::new();
    let sources = x
        .par_chunks(ROWS * width)
        .zip(grad.par_chunks(ROWS * width));
    let tasks = grads.input.par_chunks_mut(ROWS * width).zip(sources);
    let parts: Vec<Vec<f32>> = tasks
        .map(|(input, (x, grad))| {
            let mut part = vec![0.0; 2 * width];
            let (gamma_part, beta_part) = part.split_at_mut(width);
            arch.dispatch(
                #[inline(always)]
                || {
                    let sources = x.chunks_exact(width).zip(grad.chunks_exact(width));
                    for (input, (x, grad)) in input.chunks_exact_mut(width).zip(sources) {
                        backward_row(input, gamma_part, beta_part, x, gamma, grad, epsilon);
                    }
                },
            );
            part
        })
        .collect();
    for part in parts {
        let (gamma_part, beta_part) = part.split_at(width);
        for (sum, part) in grads.gamma.iter_mut().zip(gamma_part) {
            *sum += part;
        }
        for (sum, part) in grads.beta.iter_mut().zip(beta_part) {
            *sum += part;
        }
    }
    grads
}

/// Writes the gradient of one row and adds to those of γ and β.
#[inline(always)]
fn backward_row(
    input: &mut [f32],
    gamma_sum: &mut [f32],
    beta_sum: &mut [f32],
    x: &[f32],
    gamma: &[f32],
    grad: &[f32],
    epsilon: f32,
) {
    let width = x.len() as f32;
    let (mean, inverse) = moments(x, epsilon);
    let [along_mean, along_x] = sums([x, gamma, grad], |[x, gamma, grad]| {
        [grad * gamma, grad * gamma * (x - mean)]
    });
    let along_mean = along_mean / width;
    let along_x = along_x / width * inverse * inverse;
    let sources = x.iter().zip(gamma).zip(grad);
    let sums = gamma_sum.iter_mut().zip(beta_sum);
    for ((input, (gamma_sum, beta_sum)), ((&x, &gamma), &grad)) in
        input.iter_mut().zip(sums).zip(sources)
    {
        let centred = x - mean;
        *input = inverse * (grad * gamma - along_mean - centred * along_x);
        *gamma_sum += grad * (centred * inverse);
        *beta_sum += grad;
    }
}

/// The mean, and `1 / √(variance + epsilon)` with the biased variance.
#[inline(always)]
fn moments(x: &[f32], epsilon: f32) -> (f32, f32) {
    let width = x.len() as f32;
    let [sum] = sums([x], |[x]| [x]);
    let mean = sum / width;
    let [squares] = sums([x], |[x]| [(x - mean) * (x - mean)]);
    (mean, 1.0 / (squares / width + epsilon).sqrt())
}

#[cfg(test)]
mod tests {
    use super::super::oracle::{assert_close, assert_same_bits, random, slopes, wide};
    use super::*;

    const EPSILON: f32 = 1e-5;

    fn naive(x: &[f64], gamma: &[f64], beta: &[f64]) -> Vec<f64> {
        let width = gamma.len() as f64;
        x.chunks(gamma.len())
            .flat_map(|row| {
                let mean = row.iter().sum::<f64>() / width;
                let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width;
                let deviation = (variance + f64::from(EPSILON)).sqrt();
                let columns = row.iter().zip(gamma).zip(beta);
                columns.map(move |((x, gamma), beta)| gamma * (x - mean) / deviation + beta)
            })
            .collect()
    }

    fn naive_backward(x: &[f64], gamma: &[f64], grad: &[f64]) -> [Vec<f64>; 3] {
        let width = gamma.len();
        let ones = vec![1.0; width];
        let normal = naive(x, &ones, &vec![0.0; width]);
        let mut input = vec![0.0; x.len()];
        let (mut gammas, mut betas) = (vec![0.0; width], vec![0.0; width]);
        for row in 0..x.len() / width {
            let row = row * width..(row + 1) * width;
            let (x, grad, normal) = (&x[row.clone()], &grad[row.clone()], &normal[row.clone()]);
            let mean = x.iter().sum::<f64>() / width as f64;
            let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
            let deviation = (variance + f64::from(EPSILON)).sqrt();
            for i in 0..width {
                gammas[i] += grad[i] * normal[i];
                betas[i] += grad[i];
                for j in 0..width {
                    // d normal[j] / d x[i].
                    let same = if i == j { 1.0 } else { 0.0 };
                    let slope = same - (1.0 + normal[i] * normal[j]) / width as f64;
                    input[row.start + i] += grad[j] * gamma[j] * slope / deviation;
                }
            }
        }
        [input, gammas, betas]
    }

    #[test]
    fn values_and_gradients_are_those_of_naive_loops() {
        for (rows, width) in [(1, 1), (3, 7), (33, 16), (17, 50), (19, 768)] {
            let mut x = random(1, rows * width);
            x.iter_mut().for_each(|x| *x = 2.0 * *x + 3.0);
            let (gamma, beta) = (random(2, width), random(3, width));
            let grad = random(4, rows * width);
            let (wide_x, wide_gamma) = (wide(&x), wide(&gamma));
            let output = forward(&x, &gamma, &beta, EPSILON);
            assert_close(&output, &naive(&wide_x, &wide_gamma, &wide(&beta)), 1e-5);
            let grads = backward(&x, &gamma, &grad, EPSILON);
            let [input, gammas, betas] = naive_backward(&wide_x, &wide_gamma, &wide(&grad));
            assert_close(&grads.input, &input, 1e-5);
            assert_close(&grads.gamma, &gammas, 1e-5);
            assert_close(&grads.beta, &betas, 1e-5);
        }
    }

    #[test]
    fn gradients_are_slopes() {
        let (rows, width) = (3, 7);
        let (x, gamma, beta) = (random(5, rows * width), random(6, width), random(7, width));
        let grad = random(8, rows * width);
        let (x64, gamma64, beta64, grad64) = (wide(&x), wide(&gamma), wide(&beta), wide(&grad));
        let weighted = |x: &[f64], gamma: &[f64], beta: &[f64]| {
            let values = naive(x, gamma, beta);
            values.iter().zip(&grad64).map(|(a, b)| a * b).sum::<f64>()
        };
        let grads = backward(&x, &gamma, &grad, EPSILON);
        let input = slopes(&x64, |x| weighted(x, &gamma64, &beta64));
        assert_close(&grads.input, &input, 1e-5);
        let gammas = slopes(&gamma64, |gamma| weighted(&x64, gamma, &beta64));
        assert_close(&grads.gamma, &gammas, 1e-5);
        let betas = slopes(&beta64, |beta| weighted(&x64, &gamma64, beta));
        assert_close(&grads.beta, &betas, 1e-5);
    }

    #[test]
    fn equal_numbers_become_beta() {
        let output = forward(&[5.0; 6], &[2.0; 3], &[1.0, 2.0, 3.0], EPSILON);
        assert_eq!(output, [1.0, 2.0, 3.0, 1.0, 2.0, 3.0]);
        assert!(forward(&[], &[1.0], &[0.0], EPSILON).is_empty());
        assert!(forward(&[], &[], &[], EPSILON).is_empty());
    }

    #[test]
    fn nan_stays_in_its_row() {
        let mut x = random(9, 4 * 20);
        x[25] = f32::NAN;
        x[59] = f32::INFINITY;
        let (gamma, grad) = (random(10, 20), random(11, 4 * 20));
        let input = backward(&x, &gamma, &grad, EPSILON).input;
        for values in [forward(&x, &gamma, &gamma, EPSILON), input] {
            for (row, values) in values.chunks(20).enumerate() {
                let bad = row == 1 || row == 2;
                assert!(values.iter().all(|value| value.is_nan() == bad));
            }
        }
    }

    #[test]
    fn the_number_of_threads_does_not_matter() {
        let (rows, width) = (165, 48);
        let (x, grad) = (random(12, rows * width), random(13, rows * width));
        let gamma = random(14, width);
        assert_same_bits(|| {
            let grads = backward(&x, &gamma, &grad, EPSILON);
            let output = forward(&x, &gamma, &gamma, EPSILON);
            vec![output, grads.input, grads.gamma, grads.beta]
        });
    }
}
