//! Randomness that is a function of its place in the run.
//!
//! A generator carried through a run has a state that would have to be saved, and that the number
//! of threads would disturb. Here each place that needs randomness makes its own generator from
//! what it is for and where it is: [`Key`] and [`Purpose`].

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// What the randomness is for. Two purposes never share numbers, whatever their keys.
///
/// A purpose is the number of a stream of the generator. This crate takes the streams 1
/// ([`BATCHES`](Self::BATCHES)) and 2 ([`AUGMENTATION`](Self::AUGMENTATION)); 0 is what a generator has
/// that nobody gave a stream. A program that draws more, such as a trainer, numbers its own purposes
/// from 3 on:
///
/// ```
/// use recall_data::random::{Key, Purpose};
///
/// const DROPOUT: Purpose = Purpose::new(3);
///
/// let key = Key { seed: 7, ..Key::default() };
/// assert_ne!(key.generator(DROPOUT), key.generator(Purpose::BATCHES));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Purpose(u64);

impl Purpose {
    /// Drawing the batches of an epoch.
    pub const BATCHES: Self = Self::new(1);
    /// Augmenting an image.
    pub const AUGMENTATION: Self = Self::new(2);

    /// The purpose with the numbers of this stream. The stream of a purpose has to stay what it is, or
    /// a run that is resumed by a later version meets other numbers.
    #[must_use]
    pub const fn new(stream: u64) -> Self {
        Self(stream)
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
        generator.set_stream(purpose.0);
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
                Purpose::BATCHES,
                Purpose::AUGMENTATION,
                Purpose::new(3),
                Purpose::new(4),
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
        let mut generator = key.generator(Purpose::AUGMENTATION);
        assert_eq!(
            [generator.next_u32(), generator.next_u32()],
            [753079819, 594875343]
        );
    }
}
