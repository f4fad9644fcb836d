use burn::nn::Linear;
use burn::tensor::{Tensor, backend::Backend};

use crate::NnBackend;

/// A linear layer as Burn computes and differentiates it, for heads, which may have outputs of any number.
///
/// The gradient of the rows is a product with the transposed weight. Some of CubeCL's products (cubek 0.2), which it chooses for
/// few rows and many columns, are wrong there for outputs of 8, 24, 40 … numbers
/// ([cubek#441](https://github.com/tracel-ai/cubek/pull/441)), so outputs are filled up to a multiple of 64, as the inner lengths of
/// all other products of the models are, and what was added is dropped again.
///
/// # Shapes
///
/// - rows: `[n, in]`
/// - output: `[n, out]`
pub fn project<B: NnBackend>(rows: Tensor<B, 2>, layer: &Linear<B>) -> Tensor<B, 2> {
    let [_, out] = layer.weight.dims();
    match B::MISREADS_INNER_LENGTHS && !out.is_multiple_of(WHOLE) {
        true => widened(rows, layer),
        false => layer.forward(rows),
    }
}

/// What an inner length is a multiple of, to be safe.
const WHOLE: usize = 64;

/// The layer with more outputs, which are dropped.
fn widened<B: Backend>(rows: Tensor<B, 2>, layer: &Linear<B>) -> Tensor<B, 2> {
    let weight = layer.weight.val();
    let [features, out] = weight.dims();
    let more = out.next_multiple_of(WHOLE) - out;
    let zeros = Tensor::zeros([features, more], (&weight.device(), weight.dtype()));
    let wide = rows.matmul(Tensor::cat(vec![weight, zeros], 1));
    let [count, _] = wide.dims();
    let output = wide.slice([0..count, 0..out]);
    match &layer.bias {
        Some(bias) => output + bias.val().unsqueeze(),
        None => output,
    }
}

#[cfg(all(test, feature = "ndarray"))]
mod tests {
    use burn::backend::Autodiff;
    use burn::nn::LinearConfig;
    use burn::tensor::{Distribution, TensorData, Tolerance};
    use burn_ndarray::NdArray;

    use super::*;

    type B = Autodiff<NdArray<f64>>;

    #[test]
    fn outputs_more_that_are_dropped_change_nothing() {
        let device = Default::default();
        for bias in [true, false] {
            let layer = LinearConfig::new(5, 24).with_bias(bias).init::<B>(&device);
            let drawn = Tensor::<B, 2>::random([3, 5], Distribution::Default, &device);
            let pull = Tensor::<B, 2>::random([3, 24], Distribution::Default, &device);
            let of = |forward: &dyn Fn(Tensor<B, 2>) -> Tensor<B, 2>| -> [TensorData; 3] {
                let rows = drawn.clone().detach().require_grad();
                let output = forward(rows.clone());
                let gradients = (output.clone() * pull.clone()).sum().backward();
                [
                    output.into_data(),
                    rows.grad(&gradients).unwrap().into_data(),
                    layer.weight.grad(&gradients).unwrap().into_data(),
                ]
            };
            let plain = of(&|rows| layer.forward(rows));
            let wide = of(&|rows| widened(rows, &layer));
            for (plain, wide) in plain.iter().zip(&wide) {
                wide.assert_approx_eq::<f64>(plain, Tolerance::absolute(1e-12));
            }
        }
    }
}
