//! Adam as tensor operations.

use burn::tensor::Scalar;
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;

use crate::{AdamStep, WeightDecay};

/// The update of [`NnBackend::adam_step`](crate::NnBackend::adam_step) by tensor operations alone: the
/// operations of Burn's `Adam` and `AdamW`, in their order.
pub fn adam_step<B: Backend>(
    step: &AdamStep,
    param: FloatTensor<B>,
    grad: FloatTensor<B>,
    moment_1: FloatTensor<B>,
    moment_2: FloatTensor<B>,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let times = |tensor, factor: f64| B::float_mul_scalar(tensor, Scalar::Float(factor));
    let over = |tensor, divisor: f32| B::float_div_scalar(tensor, Scalar::Float(divisor.into()));
    let plus = |tensor, term: f32| B::float_add_scalar(tensor, Scalar::Float(term.into()));

    let grad = match step.decay {
        WeightDecay::Gradient(penalty) if penalty != 0.0 => {
            B::float_add(times(param.clone(), penalty.into()), grad)
        }
        _ => grad,
    };
    let mixed = |moment, new, beta: f32| {
        B::float_add(times(moment, beta.into()), times(new, (1.0 - beta).into()))
    };
    let [beta_1, beta_2] = step.betas;
    let moment_1 = mixed(moment_1, grad.clone(), beta_1);
    let moment_2 = mixed(moment_2, B::float_mul(grad.clone(), grad), beta_2);

    let (first, second) = (moment_1.clone(), moment_2.clone());
    let [correction_1, correction_2] = step.corrections();
    let (kept, direction) = match step.decay {
        WeightDecay::Gradient(_) => {
            let root = correction_2.sqrt();
            let first = times(first, (root / correction_1).into());
            let second = plus(B::float_sqrt(second), step.epsilon * root);
            (param, B::float_div(first, second))
        }
        WeightDecay::Decoupled(decay) => {
            let decay = step.learning_rate * f64::from(decay);
            let kept = match decay == 0.0 {
                true => param,
                false => times(param, 1.0 - decay),
            };
            let second = B::float_sqrt(over(second, correction_2));
            let direction = B::float_div(over(first, correction_1), plus(second, step.epsilon));
            (kept, direction)
        }
    };
    let param = B::float_sub(kept, times(direction, step.learning_rate));
    (param, moment_1, moment_2)
}
