//! What a run will cost, from steps small enough to wait for.
//!
//! The cost of a two-pass step is a sum of parts that grow with one thing each: both passes with the
//! images of the batch, the graph with the images of a chunk, the loss with the batch by its own law,
//! the update with the parameters. The loss is measured at its full size, on embeddings that are
//! drawn; the passes are measured on chunks that double until one takes long enough to be measured
//! well; the rest is arithmetic.

use std::sync::Arc;
use std::time::Instant;

use burn::module::{AutodiffModule, Module};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Distribution, ElementConversion, Int, Tensor, TensorData};
use recall_data::{Batch, BatchSampler, Dataset, Split, hold_out_classes};
use recall_loss::{Mixup, RecallBackend};
use serde::Serialize;

use crate::embed::items_of;
use crate::memory::{Memory, memory_of, on_processor};
use crate::{
    Bytes, ChunkSize, ConfigError, Embedder, Loading, Network, Optimiser, RunConfig, RunError,
    StepError, StepOutput, TwoPass,
};

/// Seconds a chunk has to take before its measure is trusted.
const LONG_ENOUGH: f64 = 1.5;

/// Sizes of chunks to measure at least, where there are as many: what the smallest cost says little.
const SIZES: usize = 4;

/// Images that are loaded to see how fast that goes.
const LOADED: usize = 256;

/// Of the memory that is free, what a run is planned to take: predictions err by up to a quarter.
pub(crate) const SHARE_OF_FREE: f64 = 0.8;

/// Batches of pixels that are there at once: the one in use, those ready and the one being made.
const BATCHES_HELD: f64 = 4.0;

/// What the steps of a run cost. Times are in seconds, memory in bytes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Costs {
    /// Images in a batch.
    pub batch: usize,
    /// Images embedded at once in the evaluation.
    pub evaluation_chunk: usize,
    /// The size of chunk that was measured last.
    pub measured_chunk: usize,
    /// Embedding an image without a graph.
    pub forward: f64,
    /// Embedding an image with a graph, and back-propagating.
    pub forward_backward: f64,
    /// The loss of a batch.
    pub loss: f64,
    /// The optimiser's update.
    pub update: f64,
    /// Decoding and augmenting an image by all threads; none without data to try it on.
    pub load: Option<f64>,
    /// Steps of an epoch; none without data.
    pub steps_per_epoch: Option<usize>,
    /// Whether images are loaded by the processor that also trains.
    pub shares_processor: bool,
    /// None where the memory of the backend cannot be told.
    pub memory: Option<MemoryCosts>,
    /// The memory that the process had and could have had besides; none where that is not told.
    pub room: Option<u64>,
}

/// What of the memory grows with what, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct MemoryCosts {
    /// Program (on the processor), weights, gradients, moments and what does not grow.
    pub fixed: f64,
    /// The graph of an image.
    pub graph: f64,
    /// Embedding an image without a graph.
    pub forward: f64,
    /// On the processor, the embeddings of all images that are judged at once.
    pub judged: f64,
    /// Embedding and, on the processor, pixels of an image of the batch.
    pub image: f64,
    /// The loss of a batch.
    pub loss: f64,
}

impl Costs {
    /// Seconds of a step in chunks of `chunk`.
    pub fn step(&self, chunk: usize) -> f64 {
        let images = self.batch as f64;
        // The last chunk is embedded once, with its graph.
        let twice = self.batch - last_chunk(self.batch, chunk);
        let compute =
            twice as f64 * self.forward + images * self.forward_backward + self.loss + self.update;
        let load = images * self.load.unwrap_or(0.0);
        match self.shares_processor {
            true => compute + load,
            false => compute.max(load),
        }
    }

    /// The most memory that the run will take in chunks of `chunk`.
    pub fn peak(&self, chunk: usize) -> Option<u64> {
        let of = self.memory?;
        let chunk = chunk.min(self.batch) as f64;
        let training = of.graph * chunk + of.image * self.batch as f64 + of.loss;
        let evaluation = of.forward * self.evaluation_chunk as f64 + of.judged;
        Some((of.fixed + training.max(evaluation)).max(0.0) as u64)
    }

    /// The largest chunk whose run stays within `limit` bytes; none if not even one image does.
    pub fn largest_chunk(&self, limit: u64) -> Option<usize> {
        let fits = |chunk: usize| self.peak(chunk).is_some_and(|peak| peak <= limit);
        let sizes: Vec<usize> = (1..=self.batch).collect();
        match sizes.partition_point(|&chunk| fits(chunk)) {
            0 => None,
            largest => Some(largest),
        }
    }

