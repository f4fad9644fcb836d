//! What a run will cost, from steps small enough to wait for.
//!
//! The cost of a two-pass step is a sum of parts that grow with one thing each: both passes with the
//! images of the batch, the graph with the images of a chunk, the loss with the batch by its own law,
//! the update with the parameters. The loss is measured at its full size, on embeddings that are
//! drawn; the passes are measured on chunks that double until one takes long enough to be measured
//! well; the rest is arithmetic.

mod costs;
mod images;
mod measured;
mod trial;

use recall_engine::{Device, Engine};

use self::images::Images;
use self::trial::Trial;
use crate::run::features_of_row;
use crate::{BatchSize, ChunkSize, Loading, RunConfig, RunError};
pub(crate) use costs::SHARE_OF_FREE;
use costs::memory_limit;
pub use costs::{Costs, MemoryCosts};
pub use measured::Measured;

/// Embeddings of the batch that are there at once: with their gradients, and copies on the way.
const EMBEDDINGS_HELD: f64 = 4.0;

/// Batches of pixels that are there at once: the one in use, those ready and the one being made.
const BATCHES_HELD: f64 = 4.0;

/// Measures what the steps of `config` cost on `device`.
///
/// `loading` says how images will be loaded; without it no data are opened, and the time of loading
/// and the number of steps are left out. `auto` is then the largest batch that it can be.
/// `told` hears what is being measured.
///
/// # Errors
///
/// A configuration, data or a step that is refused.
pub fn measure(
    config: &RunConfig,
    loading: Option<&Loading>,
    device: &dyn Device,
    told: &mut dyn FnMut(Measured),
) -> Result<Costs, RunError> {
    config.check()?;
    let Some(loading) = loading else {
        let mut engine = device.engine(&config.engine())?;
        return measure_steps(config, None, &mut *engine, told);
    };
    // Before anything is measured: data that are not there should cost nobody any waiting.
    let images = Images::open(config, loading.corrupt)?;
    let mut config = config.clone();
    config.batch.size = BatchSize::Images(images.sampler.config().batch_size);
    config.model.features = features_of_row(&config, None)?;
    let config = &config;
    let steps_per_epoch = images.sampler.steps_per_epoch();
    told(Measured::Loading);
    let load = images.load(config, loading)?;
    let mut with_steps = |measured| {
        told(match measured {
            Measured::Guess { step, .. } => Measured::Guess {
                step,
                steps: Some(steps_per_epoch as u64 * config.epochs),
            },
            other => other,
        });
    };
    let mut engine = device.engine(&config.engine())?;
    engine.set_classes(images.classes);
    Ok(Costs {
        load,
        steps_per_epoch: Some(steps_per_epoch),
        ..measure_steps(config, Some(images.judged), &mut *engine, &mut with_steps)?
    })
}

/// The same by `engine`, without the data, of which up to `judged` images will be judged at once.
pub(crate) fn measure_steps(
    config: &RunConfig,
    judged: Option<usize>,
    engine: &mut dyn Engine,
    told: &mut dyn FnMut(Measured),
) -> Result<Costs, RunError> {
    let batch = config.batch.size.most();
    let on_processor = engine.device().is_processor();
    let memory = engine.device().memory();
    let room = memory.room();
    let mut trial = Trial {
        config,
        memory: &*memory,
        engine,
    };

    let tells_memory = memory.forget_peak() && memory.peak().is_some();
    // Without a limit, measuring would take all there is only to be refused.
    let limit = memory_limit(config.batch.chunk, tells_memory, room)?;
    let limit = limit.map_or(f64::INFINITY, |limit| limit as f64);
    let largest = match config.batch.chunk {
        ChunkSize::Images(images) => images,
        _ => usize::MAX,
    };

    // Before any step: what a step leaves to the allocator would hide what embedding takes.
    let forward = trial.forward_memory(limit, told)?;
    // The first step allocates what stays: moments, buffers, threads.
    told(Measured::Steps(1));
    trial.step(1)?;
    memory.forget_peak();
    let before = memory.taken().unwrap_or(0) as f64;
    told(Measured::Loss(batch));
    let loss = trial.loss()?;
    let loss_memory = (trial.peak() - before).max(0.0);
    let (last, graph) = trial.steps(largest.min(batch), limit, told)?;
    let [height, width] = config.image.train.size;
    let input = match config.model.features {
        Some(dim) => 4 * dim,
        None => 3 * height * width,
    };
    let embedding = 4.0 * config.model.dim as f64;
    // Pixels and what is judged stay with the processor.
    let of_process = |bytes: f64| if on_processor { bytes } else { 0.0 };
    Ok(Costs {
        batch,
        ranks: 1,
        evaluation_chunk: config.passes().chunk.min(judged.unwrap_or(usize::MAX)),
        measured_chunk: last.chunk,
        forward: last.forward,
        forward_backward: last.forward_backward,
        loss,
        update: last.update,
        load: None,
        steps_per_epoch: None,
        shares_processor: on_processor,
        memory: tells_memory.then(|| MemoryCosts {
            // What the last step had beside its graph.
            fixed: last.peak - graph * last.chunk as f64,
            graph,
            forward,
            judged: of_process(embedding * judged.unwrap_or(0) as f64),
            image: EMBEDDINGS_HELD * embedding,
            input: of_process(BATCHES_HELD * input as f64),
            loss: loss_memory,
        }),
        room,
    })
}
