//! Random batches and what every test does with them.

use std::ops::Range;

use burn::backend::Autodiff;
use burn::tensor::{Element, Int, Tensor, TensorData, backend::Backend};
use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use recall_loss::{
    LossAndGrad, LossError, Mixup, RecallAtKLoss, RecallBackend, RecallBatch, SmoothAp, plain,
};

/// What the losses have in common.
pub trait Loss {
    fn batch(&self, labels: &[i64], mixup: Option<&Mixup>) -> RecallBatch;

    fn forward<B: RecallBackend>(
        &self,
        embeddings: Tensor<B, 2>,
        labels: Tensor<B, 1, Int>,
        mixup: Option<&Mixup>,
    ) -> Result<Tensor<B, 1>, LossError>;

    fn value_and_grad<B: RecallBackend>(
        &self,
        embeddings: Tensor<B, 2>,
        labels: Tensor<B, 1, Int>,
        mixup: Option<&Mixup>,
    ) -> Result<LossAndGrad<B>, LossError>;

    fn value_and_grad_of<B: RecallBackend>(
        &self,
        rows: Range<usize>,
        embeddings: Tensor<B, 2>,
        labels: Tensor<B, 1, Int>,
        mixup: Option<&Mixup>,
    ) -> Result<LossAndGrad<B>, LossError>;
}

macro_rules! is_a_loss {
    ($name:ident) => {
        impl Loss for $name {
            fn batch(&self, labels: &[i64], mixup: Option<&Mixup>) -> RecallBatch {
                $name::batch(self, labels, mixup).unwrap()
            }

            fn forward<B: RecallBackend>(
                &self,
                embeddings: Tensor<B, 2>,
                labels: Tensor<B, 1, Int>,
                mixup: Option<&Mixup>,
            ) -> Result<Tensor<B, 1>, LossError> {
                match mixup {
                    Some(mixup) => $name::forward_mixed(self, embeddings, labels, mixup),
                    None => $name::forward(self, embeddings, labels),
                }
            }

            fn value_and_grad<B: RecallBackend>(
                &self,
                embeddings: Tensor<B, 2>,
                labels: Tensor<B, 1, Int>,
                mixup: Option<&Mixup>,
            ) -> Result<LossAndGrad<B>, LossError> {
                $name::value_and_grad(self, embeddings, labels, mixup)
            }

            fn value_and_grad_of<B: RecallBackend>(
                &self,
                rows: Range<usize>,
                embeddings: Tensor<B, 2>,
                labels: Tensor<B, 1, Int>,
                mixup: Option<&Mixup>,
            ) -> Result<LossAndGrad<B>, LossError> {
                $name::value_and_grad_of(self, rows, embeddings, labels, mixup)
            }
        }
    };
}

is_a_loss!(RecallAtKLoss);
is_a_loss!(SmoothAp);

/// Embeddings on the host, `[n, d]`, with their labels.
#[derive(Debug, Clone)]
pub struct HostBatch {
    pub values: Vec<f64>,
    pub dim: usize,
    pub labels: Vec<i64>,
}

/// Loss and gradient on the host.
pub struct Outcome {
    pub loss: f64,
    pub grad: Vec<f64>,
}

impl HostBatch {
    /// Unit rows in shuffled order; `sizes` are the class sizes, `noise` how far an item strays from
    /// its class.
    pub fn random(seed: u64, sizes: &[usize], dim: usize, noise: f64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut rows = Vec::new();
        for (class, &size) in sizes.iter().enumerate() {
            let centre: Vec<f64> = (0..dim).map(|_| rng.random_range(-1.0..1.0)).collect();
            for _ in 0..size {
                let row: Vec<f64> = centre
                    .iter()
                    .map(|c| c + noise * rng.random_range(-1.0..1.0))
                    .collect();
                let norm = row.iter().map(|v| v * v).sum::<f64>().sqrt();
                rows.push((
                    class as i64 * 3 - 4,
                    row.iter().map(|v| v / norm).collect::<Vec<_>>(),
                ));
            }
        }
        rows.shuffle(&mut rng);
        Self {
            labels: rows.iter().map(|(label, _)| *label).collect(),
            values: rows.into_iter().flat_map(|(_, row)| row).collect(),
            dim,
        }
    }

    /// The batch with every value rounded to 1/64: f32 then holds its similarities exactly, so that a
    /// comparison with f64 sees the loss alone. Its rows are no longer of unit length.
    pub fn on_a_grid(mut self) -> Self {
        for value in &mut self.values {
            *value = (*value * 64.0).round() / 64.0;
        }
        self
    }

    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Row `i` of the result is row `order[i]` of `self`.
    pub fn permuted(&self, order: &[usize]) -> Self {
        Self {
            values: order
                .iter()
                .flat_map(|&row| self.row(row).to_vec())
                .collect(),
            dim: self.dim,
            labels: order.iter().map(|&row| self.labels[row]).collect(),
        }
    }

