//! Steps that are taken to be measured.

use std::time::Instant;

use burn::module::{AutodiffModule, Module};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Distribution, ElementConversion, Int, Tensor, TensorData};
use recall_data::Batch;
use recall_loss::{LossError, Mixup, RecallBackend};
use recall_step::{StepError, StepOutput, TwoPass};

use super::Measured;
use crate::memory::Memory;
use crate::{ChunkSize, Embedder, Network, Optimiser, RunConfig, RunError};

/// Seconds a chunk has to take before its measure is trusted.
const LONG_ENOUGH: f64 = 1.5;

/// Sizes of chunks to measure at least, where there are as many: what the smallest cost says little.
const SIZES: usize = 4;

/// Seconds that embedding an image has to take for a first guess to be told: where it takes less, all is
/// measured soon.
const WORTH_A_GUESS: f64 = 0.01;

/// Sizes that double, and the last one.
struct Chunks {
    next: Option<usize>,
    last: usize,
}

impl Chunks {
    fn up_to(last: usize) -> Self {
        Self {
            next: Some(1.min(last)),
            last,
        }
    }
}

impl Iterator for Chunks {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let size = self.next?;
        self.next = (size < self.last).then(|| (2 * size).min(self.last));
        Some(size)
    }
}

/// By how much the last of these peaks, each of so many images, grew with an image.
fn of_an_image(peaks: &[(usize, f64)]) -> f64 {
    match peaks {
        [.., (before, low), (last, high)] => {
            ((high - low) / last.saturating_sub(*before).max(1) as f64).max(0.0)
        }
        _ => 0.0,
    }
}

/// What was measured of one size of chunk: seconds for an image, and the peak of memory.
#[derive(Debug, Default)]
pub(super) struct Sample {
    pub chunk: usize,
    /// Of one chunk with its graph.
    pub seconds: f64,
    pub forward: f64,
    pub forward_backward: f64,
    pub update: f64,
    pub peak: f64,
}

pub(super) struct Trial<'a, B: AutodiffBackend> {
    pub config: &'a RunConfig,
    pub device: &'a B::Device,
    pub memory: &'a dyn Memory,
    pub model: Network<B>,
    pub optimiser: Optimiser<B>,
}