    /// The memory that `auto` stays within: four fifths of what is free.
    pub fn free(&self) -> Option<u64> {
        self.room
            .filter(|_| self.memory.is_some())
            .map(|room| (room as f64 * SHARE_OF_FREE) as u64)
    }

    /// Images in a chunk of size `size`. Where memory decides, chunks are as few as fit, and alike: the
    /// last one is embedded once only, so a small rest is a loss.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if memory decides and is not told, or is less than one image takes.
    pub fn chunk(&self, size: ChunkSize) -> Result<usize, ConfigError> {
        let refused = |problem| ConfigError::Value {
            key: "batch.chunk",
            problem,
        };
        let limit = match size {
            ChunkSize::Images(images) => return Ok(images),
            ChunkSize::Memory(_) if self.memory.is_none() => {
                return Err(refused(
                    "the memory of this backend is not told; give a number of images".to_owned(),
                ));
            }
            ChunkSize::Memory(bytes) => bytes.0,
            ChunkSize::Auto => self.free().ok_or_else(|| {
                refused(match self.memory {
                    Some(_) => "this backend does not tell how much memory is free; give what the \
                                run may take, such as `8GB`"
                        .to_owned(),
                    None => {
                        "the memory of this backend is not told; give a number of images".to_owned()
                    }
                })
            })?,
        };
        let largest = self.largest_chunk(limit).ok_or_else(|| {
            refused(format!(
                "not even a chunk of one image fits into {}: {} are needed",
                Bytes(limit).rounded(),
                Bytes(self.peak(1).unwrap_or_default()).rounded()
            ))
        })?;
        Ok(self.batch.div_ceil(self.batch.div_ceil(largest)))
    }
}

fn last_chunk(batch: usize, chunk: usize) -> usize {
    match batch % chunk.max(1) {
        0 => chunk.min(batch),
        rest => rest,
    }
}

/// Measures what the steps of `config` cost on `device`.
///
/// `loading` says how images will be loaded; without data to open, the time for that is left out.
///
/// # Errors
///
/// A configuration or a step that is refused.
pub fn measure<B: AutodiffBackend<InnerBackend: RecallBackend>>(
    config: &RunConfig,
    loading: Option<&Loading>,
    device: &B::Device,
) -> Result<Costs, RunError> {
    config.check()?;
    // Before anything is measured: data that are not there should cost nobody any waiting.
    let images = loading.map(|_| Images::open(config)).transpose()?;
    let on_processor = on_processor::<B::InnerBackend>(device);
    let memory = memory_of::<B::InnerBackend>(device);
    let room = memory.room();
    B::seed(device, config.seed);
    let (model, optimiser) = config.optimiser.init(config.init_model::<B>(device));
    let mut trial = Trial {
        config,
        device,
        memory: &*memory,
        model,
        optimiser,
    };

    // The first step allocates what stays: moments, buffers, threads.
    trial.step(1)?;
    let tells_memory = memory.forget_peak() && memory.peak().is_some();
    let fixed = memory.taken().unwrap_or(0) as f64;
    let loss = trial.loss()?;
    let loss_memory = (trial.peak() - fixed).max(0.0);

    let (largest, limit) = match config.batch.chunk {
        ChunkSize::Images(images) => (images, None),
        ChunkSize::Memory(bytes) => (usize::MAX, Some(bytes.0 as f64)),
        ChunkSize::Auto => (
            usize::MAX,
            room.map(|room| room as f64 * SHARE_OF_FREE)
                .filter(|_| tells_memory),
        ),
    };
    let chunks = Chunks::up_to(largest.min(config.batch.size));
    let (mut last, mut before) = (None::<Sample>, None);
    for (count, chunk) in (1..).zip(chunks) {
        let sample = trial.sample(chunk)?;
        let enough = sample.seconds >= LONG_ENOUGH && count >= SIZES;
        // Measuring must not take what the run may not.
        let full = limit.is_some_and(|limit| 2.0 * sample.step_peak > limit);
        before = last.replace(sample);
        if enough || full {
            break;
        }
    }
    let last = last.unwrap_or_default();
    let slope = |value: fn(&Sample) -> f64| match &before {
        Some(before) if last.chunk > before.chunk => {
            let images = (last.chunk - before.chunk) as f64;
            ((value(&last) - value(before)) / images).max(0.0)
        }
        _ => 0.0,
    };
    let graph = slope(|sample| sample.step_peak);
    let [height, width] = config.image.train.size;
    let pixels = (3 * height * width) as f64;
    let image = 4.0 * 4.0 * config.model.dim as f64
        + if on_processor {
            BATCHES_HELD * pixels
        } else {
            0.0
        };
    // What the last measure had beside its graph.
    let fixed = last.step_peak - graph * last.chunk as f64;
    Ok(Costs {
        batch: config.batch.size,
        evaluation_chunk: config.evaluation.chunk,
        measured_chunk: last.chunk,
        forward: last.forward,
        forward_backward: last.forward_backward,
        loss,
        update: last.update,
        load: match (&images, loading) {
            (Some(images), Some(loading)) => images.load(config, loading)?,
            _ => None,
        },
        steps_per_epoch: images.as_ref().map(|of| of.sampler.steps_per_epoch()),
        shares_processor: on_processor,
        memory: tells_memory.then(|| MemoryCosts {
            fixed,
            graph,
            // Less than with a graph, whatever the allocator made of it.
            forward: slope(|sample| sample.forward_peak).min(graph),
            judged: match &images {
                Some(images) if on_processor => 4.0 * (config.model.dim * images.judged) as f64,
                _ => 0.0,
            },
            image,
            loss: loss_memory,
        }),
        room,
    })
}

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

