//! A head on features that were computed before: linear, or with a hidden layer beside.

use burn::module::{Module, Param};
use burn::nn::{Dropout, DropoutConfig, Initializer, Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Tensor, TensorData, backend::Backend};
use recall_nn::{NnBackend, project};
use recall_step::l2_normalise;

use super::head::not_of_width;
use super::principal::Principal;
use super::{Embedder, FeatureStatistics, Start};
use crate::{EngineError, Inputs};

/// The share of the largest variance that others are taken for in whitening: a direction in which training
/// rows hardly vary is not blown up by more than a thousand times the strongest.
const FLOOR: f64 = 1e-6;

/// The share of its mean below which a number has no deviation: single precision knows none.
const CONSTANT: f64 = 1e-7;

/// Settings of [`FeatureHead`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FeatureHeadConfig {
    /// Numbers of a row.
    pub features: usize,
    /// Length of an embedding.
    pub dim: usize,
    /// Numbers of the hidden layer; none for a linear head.
    pub hidden: Option<usize>,
    /// Share of a row's numbers that are dropped in training, the others scaled up by as much.
    pub dropout: f64,
}

impl FeatureHeadConfig {
    /// Creates the head with random weights, which takes rows as they are: mean 0 and scale 1.
    pub fn init<B: Backend>(&self, device: &B::Device) -> FeatureHead<B> {
        let Self { features, dim, .. } = *self;
        let fixed = |values| Param::from_tensor(values).set_require_grad(false);
        let linear = LinearConfig::new(features, dim).init(device);
        let hidden = |hidden| LinearConfig::new(features, hidden).init(device);
        // The bias of the linear map is enough for both. Zero, so that the head begins as a linear one.
        let out = |hidden| {
            LinearConfig::new(hidden, dim)
                .with_bias(false)
                .with_initializer(Initializer::Zeros)
                .init(device)
        };
        FeatureHead {
            mean: fixed(Tensor::zeros([features], device)),
            scale: fixed(Tensor::ones([features], device)),
            linear,
            hidden: self.hidden.map(hidden),
            out: self.hidden.map(out),
            dropout: DropoutConfig::new(self.dropout).init(),
        }
    }
}

/// A small model on rows of features, such as embeddings that another model gave.
///
/// With `x̂ = (x − mean) · scale`, number by number and both fixed, an embedding is the direction of
/// `W x̂ + b`, or with a hidden layer of `W x̂ + b + V relu(U x̂ + c)`, where `V` is zero at first.
/// [`Start`] says what `mean`, `scale` and `W` begin with.
#[derive(Module, Debug)]
pub struct FeatureHead<B: Backend> {
    mean: Param<Tensor<B, 1>>,
    scale: Param<Tensor<B, 1>>,
    linear: Linear<B>,
    hidden: Option<Linear<B>>,
    out: Option<Linear<B>>,
    dropout: Dropout,
}

impl<B: NnBackend> Embedder<B> for FeatureHead<B> {
    fn embed(&self, images: Tensor<B, 4>) -> Tensor<B, 2> {
        self.embed_features(images.flatten(1, 3))
    }

    fn embed_features(&self, features: Tensor<B, 2>) -> Tensor<B, 2> {
        let features = features - self.mean.val().unsqueeze();
        let features = self
            .dropout
            .forward(features * self.scale.val().unsqueeze());
        let straight = project(features.clone(), &self.linear);
        l2_normalise(match (&self.hidden, &self.out) {
            (Some(hidden), Some(out)) => straight + project(relu(project(features, hidden)), out),
            _ => straight,
        })
    }

    fn refusal(&self, inputs: &Inputs<'_>) -> Option<String> {
        match inputs {
            Inputs::Pixels(_) | Inputs::Shapes(_) => {
                Some("the model is a head on rows of features and takes no images".into())
            }
            Inputs::Features(_) => not_of_width(inputs, self.mean.dims()[0]),
        }
    }