impl<B: AutodiffBackend<InnerBackend: RecallBackend>> Trial<'_, B> {
    pub(super) fn peak(&self) -> f64 {
        self.memory.peak().unwrap_or(0) as f64
    }

    /// Embeds chunks without a graph, as the evaluation does, for the memory that an image takes.
    /// Measuring must not take more of it than `limit`.
    pub(super) fn forward_memory(&self, limit: f64, told: &mut dyn FnMut(Measured)) -> f64 {
        let crop = self.config.image.eval.crop;
        let frozen = self.model.valid();
        let mut peaks = Vec::new();
        for chunk in Chunks::up_to(self.config.evaluation.chunk) {
            told(Measured::Embedding(chunk));
            let batch = self.batch(chunk, [crop, crop]);
            self.embed(&frozen, &batch);
            self.memory.forget_peak();
            let start = Instant::now();
            self.embed(&frozen, &batch);
            let seconds = start.elapsed().as_secs_f64();
            if chunk == 1 && seconds >= WORTH_A_GUESS {
                told(Measured::Guess {
                    step: seconds * self.passes(),
                    steps: None,
                });
            }
            let long = seconds >= LONG_ENOUGH / 3.0;
            peaks.push((chunk, self.peak()));
            if (long && peaks.len() >= SIZES) || 2.0 * self.peak() > limit {
                break;
            }
        }
        of_an_image(&peaks)
    }

    /// Takes steps in chunks of up to `largest` images that take a while, within `limit` bytes, and
    /// returns the largest with the memory that the graph of an image takes.
    pub(super) fn steps(
        &mut self,
        largest: usize,
        limit: f64,
        told: &mut dyn FnMut(Measured),
    ) -> Result<(Sample, f64), RunError> {
        let (mut last, mut peaks) = (Sample::default(), Vec::new());
        for chunk in Chunks::up_to(largest) {
            told(Measured::Steps(chunk));
            last = self.sample(chunk)?;
            peaks.push((chunk, last.peak));
            let long = last.seconds >= LONG_ENOUGH;
            if (long && peaks.len() >= SIZES) || 2.0 * last.peak > limit {
                break;
            }
        }
        Ok((last, of_an_image(&peaks)))
    }

    /// As how many embeddings of an image a step counts before more is known: going back through the graph
    /// costs twice as much as going forth.
    fn passes(&self) -> f64 {
        let batch = self.config.batch.size.most();
        let one_chunk = match self.config.batch.chunk {
            ChunkSize::Images(images) => images >= batch,
            _ => false,
        };
        batch as f64 * if one_chunk { 3.0 } else { 4.0 }
    }

    /// Embeds and waits for it.
    fn embed(&self, model: &Network<B::InnerBackend>, batch: &Batch) {
        let standardise = self.config.image.standardise;
        let rows = 0..batch.ids.len();
        let images = standardise.images::<B::InnerBackend>(batch, rows, self.device);
        std::hint::black_box(model.embed(images).into_data());
    }

    fn sample(&mut self, chunk: usize) -> Result<Sample, RunError> {
        // Once without looking: what is compiled or allocated at the first time is no cost of a step.
        let batch = self.batch(chunk, self.config.image.train.size);
        let frozen = self.model.valid();
        self.embed(&frozen, &batch);
        let start = Instant::now();
        self.embed(&frozen, &batch);
        let forward = start.elapsed().as_secs_f64();
        // Kernels are chosen by trial at the first time, which takes memory too.
        self.step(chunk)?;
        self.memory.forget_peak();
        self.step(chunk)?;
        let (step, update) = self.step(chunk)?;
        // Two chunks: the first one without a graph and with one, the last one with one.
        let with_graph = ((step - forward) / 2.0).max(0.0);
        Ok(Sample {
            chunk,
            seconds: with_graph,
            forward: forward / chunk as f64,
            forward_backward: with_graph / chunk as f64,
            update,
            peak: self.peak(),
        })
    }

    /// A step over two chunks: seconds of both passes and of the update.
    pub(super) fn step(&mut self, chunk: usize) -> Result<(f64, f64), RunError> {
        let batch = self.batch(2 * chunk, self.config.image.train.size);
        let two_pass = TwoPass { chunk, seed: 0 };
        let start = Instant::now();
        let output: Result<StepOutput<B, ()>, StepError<LossError>> = two_pass.run(
            &self.model,
            2 * chunk,
            |model, rows| {
                let images = self
                    .config
                    .image
                    .standardise
                    .images::<B>(&batch, rows, self.device);
                model.embed(images)
            },
            // The loss is measured by itself: any gradient will do.
            |embeddings| Ok((embeddings, ())),
        );
        let output = output.map_err(|source| RunError::Step {
            epoch: 0,
            step: 0,
            source,
        })?;
        let norm = self.optimiser.gradient_norm(&self.model, &output.gradients);
        let passes = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let model = self.model.clone();
        self.model = self.optimiser.step(1e-9, model, output.gradients, norm);
        let parameter = self.model.valid();
        std::hint::black_box(synchronised(&parameter, self.device));
        Ok((passes, start.elapsed().as_secs_f64()))
    }

    /// Seconds of the loss of a batch.
    pub(super) fn loss(&self) -> Result<f64, RunError> {
        let (rows, dim) = (self.config.batch.size.most(), self.config.model.dim);
        let labels: Vec<i64> = (0..rows)
            .map(|row| (row / self.config.batch.samples_per_class.max(1)) as i64)
            .collect();
        let mixup = self.config.loss.mixup.then(|| Mixup::all_pairs(&labels, 0));
        let labels = TensorData::new(labels, [rows]);
        let labels = Tensor::<B::InnerBackend, 1, Int>::from_data(labels, self.device);
        let drawn = Tensor::<B::InnerBackend, 2>::random(
            [rows, dim],
            Distribution::Normal(0.0, 1.0),
            self.device,
        );
        let lengths = (drawn.clone() * drawn.clone()).sum_dim(1).sqrt();
        let embeddings = drawn / lengths;
        let loss = self.config.loss.surrogate().init();
        let loss = loss.map_err(crate::ConfigError::from)?;
        let mut seconds = 0.0;
        for _ in 0..2 {
            let start = Instant::now();
            let output = loss
                .value_and_grad(embeddings.clone(), labels.clone(), mixup.as_ref())
                .map_err(|source| RunError::Step {
                    epoch: 0,
                    step: 0,
                    source: StepError::Objective(source),
                })?;
            let grad = output.grad.sum().into_scalar().elem::<f32>();
            std::hint::black_box(grad);
            seconds = start.elapsed().as_secs_f64();
        }
        Ok(seconds)
    }

    /// Pixels without meaning: time and memory do not depend on them.
    fn batch(&self, rows: usize, [height, width]: [usize; 2]) -> Batch {
        let count = rows * 3 * height * width;
        Batch {
            ids: (0..rows).collect(),
            labels: vec![0; rows],
            pixels: (0..count).map(|i| (i * 31 % 251) as u8).collect(),
            shape: [rows, 3, height, width],
            skipped: Vec::new(),
        }
    }
}

/// Waits for the device: reads one number of each parameter's end of the queue.
fn synchronised<B: Backend>(model: &Network<B>, device: &B::Device) -> usize {
    let waited = B::sync(device).is_ok();
    model.num_params() + usize::from(waited)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_an_image_is_what_the_last_ones_added() {
        assert_eq!(of_an_image(&[]), 0.0);
        assert_eq!(of_an_image(&[(1, 90.0)]), 0.0);
        assert_eq!(of_an_image(&[(1, 90.0), (2, 100.0), (4, 120.0)]), 10.0);
        assert_eq!(of_an_image(&[(1, 90.0), (2, 80.0)]), 0.0);
    }

    #[test]
    fn chunks_double_up_to_the_last() {
        assert_eq!(Chunks::up_to(1).collect::<Vec<_>>(), [1]);
        assert_eq!(Chunks::up_to(10).collect::<Vec<_>>(), [1, 2, 4, 8, 10]);
    }
}
