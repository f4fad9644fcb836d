//! What was measured, and the arithmetic that makes a plan of it.

use serde::Serialize;

use crate::{Bytes, ChunkSize, ConfigError};

/// Of the memory that is free, what a run is planned to take: predictions err by up to a quarter.
pub(crate) const SHARE_OF_FREE: f64 = 0.8;

/// What the steps of a run cost. Times are in seconds, memory in bytes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Costs {
    /// Images in a batch.
    pub batch: usize,
    /// Processes that share out the batch.
    pub ranks: usize,
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
    /// The embeddings of an image of the batch.
    pub image: f64,
    /// On the processor, the pixels of an image of the share.
    pub input: f64,
    /// The loss of a batch.
    pub loss: f64,
}

impl Costs {
    /// The costs of each of so many processes that share out the batch, with a device and a processor each. What
    /// they send each other was not measured and is left out.
    #[must_use]
    pub fn over(self, ranks: usize) -> Self {
        Self { ranks, ..self }
    }

    /// Images of the largest share of a batch in chunks of `chunk`.
    pub fn share(&self, chunk: usize) -> usize {
        let chunks = self.batch.div_ceil(chunk.max(1));
        (chunks.div_ceil(self.ranks.max(1)) * chunk).min(self.batch)
    }

    /// Seconds of embedding the chunks that are embedded twice, for the first time: all but the last one of
    /// the share, which is embedded once, with its graph.
    pub fn first_pass(&self, chunk: usize) -> f64 {
        let share = self.share(chunk);
        (share - last_chunk(share, chunk)) as f64 * self.forward
    }

    /// Seconds of a step in chunks of `chunk`.
    pub fn step(&self, chunk: usize) -> f64 {
        let images = self.share(chunk) as f64;
        let passes = self.first_pass(chunk) + images * self.forward_backward;
        let compute = passes + self.loss + self.update;
        let load = images * self.load.unwrap_or(0.0);
        match self.shares_processor {
            true => compute + load,
            false => compute.max(load),
        }
    }

    /// The most memory that the run will take in chunks of `chunk`.
    pub fn peak(&self, chunk: usize) -> Option<u64> {
        Some(self.training_peak(chunk)?.max(self.evaluation_peak()?))
    }

    fn training_peak(&self, chunk: usize) -> Option<u64> {
        let of = self.memory?;
        let batch = of.image * self.batch as f64 + of.input * self.share(chunk) as f64;
        let chunk = chunk.min(self.batch) as f64;
        Some((of.fixed + of.graph * chunk + batch + of.loss) as u64)
    }

    fn evaluation_peak(&self) -> Option<u64> {
        let of = self.memory?;
        Some((of.fixed + of.forward * self.evaluation_chunk as f64 + of.judged) as u64)
    }

    /// The largest chunk whose run stays within `limit` bytes; none if not even one image does.
    pub fn largest_chunk(&self, limit: u64) -> Option<usize> {
        let fits = |chunk: usize| self.peak(chunk).is_some_and(|peak| peak <= limit);
        (1..=self.batch).rev().find(|&chunk| fits(chunk))
    }

    /// The memory that `auto` stays within: four fifths of what is free.
    pub fn free(&self) -> Option<u64> {
        self.room.filter(|_| self.memory.is_some()).map(share_of)
    }

    /// Images in a chunk of size `size`. Where memory decides, chunks are as few as fit, as many for each rank,
    /// and alike: the last one is embedded once only, so a small rest is a loss.
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
            other => memory_limit(other, self.memory.is_some(), self.room)?.unwrap_or(u64::MAX),
        };
        let largest = self.largest_chunk(limit).ok_or_else(|| {
            let needed = |peak: Option<u64>| Bytes(peak.unwrap_or_default()).rounded();
            let training = self.training_peak(1);
            // Whether a smaller chunk of the evaluation is a way out.
            let trains = training.is_some_and(|peak| peak <= limit);
            let limit = Bytes(limit).rounded();
            match trains {
                true => ConfigError::Value {
                    key: "evaluation.chunk",
                    problem: format!(
                        "{} images at once do not fit into {limit}: {} are needed; give a smaller \
                         number",
                        self.evaluation_chunk,
                        needed(self.evaluation_peak())
                    ),
                },
                false => refused(format!(
                    "not even a chunk of one image fits into {limit}: {} are needed",
                    needed(training)
                )),
            }
        })?;
        let ranks = self.ranks.max(1);
        let chunks = self.batch.div_ceil(largest).next_multiple_of(ranks);
        Ok(self.batch.div_ceil(chunks))
    }
}

/// The bytes that a run in chunks of size `size` stays within, on a backend that does or does not tell
/// what it takes, with `room` for the run; none where a number of images is given.
pub(super) fn memory_limit(
    size: ChunkSize,
    tells_memory: bool,
    room: Option<u64>,
) -> Result<Option<u64>, ConfigError> {
    let refused = |problem: &str| ConfigError::Value {
        key: "batch.chunk",
        problem: problem.to_owned(),
    };
    match (size, room) {
        (ChunkSize::Images(_), _) => Ok(None),
        _ if !tells_memory => Err(refused(
            "the memory of this backend is not told; give a number of images",
        )),
        (ChunkSize::Memory(bytes), _) => Ok(Some(bytes.0)),
        (ChunkSize::Auto, Some(room)) => Ok(Some(share_of(room))),
        (ChunkSize::Auto, None) => Err(refused(
            "this backend does not tell how much memory is free; give what the run may take, such as \
             `8GB`",
        )),
    }
}

fn share_of(room: u64) -> u64 {
    (room as f64 * SHARE_OF_FREE) as u64
}

fn last_chunk(batch: usize, chunk: usize) -> usize {
    match batch % chunk.max(1) {
        0 => chunk.min(batch),
        rest => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs() -> Costs {
        Costs {
            batch: 10,
            ranks: 1,
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
                image: 0.75,
                input: 0.25,
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
    fn ranks_share_out_the_passes_and_not_the_loss() {
        let costs = costs().over(3);
        // Chunks of 2: two of them on two ranks, and one on the third.
        assert_eq!(costs.share(2), 4);
        assert_eq!(costs.step(2), 2.0 + 12.0 + 0.75 + 8.0);
        assert_eq!(costs.peak(2), Some(1000 + 200 + 7 + 1 + 40));
        // More than there is to do.
        assert_eq!(costs.share(20), 10);
        // Five would fit: two chunks, so three for the three ranks.
        let limit = costs.peak(5).unwrap();
        assert_eq!(costs.chunk(ChunkSize::Memory(Bytes(limit))).unwrap(), 4);
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
        let evaluation = Costs {
            evaluation_chunk: 500,
            ..costs.clone()
        };
        let message = refused(&evaluation, within(5999));
        assert!(
            message.starts_with("evaluation.chunk: 500 images at once do not fit"),
            "{message}"
        );
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
}
