//! Generalised-mean pooling (Radenović, Tolias and Chum, TPAMI 2019):
//! `(mean over a plane of max(x, 10⁻⁶)ᵖ)^(1/p)`.

use std::hint::select_unpredictable;

use pulp::Arch;
use rayon::prelude::*;

use super::TASK;
use super::exp::{exp, ln};
use super::sums::{largest, sums};

/// Smaller numbers count as this one and have no gradient.
const LEAST: f32 = 1e-6;

/// Gradients for the inputs of [`forward`].
pub(crate) struct GemGrads {
    /// Of the shape of `x`.
    pub(crate) input: Vec<f32>,
    /// For the exponent.
    pub(crate) exponent: f32,
}

/// Pools planes `x` `[planes, positions]` with the exponent `p`, above zero; the output is `[planes]`.
pub(crate) fn forward(x: &[f32], positions: usize, p: f32) -> Vec<f32> {
    assert!(positions > 0 && x.len().is_multiple_of(positions));
    let mut output = vec![0.0; x.len() / positions];
    let planes = (TASK / positions).max(1);
    let arch = Arch::new();
    let tasks = output
        .par_chunks_mut(planes)
        .zip(x.par_chunks(planes * positions));
    tasks.for_each_init(
        || Buffers::new(positions),
        |buffers, (output, x)| {
            arch.dispatch(
                #[inline(always)]
                || {
                    for (output, x) in output.iter_mut().zip(x.chunks_exact(positions)) {
                        *output = buffers.pool(x, p).value;
                    }
                },
            );
        },
    );
    output
}

/// Gradients, given `grad` `[planes]` for the output.
pub(crate) fn backward(x: &[f32], positions: usize, p: f32, grad: &[f32]) -> GemGrads {
    assert!(positions > 0);
    assert_eq!(x.len(), grad.len() * positions);
    let mut input = vec![0.0; x.len()];
    let planes = (TASK / positions).max(1);
    let arch = Arch::new();
    let sources = x
        .par_chunks(planes * positions)
        .zip(grad.par_chunks(planes));
    let tasks = input.par_chunks_mut(planes * positions).zip(sources);
    // One part a task, added up in their order.
    let parts: Vec<f32> = tasks
        .map_init(
            || Buffers::new(positions),
            |buffers, (input, (x, grad))| {
                arch.dispatch(
                    #[inline(always)]
                    || {
                        let planes = x.chunks_exact(positions).zip(grad);
                        let planes = input.chunks_exact_mut(positions).zip(planes);
                        let mut exponent = 0.0;
                        for (input, (x, &grad)) in planes {
                            exponent += buffers.backward(input, x, p, grad);
                        }
                        exponent
                    },
                )
            },
        )
        .collect();
    GemGrads {
        input,
        exponent: parts.iter().sum(),
    }
}

/// Room for one plane.
struct Buffers {
    /// Logarithms, less that of the largest number.
    logarithms: Vec<f32>,
    /// `(x / largest)ᵖ`.
    powers: Vec<f32>,
}

/// What is known of a plane once it is pooled.
struct Pooled {
    value: f32,
    /// Sum of [`Buffers::powers`].
    sum: f32,
    /// Logarithm of their mean.
    logarithm: f32,
}

impl Buffers {
    fn new(positions: usize) -> Self {
        Self {
            logarithms: vec![0.0; positions],
            powers: vec![0.0; positions],
        }
    }

    #[inline(always)]
    fn pool(&mut self, x: &[f32], p: f32) -> Pooled {
        for (logarithm, &x) in self.logarithms.iter_mut().zip(x) {
            // Not `max`: NaN stays NaN.
            *logarithm = ln(if x < LEAST { LEAST } else { x });
        }
        // Divided by the largest number, no power overflows. What is infinite is left so.
        let largest = largest(&self.logarithms);
        let shift = if largest.is_finite() { largest } else { 0.0 };
        for (logarithm, power) in self.logarithms.iter_mut().zip(&mut self.powers) {
            *logarithm -= shift;
            *power = exp(p * *logarithm);
        }
        let [sum] = sums([&self.powers], |[power]| [power]);
        let logarithm = ln(sum / x.len() as f32);
        Pooled {
            value: exp(shift + logarithm / p),
            sum,
            logarithm,
        }
    }

