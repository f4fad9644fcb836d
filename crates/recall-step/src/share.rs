use std::ops::Range;

use crate::Collective;

/// What one rank embeds of a batch: whole chunks, one behind the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// The place of its first chunk among the chunks of the whole batch.
    pub first_chunk: usize,
    /// Its rows; none where the batch has fewer chunks than there are ranks.
    pub rows: usize,
}

impl Share {
    /// A batch of `rows` rows that one process embeds by itself.
    pub fn whole(rows: usize) -> Self {
        Self {
            first_chunk: 0,
            rows,
        }
    }
}

/// The rows that this rank embeds of a batch of `rows` rows in chunks of `chunk`: as many chunks as any other,
/// or one more or less. They begin with a chunk, so that a chunk has the same place and the same rows however
/// many ranks there are.
///
/// ```
/// use recall_step::{Solo, share};
///
/// assert_eq!(share(&Solo, 100, 16), 0..100);
/// let of_three = recall_step::in_turns(3, |ranks| share(&*ranks, 100, 16));
/// assert_eq!(of_three, [0..32, 32..64, 64..100]);
/// ```
pub fn share(ranks: &dyn Collective, rows: usize, chunk: usize) -> Range<usize> {
    let chunk = chunk.max(1);
    let chunks = rows.div_ceil(chunk);
    let first = |rank: usize| (rank * chunks / ranks.size() * chunk).min(rows);
    first(ranks.rank())..first(ranks.rank() + 1)
}