/// What was measured of one size of chunk: seconds for an image, and the peaks.
#[derive(Debug, Default)]
struct Sample {
    chunk: usize,
    /// Of one chunk with its graph.
    seconds: f64,
    forward: f64,
    forward_backward: f64,
    update: f64,
    forward_peak: f64,
    step_peak: f64,
}

struct Trial<'a, B: AutodiffBackend> {
    config: &'a RunConfig,
    device: &'a B::Device,
    memory: &'a dyn Memory,
    model: Network<B>,
    optimiser: Optimiser<B>,
}

impl<B: AutodiffBackend<InnerBackend: RecallBackend>> Trial<'_, B> {
    fn peak(&self) -> f64 {
        self.memory.peak().unwrap_or(0) as f64
    }

    fn sample(&mut self, chunk: usize) -> Result<Sample, RunError> {
        // Once without looking: what is compiled or allocated at the first time is no cost of a step.
        let batch = self.batch(chunk);
        let frozen = self.model.valid();
        let embed = || {
            let images = self.config.image.standardise.images::<B::InnerBackend>(
                &batch,
                0..chunk,
                self.device,
            );
            let values = frozen.embed(images).into_data();
            values.iter::<f32>().sum::<f32>()
        };
        embed();
        self.memory.forget_peak();
        let start = Instant::now();
        std::hint::black_box(embed());
        let forward = start.elapsed().as_secs_f64();
        let forward_peak = self.peak();
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
            forward_peak,
            step_peak: self.peak(),
        })
    }

    /// A step over two chunks: seconds of both passes and of the update.
    fn step(&mut self, chunk: usize) -> Result<(f64, f64), RunError> {
        let batch = self.batch(2 * chunk);
        let two_pass = TwoPass { chunk, seed: 0 };
        let start = Instant::now();
        let output: Result<StepOutput<B>, StepError> = two_pass.run(
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
            |embeddings| {
                // The loss is measured by itself.
                let [rows, _] = embeddings.dims();
                Ok(recall_loss::LossAndGrad {
                    loss: Tensor::zeros([1], self.device),
                    grad: embeddings,
                    recall: Tensor::zeros([rows], self.device),
                    queries: (0..rows).collect(),
                })
            },
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
    fn loss(&self) -> Result<f64, RunError> {
        let (rows, dim) = (self.config.batch.size, self.config.model.dim);
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
                    source: source.into(),
                })?;
            let grad = output.grad.sum().into_scalar().elem::<f32>();
            std::hint::black_box(grad);
            seconds = start.elapsed().as_secs_f64();
        }
        Ok(seconds)
    }

    /// Pixels without meaning: time and memory do not depend on them.
    fn batch(&self, rows: usize) -> Batch {
        let [height, width] = self.config.image.train.size;
        let count = rows * 3 * height * width;
        Batch {
            ids: (0..rows).collect(),
            labels: vec![0; rows],
            pixels: (0..count).map(|i| (i * 31 % 251) as u8).collect(),
            shape: [rows, 3, height, width],
            skipped: 0,
        }
    }
}

/// Waits for the device: reads one number of each parameter's end of the queue.
fn synchronised<B: Backend>(model: &Network<B>, device: &B::Device) -> usize {
    let waited = B::sync(device).is_ok();
    model.num_params() + usize::from(waited)
}

/// The images of a run, as far as it costs something to load and judge them.
struct Images {
    dataset: Arc<Dataset>,
    sampler: BatchSampler,
    /// The most that are judged at once.
    judged: usize,
}

