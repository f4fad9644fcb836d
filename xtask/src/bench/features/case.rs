//! Our side of a case.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, ensure};
use burn::tensor::{Int, Tensor, TensorData};
use burn_flex::Flex;
use recall_train::{
    Backbone, Engine, Features, ModelFiles, NamedBackend, RunConfig, StepRequest, StepResult,
};
use serde::{Deserialize, Serialize};

use super::data::Rows;
use crate::bench::machine::peak_memory;
use crate::bench::process::Measure;

/// A set of rows, and the head that takes them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Case {
    pub rows: usize,
    /// Numbers of a row.
    pub dim: usize,
    /// Numbers of an embedding.
    pub out_dim: usize,
    pub class_size: usize,
    /// Rows that have a graph at a time.
    pub chunk: usize,
    pub dropout: f64,
    pub repeats: usize,
}

/// What is measured of a case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Of a step: two passes, the loss and its gradient, the optimiser's update.
    pub step_seconds: f64,
    /// Of the loss and its gradient alone.
    pub loss_seconds: f64,
    /// Of the three products alone, see [`Parts::products`].
    pub product_seconds: f64,
    /// The median of the turns' steps over their loss and products.
    pub ratio: f64,
    pub loss: f64,
    /// Euclidean norm of the gradient of the head's numbers.
    pub grad_norm: f64,
    /// Of the whole process after two steps, before anything else was measured.
    pub peak_mb: f64,
}

/// Leaves the weights as they are, so that every repetition is the same step.
const NO_RATE: f64 = 0.0;

impl Case {
    /// What makes the rows.
    fn data(&self) -> Rows {
        Rows {
            classes: self.rows / self.class_size,
            dim: self.dim,
        }
    }

    /// The rows, one behind the other.
    pub fn features(&self) -> Vec<f32> {
        self.data().values(0..self.rows)
    }

    pub fn labels(&self) -> Vec<i64> {
        self.data().labels(0..self.rows)
    }

    /// A linear head with the same random weights each time.
    fn engine(&self, config: &RunConfig) -> anyhow::Result<Box<dyn Engine>> {
        Ok(NamedBackend::FLEX.open()?.engine(&config.engine())?)
    }

    fn config(&self) -> RunConfig {
        let mut config = RunConfig::default();
        config.model.backbone = Backbone::Linear;
        config.model.features = Some(self.dim);
        config.model.dim = self.out_dim;
        config.model.dropout = self.dropout;
        config.loss.mixup = Some(false);
        config
    }

    /// Writes the weights that a step begins with.
    pub fn save_head(&self, path: &Path) -> anyhow::Result<()> {
        let engine = self.engine(&self.config())?;
        engine.save(&ModelFiles {
            judged: path.to_owned(),
            trained: path.to_owned(),
            optimiser: path.with_extension("optimiser"),
            loss: path.with_extension("loss"),
        })?;
        Ok(())
    }
}

impl Measure for Case {
    const COMMAND: &'static str = "features-case";
    type Measured = Measured;

    fn measure(&self) -> anyhow::Result<Self::Measured> {
        let (features, labels) = (self.features(), self.labels());
        let config = self.config();
        let mut engine = self.engine(&config)?;
        let inputs = Features {
            values: &features,
            dim: self.dim,
        };
        let request = StepRequest {
            inputs: inputs.into(),
            labels: &labels,
            chunk: self.chunk,
            first_chunk: 0,
            learning_rate: NO_RATE,
            model_seed: 0,
            loss_seed: 0,
        };
        let step = |engine: &mut dyn Engine| -> anyhow::Result<StepResult> {
            let result = engine.step(&request, &mut |_, _| ())?;
            ensure!(result.broken.is_none(), "the step broke: {result:?}");
            Ok(result)
        };
        // The first one creates the optimiser's state, beside which the second has its gradients.
        step(&mut *engine)?;
        let found = step(&mut *engine)?;
        let peak_mb = peak_memory()? as f64 / 1e6;

        let embeddings = engine.embed(inputs.into())?;
        let parts = Parts::new(self, &config, &features, &labels, embeddings.as_slice())?;
        let mut turns = Vec::with_capacity(self.repeats);
        for _ in 0..self.repeats {
            let step = timed(|| step(&mut *engine))?;
            turns.push([step, timed(|| parts.loss())?, timed(|| parts.products())?]);
        }
        let of = |value: &dyn Fn(&[f64; 3]) -> f64| median(turns.iter().map(value).collect());
        Ok(Measured {
            step_seconds: of(&|turn| turn[0]),
            loss_seconds: of(&|turn| turn[1]),
            product_seconds: of(&|turn| turn[2]),
            ratio: of(&|turn| turn[0] / (turn[1] + turn[2])),
            loss: found.loss.context("the step told no loss")?,
            grad_norm: (found.gradient_norm).context("the step told no gradient")?,
            peak_mb,
        })
    }
}

/// What a step cannot do without, made ready so that nothing else is timed.
struct Parts {
    loss: recall_loss::RecallAtKLoss,
    embeddings: Tensor<Flex, 2>,
    labels: Tensor<Flex, 1, Int>,
    /// The rows, chunk by chunk, so that each lies as a step finds it.
    chunks: Vec<Tensor<Flex, 2>>,
    /// `[dim, out_dim]`, as Burn lays a linear layer out.
    weight: Tensor<Flex, 2>,
    /// Stand for the gradient of the embeddings, chunk by chunk.
    slopes: Vec<Tensor<Flex, 2>>,
}

impl Parts {
    fn new(
        case: &Case,
        config: &RunConfig,
        features: &[f32],
        labels: &[i64],
        embeddings: &[f32],
    ) -> anyhow::Result<Self> {
        let device = Default::default();
        let matrix = |values: &[f32], dim: usize| {
            let rows = values.len() / dim;
            Tensor::from_data(TensorData::new(values.to_vec(), [rows, dim]), &device)
        };
        let chunks = |values: &[f32], dim: usize| {
            let chunks = values.chunks(case.chunk * dim);
            chunks.map(|chunk| matrix(chunk, dim)).collect()
        };
        let labels = TensorData::new(labels.to_vec(), [labels.len()]);
        Ok(Self {
            loss: config.loss.surrogate().init()?,
            embeddings: matrix(embeddings, case.out_dim),
            labels: Tensor::from_data(labels, &device),
            chunks: chunks(features, case.dim),
            weight: matrix(&features[..case.dim * case.out_dim], case.out_dim),
            slopes: chunks(embeddings, case.out_dim),
        })
    }

    fn loss(&self) -> anyhow::Result<()> {
        let (embeddings, labels) = (self.embeddings.clone(), self.labels.clone());
        std::hint::black_box(self.loss.value_and_grad(embeddings, labels, None)?);
        Ok(())
    }

    /// The head forward for all rows, forward once more for all chunks but the last, whose graph is kept, and the
    /// gradient of its weight. That of the rows nobody asks for.
    fn products(&self) -> anyhow::Result<()> {
        let last = self.chunks.len() - 1;
        for chunk in self.chunks.iter().chain(&self.chunks[..last]) {
            std::hint::black_box(chunk.clone().matmul(self.weight.clone()));
        }
        for (chunk, slope) in self.chunks.iter().zip(&self.slopes) {
            std::hint::black_box(chunk.clone().transpose().matmul(slope.clone()));
        }
        Ok(())
    }
}

fn timed<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<f64> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64())
}

/// Of two in the middle the greater.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
