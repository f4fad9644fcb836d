//! One batch.

use std::time::Instant;

use burn::backend::Autodiff;
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
    /// Images of the batch, a multiple of 4.
    pub rows: usize,
    pub chunk: usize,
}

/// What came out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measured {
    pub virtual_items: usize,
    pub peak_bytes: usize,
    /// What has to be there: pixels as bytes, embeddings and their gradient, one row of similarities
    /// for each query of a block.
    pub needed_bytes: usize,
    pub seconds: f64,
}

impl Measure for Case {
    const COMMAND: &'static str = "step-case";
    type Measured = Measured;

    fn measure(&self) -> anyhow::Result<Self::Measured> {
        let (rows, chunk) = (self.rows, self.chunk);
        let device = Default::default();
        let config = RunConfig::default();
        let model = config
            .model
            .init::<Backend>(config.image.train.size, &device)?;
        let loss = config.loss.surrogate().init()?;
        let [height, width] = config.image.train.size;
        let labels: Vec<i64> = (0..rows as i64).map(|row| row / 4).collect();
        // Any pixels do: neither memory nor time depends on what they show.
        let bytes: Vec<u8> = (0..rows * 3 * height * width)
            .map(|i| (i * 31 % 251) as u8)
            .collect();
        let pixels = Pixels {
            bytes: &bytes,
            shape: [rows, 3, height, width],
        };
        let mixup = Mixup::all_pairs(&labels, 0);
        let items = rows + mixup.len();
        let classes = TensorData::new(labels, [rows]);
        let classes = Tensor::<Flex, 1, Int>::from_data(classes, &device);

        let start = Instant::now();
        let output = TwoPass { chunk, seed: 0 }.run(
            &model,
            rows,
            |model, rows| {
                model.embed(
                    config
                        .image
                        .standardise
                        .images::<Backend>(pixels, rows, &device),
                )
            },
            |embeddings| {
                loss.value_and_grad(embeddings, classes, Some(&mixup))
                    .map(LossAndGrad::for_step)
            },
        )?;
        let seconds = start.elapsed().as_secs_f64();

        let needed_bytes = bytes.len()
            + 2 * 4 * rows * output.embeddings.dims()[1]
            + 4 * config.loss.surrogate().block_size.min(items) * items;
        Ok(Measured {
            virtual_items: mixup.len(),
            peak_bytes: peak_memory()?,
            needed_bytes,
            seconds,
        })
    }
}
