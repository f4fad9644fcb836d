//! One measurement of one model, in a process of its own.

use std::time::Instant;

use anyhow::ensure;
use burn::tensor::{Distribution, Tensor};
use burn_flex::Flex;
use recall_train::{NamedBackend, Pixels, RunConfig, StepRequest};
use serde::{Deserialize, Serialize};

use crate::bench::machine::peak_memory;
use crate::bench::process::Measure;

/// What is measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Case {
    pub backbone: String,
    /// Pixels a side.
    pub side: usize,
    pub batch: usize,
    pub chunk: usize,
    pub threads: usize,
}

/// What came out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measured {
    /// The whole batch, chunk by chunk, without a graph.
    pub forward_seconds: f64,
    /// Two passes, the loss and its gradient with SiMix, and the optimiser's update.
    pub step_seconds: f64,
    pub peak_bytes: usize,
    /// What a product of large matrices reaches here, in multiplications with an addition a second.
    #[serde(default)]
    pub product_rate: f64,
}

impl Measure for Case {
    const COMMAND: &'static str = "models-case";
    type Measured = Measured;

    fn measure(&self) -> anyhow::Result<Self::Measured> {
        let mut set = vec![
            format!("model.backbone={}", self.backbone),
            format!("image.train.size=[{0}, {0}]", self.side),
            format!("image.eval.crop={}", self.side),
            format!("image.eval.resize={}", self.side),
        ];
        if self.backbone != "convnet" {
            set.push("model.dim=512".into());
        }
        let config = RunConfig::read(None, &set)?;
        let device = NamedBackend::FLEX.open()?;
        let mut engine = device.engine(&config.engine())?;
        let labels: Vec<i64> = (0..self.batch as i64).map(|row| row / 4).collect();
        let shape = [self.batch, 3, self.side, self.side];
        let bytes: Vec<u8> = (0..shape.iter().product::<usize>())
            .map(|i| (i * 31 % 251) as u8)
            .collect();
        let images = |first: usize, count: usize| {
            let image = 3 * self.side * self.side;
            Pixels {
                bytes: &bytes[first * image..][..count * image],
                shape: [count, 3, self.side, self.side],
            }
        };

        engine.embed(images(0, self.chunk.min(self.batch)).into())?;
        let start = Instant::now();
        for first in (0..self.batch).step_by(self.chunk) {
            engine.embed(images(first, self.chunk.min(self.batch - first)).into())?;
        }
        let forward_seconds = start.elapsed().as_secs_f64();

        let request = StepRequest {
            inputs: images(0, self.batch).into(),
            labels: &labels,
            chunk: self.chunk,
            first_chunk: 0,
            model_seed: 0,
            loss_seed: 0,
            learning_rate: 1e-4,
        };
        // The first one creates the optimiser's state.
        engine.step(&request, &mut |_, _| ())?;
        let start = Instant::now();
        let result = engine.step(&request, &mut |_, _| ())?;
        let step_seconds = start.elapsed().as_secs_f64();
        ensure!(result.broken.is_none(), "the step broke: {result:?}");
        Ok(Measured {
            forward_seconds,
            step_seconds,
            peak_bytes: peak_memory()?,
            product_rate: product_rate(),
        })
    }
}

/// The best of a few products of 1024 × 1024 matrices.
fn product_rate() -> f64 {
    const SIDE: usize = 1024;
    let matrix = Tensor::<Flex, 2>::random([SIDE; 2], Distribution::Default, &Default::default());
    let seconds = (0..8).map(|_| {
        let start = Instant::now();
        drop(matrix.clone().matmul(matrix.clone()).into_data());
        start.elapsed().as_secs_f64()
    });
    (SIDE * SIDE * SIDE) as f64 / seconds.fold(f64::INFINITY, f64::min)
}
