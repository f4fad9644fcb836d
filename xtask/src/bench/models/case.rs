//! One measurement of one model, in a process of its own.

use std::ops::Range;
use std::time::Instant;

use burn::backend::Autodiff;
use burn::module::AutodiffModule;
use burn::tensor::{Int, Tensor, TensorData};
use burn_flex::Flex;
use recall_loss::{LossAndGrad, Mixup};
use recall_step::TwoPass;
use recall_train::{Embedder, Pixels, RunConfig};
use serde::{Deserialize, Serialize};

use crate::bench::machine::peak_memory;
use crate::bench::process::Measure;

type Backend = Autodiff<Flex>;

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
    /// Two passes, the loss and its gradient with SiMix; no update.
    pub step_seconds: f64,
    pub peak_bytes: usize,
}

impl Measure for Case {
    const COMMAND: &'static str = "models-case";
    type Measured = Measured;

    fn measure(&self) -> anyhow::Result<Self::Measured> {
        let device = Default::default();
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
        let model = config
            .model
            .init::<Backend>(config.image.train.size, &device)?;
        let loss = config.loss.surrogate().init()?;
        let labels: Vec<i64> = (0..self.batch as i64).map(|row| row / 4).collect();
        let shape = [self.batch, 3, self.side, self.side];
        let bytes: Vec<u8> = (0..shape.iter().product::<usize>())
            .map(|i| (i * 31 % 251) as u8)
            .collect();
        let pixels = Pixels {
            bytes: &bytes,
            shape,
        };
        let standardise = config.image.standardise;

        let inner = model.valid();
        let forward = |rows: Range<usize>| {
            let images = standardise.images::<Flex>(pixels, rows, &device);
            inner.embed(images).into_data()
        };
        forward(0..self.chunk.min(self.batch));
        let start = Instant::now();
        for first in (0..self.batch).step_by(self.chunk) {
            forward(first..self.batch.min(first + self.chunk));
        }
        let forward_seconds = start.elapsed().as_secs_f64();

        let mixup = Mixup::all_pairs(&labels, 0);
        let classes = TensorData::new(labels, [self.batch]);
        let classes = Tensor::<Flex, 1, Int>::from_data(classes, &device);
        let two_pass = TwoPass {
            chunk: self.chunk,
            seed: 0,
        };
        let start = Instant::now();
        two_pass.run(
            &model,
            self.batch,
            |model, rows| model.embed(standardise.images::<Backend>(pixels, rows, &device)),
            |embeddings| {
                loss.value_and_grad(embeddings, classes, Some(&mixup))
                    .map(LossAndGrad::for_step)
            },
        )?;
        Ok(Measured {
            forward_seconds,
            step_seconds: start.elapsed().as_secs_f64(),
            peak_bytes: peak_memory()?,
        })
    }
}
