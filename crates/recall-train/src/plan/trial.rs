//! Steps that are taken to be measured.

use std::time::Instant;

use recall_engine::{Engine, EngineError, Features, Inputs, Memory, Pixels};

use super::Measured;
use crate::{ChunkSize, RunConfig, RunError};

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

pub(super) struct Trial<'a> {
    pub config: &'a RunConfig,
    pub memory: &'a dyn Memory,
    pub engine: &'a mut dyn Engine,
}

/// Images or rows without meaning: time and memory do not depend on them.
enum Blank {
    Images { bytes: Vec<u8>, shape: [usize; 4] },
    Rows { values: Vec<f32>, dim: usize },
}

impl Trial<'_> {
    pub(super) fn peak(&self) -> f64 {
        self.memory.peak().unwrap_or(0) as f64
    }

    /// Embeds chunks without a graph, as the evaluation does, for the memory that an image takes.
    /// Measuring must not take more of it than `limit`.
    pub(super) fn forward_memory(
        &self,
        limit: f64,
        told: &mut dyn FnMut(Measured),
    ) -> Result<f64, RunError> {
        let mut peaks = Vec::new();
        for chunk in Chunks::up_to(self.config.passes().chunk) {
            told(Measured::Embedding(chunk));
            let images = Blank::to_judge(chunk, self.config);
            self.engine.embed(images.inputs())?;
            self.memory.forget_peak();
            let start = Instant::now();
            self.engine.embed(images.inputs())?;
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
        Ok(of_an_image(&peaks))
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

    fn sample(&mut self, chunk: usize) -> Result<Sample, RunError> {
        // Once without looking: what is compiled or allocated at the first time is no cost of a step.
        let images = Blank::to_train(chunk, self.config);
        self.engine.embed(images.inputs())?;
        let start = Instant::now();
        self.engine.embed(images.inputs())?;
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
        let images = Blank::to_train(2 * chunk, self.config);
        let taken = self
            .engine
            .try_step(images.inputs(), chunk)
            .map_err(at_once)?;
        Ok((taken.passes, taken.update))
    }

    /// Seconds of the loss of a batch.
    pub(super) fn loss(&self) -> Result<f64, RunError> {
        let labels: Vec<i64> = (0..self.config.batch.size.most())
            .map(|row| (row / self.config.batch.samples_per_class.max(1)) as i64)
            .collect();
        let seconds = self.engine.try_loss(&labels, self.config.model.dim);
        seconds.map_err(at_once)
    }
}

/// A step that is refused here would be the first of the run.
fn at_once(error: EngineError) -> RunError {
    match error {
        EngineError::Step(source) => RunError::Step {
            epoch: 0,
            step: 0,
            source,
        },
        other => other.into(),
    }
}

impl Blank {
    fn to_train(count: usize, config: &RunConfig) -> Self {
        Self::new(count, config, config.image.train.size)
    }

    fn to_judge(count: usize, config: &RunConfig) -> Self {
        Self::new(count, config, config.largest_judged())
    }

    fn new(count: usize, config: &RunConfig, [height, width]: [usize; 2]) -> Self {
        if let Some(dim) = config.model.features {
            let values = (0..count * dim).map(|at| (at * 31 % 251) as f32 / 251.0 - 0.5);
            return Self::Rows {
                values: values.collect(),
                dim,
            };
        }
        let length = count * 3 * height * width;
        Self::Images {
            bytes: (0..length).map(|at| (at * 31 % 251) as u8).collect(),
            shape: [count, 3, height, width],
        }
    }

    fn inputs(&self) -> Inputs<'_> {
        match self {
            Self::Images { bytes, shape } => Inputs::Pixels(Pixels {
                bytes,
                shape: *shape,
            }),
            Self::Rows { values, dim } => Inputs::Features(Features { values, dim: *dim }),
        }
    }
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
