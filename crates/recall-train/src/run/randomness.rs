//! What training draws at random beside what `recall-data` does.

use rand::RngExt;
use recall_data::random::{Key, Purpose};

/// The coefficients of similarity mixup, one generator a step.
pub(super) const MIXUP: Purpose = Purpose::new(3);

/// Dropout and other randomness inside a model.
pub(crate) const MODEL: Purpose = Purpose::new(4);

/// One number from a place in the run, to seed what takes a number.
pub(crate) trait SeedFor {
    fn seed_for(&self, purpose: Purpose) -> u64;
}

impl SeedFor for Key {
    fn seed_for(&self, purpose: Purpose) -> u64 {
        self.generator(purpose).random()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_a_key_stay_what_they_were() {
        // A run that is resumed by a later version has to meet the same numbers.
        let key = Key {
            seed: 1,
            epoch: 2,
            step: 3,
            item: 4,
        };
        assert_eq!(
            [key.seed_for(MIXUP), key.seed_for(MODEL)],
            [5722302799565271678, 5818426522278667323]
        );
    }
}
