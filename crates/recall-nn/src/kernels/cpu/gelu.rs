//! `x Φ(x)` with Φ the distribution function of the normal distribution.

use std::f32::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use pulp::Arch;
use rayon::prelude::*;

use super::TASK;
use super::exp::exp;

/// Farther out, Φ is 0 or 1 and its density 0 in f32, and infinity times 0 would be NaN.
const FAR: f32 = 20.0;

/// `x Φ(x)` for each number.
pub(crate) fn forward(x: &[f32]) -> Vec<f32> {
    let mut output = vec![0.0; x.len()];
    let arch = Arch::new();
    let tasks = output.par_chunks_mut(TASK).zip(x.par_chunks(TASK));
    tasks.for_each(|(output, x)| {
        arch.dispatch(
            #[inline(always)]
            || {
                for (output, &x) in output.iter_mut().zip(x) {
                    // Not `max`: NaN stays NaN.
                    let x = if x < -FAR { -FAR } else { x };
                    *output = x * normal(x).0;
                }
            },
        );
    });
    output
}

/// The gradient for `x`, given the one for the output.
pub(crate) fn backward(x: &[f32], grad: &[f32]) -> Vec<f32> {
    assert_eq!(x.len(), grad.len());
    /// 1 / √(2π).
    const DENSITY: f32 = 0.5 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2;
    let mut input = vec![0.0; x.len()];
    let arch = Arch::new();
    let sources = x.par_chunks(TASK).zip(grad.par_chunks(TASK));
    let tasks = input.par_chunks_mut(TASK).zip(sources);
    tasks.for_each(|(input, (x, grad))| {
        arch.dispatch(
            #[inline(always)]
            || {
                for ((input, &x), &grad) in input.iter_mut().zip(x).zip(grad) {
                    let x = x.clamp(-FAR, FAR);
                    let (distribution, bell) = normal(x);
                    *input = grad * (distribution + x * DENSITY * bell);
                }
            },
        );
    });
    input
}

/// `Φ(x)` and `exp(−x² / 2)`.
///
/// Abramowitz and Stegun (1964), 7.1.26: Φ is right to 10⁻⁷, and the same exponential serves both.
#[inline(always)]
fn normal(x: f32) -> (f32, f32) {
    let bell = exp(-0.5 * x * x);
    let t = 1.0 / (1.0 + 0.327_591_1 * FRAC_1_SQRT_2 * x.abs());
    let mut series = 1.061_405_4;
    for coefficient in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6] {
        series = series * t + coefficient;
    }
    let tail = 0.5 * series * t * bell;
    (if x < 0.0 { tail } else { 1.0 - tail }, bell)
}

#[cfg(test)]
mod tests {
    use std::f64::consts::{FRAC_1_SQRT_2, PI};

    use super::super::oracle::{assert_close, assert_same_bits, random, slopes, wide};
    use super::*;

    /// The error function's series with positive terms alone, which loses nothing to cancellation.
    fn erf(x: f64) -> f64 {
        if x.abs() > 6.0 {
            return x.signum();
        }
        let (mut term, mut sum) = (x, x);
        for n in 1..200 {
            term *= 2.0 * x * x / f64::from(2 * n + 1);
            sum += term;
        }
        2.0 / PI.sqrt() * (-x * x).exp() * sum
    }

    fn gelu(x: f64) -> f64 {
        x * 0.5 * (1.0 + erf(x * FRAC_1_SQRT_2))
    }

    fn slope(x: f64) -> f64 {
        0.5 * (1.0 + erf(x * FRAC_1_SQRT_2)) + x * (-0.5 * x * x).exp() / (2.0 * PI).sqrt()
    }

    #[test]
    fn values_and_slopes_are_right_everywhere() {
        let x: Vec<f32> = (-14_000..=14_000).map(|step| step as f32 * 1e-3).collect();
        let ones = vec![1.0; x.len()];
        for ((&x, value), grad) in x.iter().zip(forward(&x)).zip(backward(&x, &ones)) {
            let exact = gelu(f64::from(x));
            let error = (f64::from(value) - exact).abs();
            assert!(error <= 3e-7 * exact.abs().max(1.0), "{x}: {error}");
            let error = (f64::from(grad) - slope(f64::from(x))).abs();
            assert!(error <= 3e-7, "slope at {x}: {error}");
        }
    }

    #[test]
    fn gradients_are_slopes() {
        let (x, weights) = (random(1, 777), random(2, 777));
        let exact = slopes(&wide(&x), |x| {
            let weighted = x
                .iter()
                .zip(&weights)
                .map(|(&x, &weight)| gelu(x) * f64::from(weight));
            weighted.sum()
        });
        assert_close(&backward(&x, &weights), &exact, 1e-6);
    }

    #[test]
    fn far_out_there_is_no_nan_but_nan_stays() {
        let (inf, largest) = (f32::INFINITY, f32::MAX);
        assert_eq!(
            forward(&[-inf, -largest, -30.0, 0.0, 30.0, largest, inf]),
            [0.0, 0.0, 0.0, 0.0, 30.0, largest, inf]
        );
        assert_eq!(
            backward(&[-inf, -largest, -30.0, 0.0, 30.0, largest, inf], &[1.0; 7]),
            [0.0, 0.0, 0.0, 0.5, 1.0, 1.0, 1.0]
        );
        assert!(forward(&[f32::NAN])[0].is_nan());
        assert!(backward(&[f32::NAN], &[1.0])[0].is_nan());
        assert!(backward(&[1.0], &[f32::NAN])[0].is_nan());
        assert!(forward(&[]).is_empty());
    }

    #[test]
    fn the_number_of_threads_does_not_matter() {
        let (x, grad) = (random(3, 70_001), random(4, 70_001));
        assert_same_bits(|| vec![forward(&x), backward(&x, &grad)]);
    }
}