    fn started(self, start: Start, statistics: &FeatureStatistics) -> Result<Self, EngineError> {
        let [features, dim] = self.linear.weight.dims();
        let refuse = |problem: String| Err(EngineError::Start(problem));
        if statistics.dim() != features {
            return refuse(format!(
                "the statistics are those of rows of {} features, and the head takes {features}",
                statistics.dim()
            ));
        }
        if statistics.rows() == 0 {
            return refuse("a head cannot start from the statistics of no rows".into());
        }
        let Beginning {
            mean,
            scale,
            weight,
        } = Beginning::new(start, statistics, dim)?;
        let device = self.linear.weight.device();
        let vector = |values: Vec<f64>| Tensor::<B, 1>::from_data(&values[..], &device);
        let fixed = |values| Param::from_tensor(vector(values)).set_require_grad(false);
        let mut linear = self.linear;
        if let Some(weight) = weight {
            let weight = TensorData::new(weight, [features, dim]);
            linear.weight = Param::from_tensor(Tensor::from_data(weight, &device));
        }
        linear.bias = Some(Param::from_tensor(Tensor::zeros([dim], &device)));
        let out = self.out.map(|out| Linear {
            weight: Param::from_tensor(out.weight.val().zeros_like()),
            ..out
        });
        Ok(Self {
            mean: fixed(mean),
            scale: fixed(scale),
            linear,
            out,
            ..self
        })
    }
}

/// What a head begins with.
struct Beginning {
    /// `[features]`
    mean: Vec<f64>,
    /// `[features]`
    scale: Vec<f64>,
    /// `[features, dim]`, as Burn lays a linear layer out; none if it stays as it was drawn.
    weight: Option<Vec<f64>>,
}

impl Beginning {
    fn new(start: Start, statistics: &FeatureStatistics, dim: usize) -> Result<Self, EngineError> {
        let features = statistics.dim();
        Ok(match start {
            Start::Random | Start::Standard => Self {
                mean: statistics.mean(),
                scale: one_over(&statistics.deviation(), &statistics.mean()),
                weight: (start == Start::Standard).then(|| identity(features, dim)),
            },
            Start::Identity => {
                let square = statistics.mean_square();
                if square == 0.0 {
                    let problem = "the rows of features are all zero, so they have no directions";
                    return Err(EngineError::Start(problem.into()));
                }
                Self {
                    mean: vec![0.0; features],
                    scale: vec![square.powf(-0.5); features],
                    weight: Some(identity(features, dim)),
                }
            }
            Start::Pca => {
                let Principal {
                    directions,
                    variances,
                } = Principal::of(statistics)?;
                // One scale for all numbers, so that the weights are of the size that those of the other starts
                // have: the optimiser's steps do not know how large a weight is.
                let total: f64 = statistics.deviation().iter().map(|d| d * d).sum();
                let deviation = (total / features as f64).sqrt();
                let mut weight = vec![0.0; features * dim];
                for (at, (direction, variance)) in
                    directions.iter().zip(&variances).take(dim).enumerate()
                {
                    let factor = deviation / variance.max(FLOOR * variances[0]).sqrt();
                    for (number, x) in direction.iter().enumerate() {
                        weight[number * dim + at] = factor * x;
                    }
                }
                Self {
                    mean: statistics.mean(),
                    scale: vec![1.0 / deviation; features],
                    weight: Some(weight),
                }
            }
        })
    }
}

/// Of deviations; 0 where there is none, so that a number that was always the same says nothing.
fn one_over(deviations: &[f64], means: &[f64]) -> Vec<f64> {
    let numbers = deviations.iter().zip(means);
    numbers
        .map(
            |(deviation, mean)| match *deviation > CONSTANT * mean.abs() {
                true => 1.0 / deviation,
                false => 0.0,
            },
        )
        .collect()
}

/// `[features, dim]` with ones on the diagonal.
fn identity(features: usize, dim: usize) -> Vec<f64> {
    let mut weight = vec![0.0; features * dim];
    for at in 0..features.min(dim) {
        weight[at * dim + at] = 1.0;
    }
    weight
}

#[cfg(test)]
mod tests;
