//! One batch, what should come of it, and how far off a backend is.

use anyhow::Context;
use burn::backend::Autodiff;
use burn::tensor::{Element, Int, Tensor, TensorData, backend::Backend};
use burn_ndarray::NdArray;
use recall_loss::{Mixup, RecallAtKLoss, RecallBackend, plain};

/// A gradient shorter than this is none: its digits are all rounding.
const NO_GRADIENT: f64 = 1e-6;

/// Embeddings `[n, d]`, labels, settings, and the right result.
pub struct Case {
    pub name: String,
    pub embeddings: Vec<f64>,
    pub labels: Vec<i64>,
    pub mixup: Option<Mixup>,
    pub loss: RecallAtKLoss,
    pub expected: Outcome,
    /// Relative errors that rounding to f32 explains, of the loss and of the gradient.
    pub bounds: (f64, f64),
}

/// Loss, gradient, and the recall of each query where it is known.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    pub loss: f64,
    pub grad: Vec<f64>,
    pub recall: Option<Vec<f64>>,
}

/// How far an [`Outcome`] is off.
pub struct Errors {
    /// Largest absolute one.
    pub recall: f64,
    /// Relative.
    pub loss: f64,
    /// Relative, by Frobenius norms.
    pub grad: f64,
}

impl Case {
    pub fn allows(&self, errors: &Errors) -> bool {
        let (loss, grad) = self.bounds;
        // A single query is not averaged over.
        errors.recall <= 10.0 * loss && errors.loss <= loss && errors.grad <= grad
    }

    /// Fills in `expected` by plain tensor operations in f64.
    pub fn solved(mut self) -> anyhow::Result<Self> {
        type Oracle = NdArray<f64>;
        let embeddings = self.embeddings::<Oracle>(&Default::default());
        let batch = self.loss.batch(&self.labels, self.mixup.as_ref())?;
        let (recall, grad) = plain::recall_and_grad(embeddings, &batch);
        self.expected = outcome(
            recall.clone().mean().neg().add_scalar(1.0),
            grad,
            Some(recall),
        );
        Ok(self)
    }

    pub fn by_kernels<B: RecallBackend>(&self, device: &B::Device) -> anyhow::Result<Errors> {
        let output = self.loss.value_and_grad(
            self.embeddings::<B>(device),
            self.labels::<B>(device),
            self.mixup.as_ref(),
        )?;
        Ok(self.errors(&outcome(output.loss, output.grad, Some(output.recall))))
    }

    pub fn by_autodiff<B: RecallBackend>(&self, device: &B::Device) -> anyhow::Result<Errors> {
        let embeddings = self.embeddings::<Autodiff<B>>(device).require_grad();
        let labels = self.labels::<Autodiff<B>>(device);
        let value = match &self.mixup {
            Some(mixup) => self.loss.forward_mixed(embeddings.clone(), labels, mixup),
            None => self.loss.forward(embeddings.clone(), labels),
        }?;
        let grads = value.backward();
        let grad = embeddings
            .grad(&grads)
            .context("the loss has no gradient")?;
        Ok(self.errors(&outcome(value.inner(), grad, None)))
    }

    pub fn by_plain<B: Backend>(&self, device: &B::Device) -> anyhow::Result<Errors> {
        let batch = self.loss.batch(&self.labels, self.mixup.as_ref())?;
        let (recall, grad) = plain::recall_and_grad(self.embeddings::<B>(device), &batch);
        let loss = recall.clone().mean().neg().add_scalar(1.0);
        Ok(self.errors(&outcome(loss, grad, Some(recall))))
    }

    fn embeddings<B: Backend>(&self, device: &B::Device) -> Tensor<B, 2> {
        let n = self.labels.len();
        let shape = [n, self.embeddings.len() / n];
        let data = TensorData::new(self.embeddings.clone(), shape).convert::<B::FloatElem>();
        Tensor::from_data(data, (device, <B::FloatElem as Element>::dtype()))
    }

    fn labels<B: Backend>(&self, device: &B::Device) -> Tensor<B, 1, Int> {
        let data = TensorData::new(self.labels.clone(), [self.labels.len()]);
        Tensor::from_data(data, device)
    }

    fn errors(&self, actual: &Outcome) -> Errors {
        let expected = &self.expected;
        let recall = match (&actual.recall, &expected.recall) {
            (Some(actual), Some(expected)) if actual.len() == expected.len() => actual
                .iter()
                .zip(expected)
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, worse),
            (Some(_), Some(_)) => f64::INFINITY,
            _ => 0.0,
        };
        let difference = norm(actual.grad.iter().zip(&expected.grad).map(|(a, b)| a - b));
        Errors {
            recall,
            loss: (actual.loss - expected.loss).abs() / expected.loss.abs(),
            grad: difference / norm(expected.grad.iter().copied()).max(NO_GRADIENT),
        }
    }
}

/// The larger one; NaN is the largest of all.
fn worse(a: f64, b: f64) -> f64 {
    if b > a || b.is_nan() { b } else { a }
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|value| value * value).sum::<f64>().sqrt()
}

fn outcome<B: Backend>(
    loss: Tensor<B, 1>,
    grad: Tensor<B, 2>,
    recall: Option<Tensor<B, 1>>,
) -> Outcome {
    Outcome {
        loss: host(loss).into_iter().sum(),
        grad: host(grad),
        recall: recall.map(host),
    }
}

fn host<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}