    pub fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.dim..(row + 1) * self.dim]
    }

    pub fn tensors<B: Backend>(&self) -> (Tensor<B, 2>, Tensor<B, 1, Int>) {
        let device = Default::default();
        let data =
            TensorData::new(self.values.clone(), [self.len(), self.dim]).convert::<B::FloatElem>();
        let labels = TensorData::new(self.labels.clone(), [self.len()]);
        let dtype = <B::FloatElem as Element>::dtype();
        (
            Tensor::from_data(data, (&device, dtype)),
            Tensor::from_data(labels, &device),
        )
    }

    /// In every way that there is.
    pub fn by_all_ways<B: RecallBackend>(
        &self,
        loss: &impl Loss,
        mixup: Option<&Mixup>,
    ) -> [(&'static str, Outcome); 4] {
        [
            ("autodiff", self.by_autodiff::<B>(loss, mixup)),
            ("plain formula", self.by_plain_formula::<B>(loss, mixup)),
            (
                "registered gradient",
                self.by_registered_gradient::<B>(loss, mixup),
            ),
            ("formula", self.by_formula::<B>(loss, mixup)),
        ]
    }

    /// By plain tensor operations and Burn's autodiff through each of them.
    pub fn by_autodiff<B: Backend>(&self, loss: &impl Loss, mixup: Option<&Mixup>) -> Outcome {
        let (embeddings, _) = self.tensors::<Autodiff<B>>();
        let embeddings = embeddings.require_grad();
        let batch = loss.batch(&self.labels, mixup);
        differentiated(&embeddings, plain::loss(embeddings.clone(), &batch))
    }

    /// By plain tensor operations and the chain rule written out.
    pub fn by_plain_formula<B: Backend>(&self, loss: &impl Loss, mixup: Option<&Mixup>) -> Outcome {
        let (embeddings, _) = self.tensors::<B>();
        let batch = loss.batch(&self.labels, mixup);
        let (recall, grad) = plain::recall_and_grad(embeddings, &batch);
        Outcome {
            loss: 1.0 - host(recall.mean())[0],
            grad: host(grad),
        }
    }

    /// By what the backend brings, registered with Burn's autodiff.
    pub fn by_registered_gradient<B: RecallBackend>(
        &self,
        loss: &impl Loss,
        mixup: Option<&Mixup>,
    ) -> Outcome {
        let (embeddings, labels) = self.tensors::<Autodiff<B>>();
        let embeddings = embeddings.require_grad();
        let value = loss.forward(embeddings.clone(), labels, mixup).unwrap();
        differentiated(&embeddings, value)
    }

    /// By what the backend brings.
    pub fn by_formula<B: RecallBackend>(&self, loss: &impl Loss, mixup: Option<&Mixup>) -> Outcome {
        let (embeddings, labels) = self.tensors::<B>();
        let output = loss.value_and_grad(embeddings, labels, mixup).unwrap();
        Outcome {
            loss: host(output.loss)[0],
            grad: host(output.grad),
        }
    }
}

/// All pairs of each class, with weights in eighths: exact in f32.
pub fn mixup_on_a_grid(labels: &[i64], seed: u64) -> Mixup {
    let exact = Mixup::all_pairs(labels, seed);
    let eighths = |alpha: f64| (alpha * 8.0).round() / 8.0;
    Mixup::new(
        exact.pairs().map(|(first, _, _)| first).collect(),
        exact.pairs().map(|(_, second, _)| second).collect(),
        exact.pairs().map(|(_, _, alpha)| eighths(alpha)).collect(),
    )
    .unwrap()
}

fn differentiated<B: Backend>(
    embeddings: &Tensor<Autodiff<B>, 2>,
    value: Tensor<Autodiff<B>, 1>,
) -> Outcome {
    let grads = value.backward();
    let grad = embeddings.grad(&grads);
    Outcome {
        loss: host(value.inner())[0],
        grad: host(grad.expect("embeddings take part in the loss")),
    }
}

pub fn host<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// Frobenius norm of the difference over that of what is expected.
pub fn relative_error(actual: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(actual.len(), expected.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let difference = norm(&mut actual.iter().zip(expected).map(|(a, b)| a - b));
    difference / norm(&mut expected.iter().copied()).max(f64::MIN_POSITIVE)
}

/// A permutation of `0..n`.
pub fn shuffled(n: usize, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    order
}
