//! Steps that are taken to be measured.

use std::time::Instant;

use burn::module::AutodiffModule;
use burn::tensor::backend::AutodiffBackend;
use burn::tensor::{Distribution, ElementConversion, Tensor};
use recall_step::{StepError, StepOutput, TwoPass};

use crate::held::Held;
use crate::loss::Objective;
use crate::on_device::embedded;
use crate::precision::Preparation;
use crate::{Embedder, EngineBackend, EngineError, Inputs, LossFault, Optimiser, TrialSeconds};

/// A learning rate that leaves the weights as they are, bit for bit.
const NO_RATE: f64 = 0.0;

pub(crate) struct Trial<'a, B: AutodiffBackend, M> {
    pub model: &'a mut Held<M>,
    pub optimiser: &'a mut Optimiser<B>,
    pub preparation: Preparation,
    pub device: &'a B::Device,
}

impl<B: EngineBackend, M: AutodiffModule<B> + Embedder<B>> Trial<'_, B, M> {
    /// A step over chunks of `chunk` inputs, whatever its gradient is worth.
    pub fn step(self, inputs: Inputs<'_>, chunk: usize) -> Result<TrialSeconds, EngineError> {
        let two_pass = TwoPass { chunk, seed: 0 };
        let start = Instant::now();
        let output: Result<StepOutput<B, ()>, StepError<LossFault>> = two_pass.run(
            &**self.model,
            inputs.count(),
            |model, rows| embedded(model, inputs, rows, self.preparation, self.device),
            // The loss is measured by itself: any gradient will do.
            |embeddings| Ok((embeddings, ())),
        );
        let output = output?;
        let gradients = output.gradients;
        let norm = self.optimiser.gradient_norm(&**self.model, &gradients);
        let passes = start.elapsed().as_secs_f64();
        let start = Instant::now();
        // No rate at all times what is not finite is not zero.
        if norm.is_finite() {
            self.model
                .change(|model| (self.optimiser).step(NO_RATE, model, gradients, norm));
        }
        // Waits for the device. One that fails does so again where it counts.
        let _ = B::sync(self.device);
        Ok(TrialSeconds {
            passes,
            update: start.elapsed().as_secs_f64(),
        })
    }
}

/// Seconds of the loss of random embeddings with these labels, `dim` numbers each.
pub(crate) fn loss<B: EngineBackend>(
    loss: &Objective<B>,
    labels: &[i64],
    dim: usize,
    device: &B::Device,
) -> Result<f64, LossFault> {
    let drawn = Tensor::<B::InnerBackend, 2>::random(
        [labels.len(), dim],
        Distribution::Normal(0.0, 1.0),
        device,
    );
    let lengths = (drawn.clone() * drawn.clone()).sum_dim(1).sqrt();
    let embeddings = drawn / lengths;
    let mut seconds = 0.0;
    // The first time allocates, and compiles kernels.
    for _ in 0..2 {
        let start = Instant::now();
        let found = loss.try_value_and_grad(embeddings.clone(), labels)?.value;
        std::hint::black_box(found.grad.sum().into_scalar().elem::<f32>());
        seconds = start.elapsed().as_secs_f64();
    }
    Ok(seconds)
}
