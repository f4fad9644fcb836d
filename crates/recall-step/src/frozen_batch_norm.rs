use burn::module::{Module, Param};
use burn::tensor::{Tensor, backend::Backend};

/// Settings of [`FrozenBatchNorm`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrozenBatchNormConfig {
    /// Number of channels.
    pub channels: usize,
    /// Added to the variance. Default 10⁻⁵.
    pub epsilon: f64,
}

impl FrozenBatchNormConfig {
    /// The usual epsilon.
    pub fn new(channels: usize) -> Self {
        Self {
            channels,
            epsilon: 1e-5,
        }
    }

    /// A normalisation that changes nothing yet: mean and bias 0, variance and weight 1.
    pub fn init<B: Backend>(&self, device: &B::Device) -> FrozenBatchNorm<B> {
        let zeros = || Tensor::zeros([self.channels], device);
        let ones = || Tensor::ones([self.channels], device);
        FrozenBatchNorm {
            weight: Param::from_tensor(ones()),
            bias: Param::from_tensor(zeros()),
            running_mean: Param::from_tensor(zeros()).set_require_grad(false),
            running_var: Param::from_tensor(ones()).set_require_grad(false),
            epsilon: self.epsilon,
        }
    }
}

/// Batch normalisation with frozen statistics and a trainable affine map.
///
/// With the statistics fixed, an image's embedding no longer depends on what else is in its chunk.
/// That is what the [two-pass step](crate::TwoPass) needs, and how the paper fine-tunes ResNet-50.
#[derive(Module, Debug)]
pub struct FrozenBatchNorm<B: Backend> {
    /// `[channels]`: the trained scale (γ).
    pub weight: Param<Tensor<B, 1>>,
    /// `[channels]`: the trained shift (β).
    pub bias: Param<Tensor<B, 1>>,
    /// `[channels]`: the mean that is taken off.
    pub running_mean: Param<Tensor<B, 1>>,
    /// `[channels]`: the variance that is divided out.
    pub running_var: Param<Tensor<B, 1>>,
    epsilon: f64,
}

impl<B: Backend> FrozenBatchNorm<B> {
    /// Normalises each channel by the frozen statistics.
    ///
    /// # Shapes
    ///
    /// - input and output: `[n, channels, height, width]`
    pub fn forward(&self, input: Tensor<B, 4>) -> Tensor<B, 4> {
        let [_, channels, _, _] = input.dims();
        let shape = [1, channels, 1, 1];
        let [scale, shift] = self.scale_and_shift();
        input * scale.reshape(shape) + shift.reshape(shape)
    }

    /// `γ / √(σ² + ε)` and `β − μγ / √(σ² + ε)`, `[channels]` each: what the input is multiplied by and
    /// what is added then. A convolution before it can take both in, so that they cost nothing.
    pub fn scale_and_shift(&self) -> [Tensor<B, 1>; 2] {
        let variance = self.running_var.val().add_scalar(self.epsilon);
        let scale = self.weight.val() * variance.powf_scalar(-0.5);
        let shift = self.bias.val() - self.running_mean.val() * scale.clone();
        [scale, shift]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Distribution, Tolerance};
    use burn_flex::Flex;

    #[test]
    fn is_batch_norm_in_inference() {
        let device = Default::default();
        let frozen = FrozenBatchNormConfig::new(3).init::<Flex>(&device);
        let positive =
            |low| Tensor::<Flex, 1>::random([3], Distribution::Uniform(low, 2.0), &device);
        let frozen = FrozenBatchNorm {
            weight: Param::from_tensor(positive(0.5)),
            bias: Param::from_tensor(positive(-1.0)),
            running_mean: Param::from_tensor(positive(-1.0)),
            running_var: Param::from_tensor(positive(0.5)),
            ..frozen
        };
        let mut burns = burn::nn::BatchNormConfig::new(3).init::<Flex>(&device);
        burns.gamma = frozen.weight.clone();
        burns.beta = frozen.bias.clone();
        burns.running_mean = burn::module::RunningState::new(frozen.running_mean.val());
        burns.running_var = burn::module::RunningState::new(frozen.running_var.val());

        let input = Tensor::random([2, 3, 4, 5], Distribution::Default, &device);
        let expected = burns.forward(input.clone());
        let actual = frozen.forward(input);
        actual
            .into_data()
            .assert_approx_eq::<f32>(&expected.into_data(), Tolerance::default());
    }
}