impl Images {
    fn open(config: &RunConfig) -> Result<Self, RunError> {
        let dataset = Arc::new(config.image.open(&config.data)?);
        let train = items_of(&dataset, Split::Train)?;
        let parts = hold_out_classes(&dataset, train, config.evaluation.validation);
        let test = items_of(&dataset, Split::Test)?;
        Ok(Self {
            sampler: config.sampler().init_for(&dataset, &parts.kept)?,
            judged: test.len().max(parts.held_out.len()),
            dataset,
        })
    }

    /// Seconds to load an image, by all threads.
    fn load(&self, config: &RunConfig, loading: &Loading) -> Result<Option<f64>, RunError> {
        let loader = loading.loader(
            &self.dataset,
            &config.image,
            config.image.train.clone(),
            config.seed,
        )?;
        let mut requests: Vec<_> = self.sampler.requests(0).take(2).collect();
        requests
            .iter_mut()
            .for_each(|request| request.ids.truncate(LOADED));
        let mut images = 0;
        let start = Instant::now();
        for batch in loader.batches(requests) {
            images += batch?.ids.len();
        }
        Ok((images > 0).then(|| start.elapsed().as_secs_f64() / images as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs() -> Costs {
        Costs {
            batch: 10,
            evaluation_chunk: 2,
            measured_chunk: 2,
            forward: 1.0,
            forward_backward: 3.0,
            loss: 0.5,
            update: 0.25,
            load: Some(2.0),
            steps_per_epoch: Some(3),
            shares_processor: true,
            memory: Some(MemoryCosts {
                fixed: 1000.0,
                graph: 100.0,
                forward: 10.0,
                judged: 0.0,
                image: 1.0,
                loss: 40.0,
            }),
            room: Some(2000),
        }
    }

    #[test]
    fn the_last_chunk_is_embedded_once() {
        let costs = costs();
        // Chunks of 4, 4 and 2: eight images twice.
        assert_eq!(costs.step(4), 8.0 + 30.0 + 0.75 + 20.0);
        assert_eq!(costs.step(5), 5.0 + 30.0 + 0.75 + 20.0);
        assert_eq!(costs.step(10), 30.0 + 0.75 + 20.0);
        let beside = Costs {
            shares_processor: false,
            load: Some(10.0),
            ..costs
        };
        assert_eq!(beside.step(10), 100.0);
    }

    #[test]
    fn the_largest_chunk_that_fits() {
        let costs = costs();
        assert_eq!(costs.peak(4), Some(1000 + 400 + 10 + 40));
        assert_eq!(costs.largest_chunk(1450), Some(4));
        assert_eq!(costs.largest_chunk(1449), Some(3));
        assert_eq!(costs.largest_chunk(1000), None);
        assert_eq!(costs.largest_chunk(1 << 40), Some(10));
        let mut evaluation = Costs {
            evaluation_chunk: 500,
            ..costs
        };
        assert_eq!(evaluation.peak(1), Some(1000 + 5000));
        evaluation.memory.as_mut().unwrap().judged = 70.0;
        assert_eq!(evaluation.peak(1), Some(1000 + 5000 + 70));
    }

    #[test]
    fn memory_decides_on_few_chunks_that_are_alike() {
        let costs = costs();
        assert_eq!(costs.chunk(ChunkSize::Images(7)).unwrap(), 7);
        // Eight would fit: two chunks, so five each.
        let limit = costs.peak(8).unwrap();
        let within = |bytes| ChunkSize::Memory(Bytes(bytes));
        assert_eq!(costs.chunk(within(limit)).unwrap(), 5);
        assert_eq!(costs.chunk(within(limit * 9)).unwrap(), 10);
        // 1600 of the 2000 that are free: five of 100, and 1050.
        assert_eq!(costs.free(), Some(1600));
        assert_eq!(costs.chunk(ChunkSize::Auto).unwrap(), 5);
        let refused = |costs: &Costs, size| costs.chunk(size).unwrap_err().to_string();
        let message = refused(&costs, within(1000));
        assert!(message.starts_with("batch.chunk: not even"), "{message}");
        let untold = Costs {
            room: None,
            ..costs.clone()
        };
        let message = refused(&untold, ChunkSize::Auto);
        assert!(message.contains("such as `8GB`"), "{message}");
        assert_eq!(untold.chunk(within(limit)).unwrap(), 5);
        let untold = Costs {
            memory: None,
            ..costs
        };
        for size in [ChunkSize::Auto, within(limit)] {
            let message = refused(&untold, size);
            assert!(message.contains("give a number of images"), "{message}");
        }
    }

    #[test]
    fn chunks_double_up_to_the_last() {
        assert_eq!(Chunks::up_to(1).collect::<Vec<_>>(), [1]);
        assert_eq!(Chunks::up_to(10).collect::<Vec<_>>(), [1, 2, 4, 8, 10]);
    }
}