    /// Writes the gradient of a plane; returns what it adds to that of the exponent.
    #[inline(always)]
    fn backward(&mut self, input: &mut [f32], x: &[f32], p: f32, grad: f32) -> f32 {
        let pooled = self.pool(x, p);
        let scale = grad * pooled.value / pooled.sum;
        for ((input, &x), &power) in input.iter_mut().zip(x).zip(&self.powers) {
            // Half of the numbers may be below: no branch.
            *input = select_unpredictable(x < LEAST, 0.0, scale * power / x);
        }
        let [weighted] = sums([&self.logarithms, &self.powers], |[logarithm, power]| {
            [logarithm * power]
        });
        grad * pooled.value / p * (weighted / pooled.sum - pooled.logarithm / p)
    }
}

#[cfg(test)]
mod tests {
    use super::super::oracle::{assert_close, assert_same_bits, random, slopes, wide};
    use super::*;

    fn naive(x: &[f64], positions: usize, p: f64) -> Vec<f64> {
        x.chunks(positions)
            .map(|x| {
                let powers = x.iter().map(|x| x.max(f64::from(LEAST)).powf(p));
                (powers.sum::<f64>() / positions as f64).powf(1.0 / p)
            })
            .collect()
    }

    #[test]
    fn values_and_gradients_are_those_of_naive_loops() {
        for (planes, positions, p) in [(1, 1, 3.0), (5, 7, 1.0), (30, 49, 3.0), (4, 64, 12.5)] {
            let x = random(1, planes * positions);
            let grad = random(2, planes);
            let output = forward(&x, positions, p);
            let exact = naive(&wide(&x), positions, f64::from(p));
            assert_close(&output, &exact, 1e-5);
            let grads = backward(&x, positions, p, &grad);
            let weighted = |x: &[f64], p: f64| {
                let values = naive(x, positions, p);
                values
                    .iter()
                    .zip(&grad)
                    .map(|(a, &b)| a * f64::from(b))
                    .sum::<f64>()
            };
            let input = slopes(&wide(&x), |x| weighted(x, f64::from(p)));
            assert_close(&grads.input, &input, 1e-5);
            let exponent = slopes(&[f64::from(p)], |p| weighted(&wide(&x), p[0]));
            // With one position the exponent does not matter.
            if positions > 1 {
                assert_close(&[grads.exponent], &exponent, 1e-4);
            } else {
                assert!(grads.exponent.abs() < 1e-6);
            }
        }
    }

    #[test]
    fn nothing_overflows_on_the_way_and_nan_stays() {
        let close = |value: f32, exact: f32| (value - exact).abs() < 1e-5 * exact;
        assert!(close(forward(&[1e30; 4], 4, 7.0)[0], 1e30));
        assert!(close(
            forward(&[0.0, -1.0, -f32::INFINITY], 3, 3.0)[0],
            1e-6
        ));
        assert_eq!(forward(&[1.0, f32::INFINITY], 2, 3.0), [f32::INFINITY]);
        let output = forward(&[1.0, f32::NAN, 1.0, 1.0], 2, 3.0);
        assert!(output[0].is_nan() && !output[1].is_nan());
        let input = backward(&[1.0, f32::NAN, 1.0, 1.0], 2, 3.0, &[1.0, 1.0]).input;
        assert!(input[0].is_nan() && input[1].is_nan() && !input[2].is_nan());
        assert!(forward(&[], 4, 3.0).is_empty());
    }

    #[test]
    fn the_number_of_threads_does_not_matter() {
        let (x, grad) = (random(3, 1500 * 49), random(4, 1500));
        assert_same_bits(|| {
            let grads = backward(&x, 49, 3.0, &grad);
            vec![forward(&x, 49, 3.0), grads.input, vec![grads.exponent]]
        });
    }
}
