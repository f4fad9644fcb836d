//! Batches of any items, as they come in a shuffled order.

use rand::seq::SliceRandom;

use super::{BatchSampler, BatchSamplerConfig, ClassCount, Plain, refuse};
use crate::random::{Key, Purpose};
use crate::{DataError, ItemId};

impl BatchSampler {
    /// A sampler that shuffles all items in each epoch and cuts them into batches of `batch_size`, whatever
    /// their classes; what fills no batch rests until the next epoch. It suits losses that compare items with
    /// proxies and not with each other.
    ///
    /// # Errors
    ///
    /// [`DataError::Sampler`] for a batch of fewer than 2, or of more than all items.
    pub fn shuffled(ids: &[ItemId], batch_size: usize, seed: u64) -> Result<Self, DataError> {
        if batch_size < 2 || batch_size > ids.len() {
            return refuse(format!(
                "a shuffled batch of {batch_size} cannot be drawn from {} items; give from 2 to as many as \
                 there are",
                ids.len()
            ));
        }
        let mut all = ids.to_vec();
        all.sort_unstable();
        Ok(Self {
            config: BatchSamplerConfig {
                seed,
                ..BatchSamplerConfig::new(batch_size, 1)
            },
            steps: all.len() / batch_size,
            plain: Some(Plain::Shuffled(all)),
            families: Vec::new(),
            left_out: ClassCount::default(),
            small: ClassCount::default(),
        })
    }
}

/// The batches of an epoch.
pub(super) fn epoch(all: &[ItemId], config: &BatchSamplerConfig, epoch: u64) -> Vec<Vec<ItemId>> {
    let key = Key {
        seed: config.seed,
        epoch,
        ..Key::default()
    };
    let mut all = all.to_vec();
    all.shuffle(&mut key.generator(Purpose::BATCHES));
    all.chunks_exact(config.batch_size)
        .map(<[ItemId]>::to_vec)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_has_each_item_once_at_most_and_another_order_than_the_one_before() {
        let ids: Vec<ItemId> = (10..33).collect();
        let sampler = BatchSampler::shuffled(&ids, 5, 7).unwrap();
        assert_eq!(sampler.steps_per_epoch(), 4);
        let first = sampler.epoch(0);
        assert!(first.iter().all(|batch| batch.len() == 5));
        let mut drawn = first.concat();
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn.len(), 20);
        assert!(drawn.iter().all(|id| ids.contains(id)));
        assert_eq!(first, sampler.epoch(0));
        assert_ne!(first, sampler.epoch(1));
        let other = BatchSampler::shuffled(&ids, 5, 8).unwrap();
        assert_ne!(first, other.epoch(0));
    }

    #[test]
    fn batches_that_cannot_be_filled_are_refused() {
        for size in [0, 1, 4] {
            let refused = BatchSampler::shuffled(&[1, 2, 3], size, 0).unwrap_err();
            assert!(refused.to_string().contains("3 items"), "{refused}");
        }
        assert!(BatchSampler::shuffled(&[1, 2, 3], 3, 0).is_ok());
    }
}
