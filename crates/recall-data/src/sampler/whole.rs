//! All items in one batch.

use std::collections::BTreeMap;

use super::{BatchSampler, BatchSamplerConfig, ClassCount, Plain};
use crate::{DataError, ItemId};

impl BatchSampler {
    /// A sampler whose epochs are one batch each, with every item in it, in the order of the items. Classes
    /// are of any size; an item that is alone in its class is found by others and finds nothing.
    ///
    /// # Errors
    ///
    /// [`DataError::TooFewClasses`] without a class of two items, or without a second class.
    ///
    /// # Panics
    ///
    /// If there is not a label for each item.
    pub fn whole(ids: &[ItemId], labels: &[u32]) -> Result<Self, DataError> {
        assert_eq!(ids.len(), labels.len(), "each item has a label");
        let mut sizes: BTreeMap<u32, usize> = BTreeMap::new();
        for &label in labels {
            *sizes.entry(label).or_default() += 1;
        }
        let problem = match sizes.values().max() {
            Some(2..) if sizes.len() > 1 => None,
            Some(2..) => Some("all items are of one class"),
            _ => Some("no two items are of one class"),
        };
        if let Some(problem) = problem {
            return Err(DataError::TooFewClasses {
                problem: format!("the whole set was to be a batch, and {problem}"),
                largest: None,
            });
        }
        let mut all = ids.to_vec();
        all.sort_unstable();
        Ok(Self {
            config: BatchSamplerConfig::new(all.len(), 2),
            plain: Some(Plain::Whole(all)),
            families: Vec::new(),
            left_out: ClassCount::default(),
            small: ClassCount::default(),
            steps: 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_is_one_batch_of_everything() {
        let sampler = BatchSampler::whole(&[5, 2, 9], &[1, 0, 1]).unwrap();
        assert_eq!(sampler.steps_per_epoch(), 1);
        for epoch in 0..3 {
            assert_eq!(sampler.epoch(epoch), [[2, 5, 9]]);
        }
        assert_eq!(sampler.config().batch_size, 3);
        assert_eq!(sampler.left_out().images, 0);
    }

    #[test]
    fn a_set_in_which_nothing_is_to_be_found_is_refused() {
        for (labels, problem) in [([0, 0, 0], "one class"), ([0, 1, 2], "no two items")] {
            let refused = BatchSampler::whole(&[0, 1, 2], &labels)
                .unwrap_err()
                .to_string();
            assert!(refused.contains(problem), "{refused}");
        }
    }
}
