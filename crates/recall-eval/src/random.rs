//! Drawing one of several, the same in every version of this crate.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// A number below `count`, which is not 0: the upper half of a product, which is uniform but for one
/// part in 2^32 / `count`.
pub(crate) fn below(generator: &mut ChaCha8Rng, count: usize) -> usize {
    let product = u64::from(generator.next_u32()) * count as u64;
    (product >> 32) as usize
}
