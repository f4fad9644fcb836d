use burn::nn::Linear;
use burn::tensor::{Tensor, backend::Backend};

/// What `linear` computes, with all leading axes as one: of an input of three axes Burn computes a weight
/// gradient for each index of the first axis and adds them up.
///
/// # Shapes
///
/// - input: `[…, in]`
/// - output: `[…, out]`
pub fn linear<B: Backend, const D: usize>(input: Tensor<B, D>, linear: &Linear<B>) -> Tensor<B, D> {
    let mut shape = input.dims();
    let rows: usize = shape[..D - 1].iter().product();
    let output = linear.forward(input.reshape([rows, shape[D - 1]]));
    shape[D - 1] = output.dims()[1];
    output.reshape(shape)
}
