//! An update by Adam in one pass over the parameter, its gradient and its moments.
//!
//! The update is bound by memory: 28 bytes for each number, where tensor operations move several times as
//! much. So nothing is gained by fewer operations, and those of [`plain`](crate::plain::adam_step) are
//! done in their order, with their roundings.

use pulp::Arch;
use rayon::prelude::*;

use crate::{AdamStep, WeightDecay};

/// Numbers that a thread takes at once: four slices of them fit a core's own cache.
const CHUNK: usize = 1 << 14;

/// Updates `param` and its moments in place.
///
/// # Panics
///
/// If the slices differ in length.
pub(in crate::kernels) fn step(
    step: &AdamStep,
    param: &mut [f32],
    grad: &[f32],
    moment_1: &mut [f32],
    moment_2: &mut [f32],
) {
    let length = param.len();
    assert!([grad.len(), moment_1.len(), moment_2.len()] == [length; 3]);
    let factors = Factors::new(step);
    let update = match step.decay {
        WeightDecay::Gradient(_) => update::<false>,
        WeightDecay::Decoupled(_) => update::<true>,
    };
    param
        .par_chunks_mut(CHUNK)
        .zip(grad.par_chunks(CHUNK))
        .zip(moment_1.par_chunks_mut(CHUNK))
        .zip(moment_2.par_chunks_mut(CHUNK))
        .for_each(|(((param, grad), moment_1), moment_2)| {
            update(&factors, param, grad, moment_1, moment_2);
        });
}

/// What the numbers of an update are multiplied by.
#[derive(Clone, Copy)]
struct Factors {
    /// Added to the gradient, times the parameter.
    penalty: f32,
    betas: [f32; 2],
    /// What the parameter is multiplied by, where the decay is decoupled.
    keep: f32,
    corrections: [f32; 2],
    /// Of the first moment, for both corrections at once.
    combined: f32,
    epsilon: f32,
    rate: f32,
}

impl Factors {
    fn new(step: &AdamStep) -> Self {
        let corrections = step.corrections();
        let root = corrections[1].sqrt();
        let (penalty, keep, epsilon) = match step.decay {
            WeightDecay::Gradient(penalty) => (penalty, 1.0, step.epsilon * root),
            WeightDecay::Decoupled(decay) => {
                let keep = 1.0 - step.learning_rate * f64::from(decay);
                (0.0, keep as f32, step.epsilon)
            }
        };
        Self {
            penalty,
            betas: step.betas,
            keep,
            corrections,
            combined: root / corrections[0],
            epsilon,
            rate: step.learning_rate as f32,
        }
    }
}

fn update<const DECOUPLED: bool>(
    factors: &Factors,
    param: &mut [f32],
    grad: &[f32],
    moment_1: &mut [f32],
    moment_2: &mut [f32],
) {
    Arch::new().dispatch(
        #[inline(always)]
        || {
            // A copy: behind a reference they might be written to with the slices, for all the compiler
            // knows, and it would make no vectors.
            let factors = *factors;
            let moments = moment_1.iter_mut().zip(moment_2);
            for ((param, &grad), (first, second)) in param.iter_mut().zip(grad).zip(moments) {
                one::<DECOUPLED>(&factors, param, grad, first, second);
            }
        },
    );
}

/// Plain products and sums: the compiler makes vectors of them, and rounds as tensor operations do.
#[inline(always)]
fn one<const DECOUPLED: bool>(
    factors: &Factors,
    param: &mut f32,
    grad: f32,
    first: &mut f32,
    second: &mut f32,
) {
    let grad = match DECOUPLED {
        true => grad,
        false => *param * factors.penalty + grad,
    };
    let [beta_1, beta_2] = factors.betas;
    *first = *first * beta_1 + grad * (1.0 - beta_1);
    *second = *second * beta_2 + (grad * grad) * (1.0 - beta_2);
    let (kept, direction) = match DECOUPLED {
        true => {
            let [correction_1, correction_2] = factors.corrections;
            let root = (*second / correction_2).sqrt();
            let direction = (*first / correction_1) / (root + factors.epsilon);
            (*param * factors.keep, direction)
        }
        false => {
            let root = second.sqrt();
            (
                *param,
                (*first * factors.combined) / (root + factors.epsilon),
            )
        }
    };
    *param = kept - direction * factors.rate;
}
