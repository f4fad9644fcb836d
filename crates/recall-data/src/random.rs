//! Randomness that is a function of its place in the run.
//!
//! A generator carried through a run has a state that would have to be saved, and that the number
//! of threads would disturb. Here each place that needs randomness makes its own generator from
//! what it is for and where it is: [`Key`] and [`Purpose`].

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// What the randomness is for. Two purposes never share numbers, whatever their keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// Drawing the batches of an epoch.
    Batches,
    /// Augmenting an image.
    Augmentation,
    /// The coefficients of similarity mixup, one generator a step.
    Mixup,
    /// Dropout and other randomness inside a model.
    Model,
}

impl Purpose {
    /// Fixed numbers: a purpose added later must not change what the others draw.
    fn stream(self) -> u64 {
        match self {
            Self::Batches => 1,
            Self::Augmentation => 2,
            Self::Mixup => 3,
            Self::Model => 4,
        }
    }
}

/// A place in a run. Fields that mean nothing for a purpose stay 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Key {
    /// The seed of the run.
    pub seed: u64,
    /// The epoch, from 0.
    pub epoch: u64,
    /// The step within the epoch, from 0.
    pub step: u64,
    /// The item, or whatever else is counted within a step.
    pub item: u64,
}

impl Key {
    /// The generator of this place for `purpose`.
    ///
    /// ChaCha takes a key of 256 bits, which is just what the four numbers make: they are the key
    /// as they stand. No hash lies between, so two places cannot collide.
    pub fn generator(&self, purpose: Purpose) -> ChaCha8Rng {
        let mut key = [0; 32];
        for (bytes, number) in key
            .chunks_exact_mut(8)
            .zip([self.seed, self.epoch, self.step, self.item])
        {
            bytes.copy_from_slice(&number.to_le_bytes());
        }
        let mut generator = ChaCha8Rng::from_seed(key);
        generator.set_stream(purpose.stream());
        generator
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rand::Rng;

    use super::*;

    #[test]
    fn every_field_and_the_purpose_change_the_numbers() {
        let base = Key {
            seed: 1,
            epoch: 2,
            step: 3,
            item: 4,
        };
        let keys = [
            base,
            Key { seed: 2, ..base },
            Key { epoch: 3, ..base },
            Key { step: 4, ..base },
            Key { item: 5, ..base },
            Key {
                seed: 2,
                epoch: 1,
                ..base
            },
        ];
        let mut seen = HashSet::new();
        for key in keys {
            for purpose in [
                Purpose::Batches,
                Purpose::Augmentation,
                Purpose::Mixup,
                Purpose::Model,
            ] {
                assert!(seen.insert(key.generator(purpose).next_u64()));
                assert_eq!(
                    key.generator(purpose).next_u64(),
                    key.generator(purpose).next_u64(),
                    "a pure function"
                );
            }
        }
    }

    #[test]
    fn the_numbers_of_a_key_stay_what_they_were() {
        // A run that is resumed by a later version has to meet the same numbers.
        let key = Key {
            seed: 1,
            epoch: 2,
            step: 3,
            item: 4,
        };
        let mut generator = key.generator(Purpose::Augmentation);
        assert_eq!(
            [generator.next_u32(), generator.next_u32()],
            [753079819, 594875343]
        );
    }
}
