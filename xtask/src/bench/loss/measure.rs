//! Our side of a case.

use std::time::Instant;

use anyhow::{Context, ensure};
use burn::tensor::{Int, Tensor, TensorData};
use recall_loss::{RecallAtKLossConfig, RecallBackend};
use serde::{Deserialize, Serialize};

use super::backend::BackendName;
use super::case::Case;
use crate::bench::agreement::Computed;
use crate::bench::machine::peak_memory;
use crate::bench::process::Measure;

/// What is measured of a case, ours or a peer's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Best of the repetitions.
    pub seconds: f64,
    pub median_seconds: f64,
    pub loss: f64,
    /// Euclidean norm of the whole gradient.
    pub grad_norm: f64,
    /// Of the whole process, but without the products below.
    pub peak_mb: f64,
    /// Best time of the two products that cannot be avoided.
    pub matmul_seconds: f64,
}

impl Measured {
    /// What has to be the same on both sides.
    pub fn computed(&self) -> Computed {
        let Self {
            loss, grad_norm, ..
        } = *self;
        Computed { loss, grad_norm }
    }
}

impl Measure for Case {
    const COMMAND: &'static str = "loss-case";
    type Measured = Measured;

    fn measure(&self) -> anyhow::Result<Self::Measured> {
        match self.backend {
            BackendName::Flex => on::<burn_flex::Flex>(&Default::default(), self),
            BackendName::Ndarray => on::<burn_ndarray::NdArray>(&Default::default(), self),
            #[cfg(feature = "cuda")]
            BackendName::Cuda => on::<burn_cuda::Cuda>(&Default::default(), self),
            #[cfg(feature = "wgpu")]
            BackendName::Wgpu => on::<burn_wgpu::Wgpu>(&Default::default(), self),
        }
    }
}

/// Measures one case on one backend.
fn on<B: RecallBackend>(device: &B::Device, case: &Case) -> anyhow::Result<Measured> {
    let rows = TensorData::new(case.embeddings(), [case.items, case.dim]);
    let embeddings = Tensor::<B, 2>::from_data(rows, device);
    let classes = TensorData::new(case.labels(), [case.items]);
    let classes = Tensor::<B, 1, Int>::from_data(classes, device);
    let mixup = case.pairs();
    let loss = RecallAtKLossConfig::new()
        .with_ks(case.ks.clone())
        .with_tau_k(vec![case.tau_k])
        .with_tau_rank(case.tau_rank)
        .init()?;

    let mut output = None;
    let (seconds, median_seconds) = timed::<B>(device, case.budget, || {
        // The last output goes first: its memory is not this repetition's.
        output = None;
        output = Some(loss.value_and_grad(embeddings.clone(), classes.clone(), mixup.as_ref())?);
        Ok(())
    })?;
    let output = output.context("nothing was computed")?;
    let peak_mb = peak_memory()? as f64 / 1e6;
    let value = output.loss.into_data().iter::<f64>().sum();
    let grad = output.grad.into_data();
    let grad_norm = grad.iter::<f64>().map(|x| x * x).sum::<f64>().sqrt();
    ensure!(
        f64::is_finite(value) && grad_norm.is_finite(),
        "the loss is {value} and the norm of its gradient {grad_norm}"
    );
    let (matmul_seconds, _) = timed::<B>(device, case.budget, || {
        unavoidable_products(&embeddings);
        Ok(())
    })?;
    Ok(Measured {
        seconds,
        median_seconds,
        loss: value,
        grad_norm,
        peak_mb,
        matmul_seconds,
    })
}

/// `[n, d] × [d, n]`, the similarities, and `[n, n] × [n, d]`, what their gradient has to be
/// multiplied with; by blocks of rows where `n × n` numbers are many.
fn unavoidable_products<B: RecallBackend>(embeddings: &Tensor<B, 2>) {
    let [items, _] = embeddings.dims();
    let step = if items <= 16_000 { items } else { 2_048 };
    for start in (0..items).step_by(step) {
        let rows = embeddings.clone().narrow(0, start, step.min(items - start));
        let similarities = rows.matmul(embeddings.clone().transpose());
        let product = similarities.matmul(embeddings.clone());
        // One number is looked at, lest a backend that computes on demand does not.
        product.slice([0..1, 0..1]).into_data();
    }
}

/// Best and median seconds after a warm-up, which itself counts if it took the whole budget.
fn timed<B: RecallBackend>(
    device: &B::Device,
    budget: f64,
    mut work: impl FnMut() -> anyhow::Result<()>,
) -> anyhow::Result<(f64, f64)> {
    let mut once = || -> anyhow::Result<f64> {
        B::sync(device).context("the device failed")?;
        let start = Instant::now();
        work()?;
        B::sync(device).context("the device failed")?;
        Ok(start.elapsed().as_secs_f64())
    };
    let warm = once()?;
    if warm > budget {
        return Ok((warm, warm));
    }
    let repetitions = ((budget / warm) as usize).clamp(3, 15);
    let mut times = Vec::with_capacity(repetitions);
    for _ in 0..repetitions {
        times.push(once()?);
    }
    times.sort_by(f64::total_cmp);
    Ok((times[0], times[times.len() / 2]))
}
