use std::fmt;

use thiserror::Error;

/// Numbers that are summed at once: what a sum takes beside its numbers grows with this, not with them. A megabyte, so that
/// the copies on the way of a message stay in a processor's cache and their memory is used again, not fetched anew.
const BLOCK: usize = 1 << 18;

/// Several processes that take the same steps, each at its place from 0: its rank.
///
/// An implementation says which rank it is and how bytes get from each rank to each. The rest follows, and
/// every rank comes to the same bits: a sum is added up by one rank, in the order of ranks, and handed to
/// the others. All ranks have to call the same functions in the same order. Bytes are as the processor has
/// them, so ranks run on processors of one byte order.
///
/// [`Solo`] is a process by itself; [`in_turns`](crate::in_turns) has ranks without a network, for tests.
///
/// ```
/// use recall_step::{Collective, CollectiveError, Solo};
///
/// # fn main() -> Result<(), CollectiveError> {
/// let ranks: &dyn Collective = &Solo;
/// assert_eq!((ranks.rank(), ranks.size()), (0, 1));
/// assert_eq!(ranks.all_gather(b"mine")?, [b"mine"]);
/// let mut values = [1.0, 2.0];
/// ranks.all_reduce(&mut values)?;
/// assert_eq!(values, [1.0, 2.0]);
/// # Ok(())
/// # }
/// ```
pub trait Collective: fmt::Debug + Send + Sync {
    /// The place of this process among all, from 0.
    fn rank(&self) -> usize;

    /// How many processes there are, at least 1.
    fn size(&self) -> usize;

    /// Sends `parts[r]` to rank `r`, and returns what each rank has sent to this one, in the order of
    /// ranks. Parts may be empty, and of any length.
    ///
    /// # Errors
    ///
    /// [`CollectiveError`] if a rank is not there, or if there is not one part for each rank. No rank can
    /// go on after it.
    fn all_to_all(&self, parts: &[&[u8]]) -> Result<Vec<Vec<u8>>, CollectiveError>;

    /// What each rank hands in as `own`, in the order of ranks.
    ///
    /// # Errors
    ///
    /// As [`all_to_all`](Self::all_to_all).
    fn all_gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>, CollectiveError> {
        self.all_to_all(&vec![own; self.size()])
    }

    /// Replaces each number by the sum of those that the ranks have at its place, in the order of ranks:
    /// the same bits on all of them, and each time.
    ///
    /// # Errors
    ///
    /// As [`all_to_all`](Self::all_to_all), and if ranks hand in different counts of numbers.
    fn all_reduce(&self, values: &mut [f32]) -> Result<(), CollectiveError> {
        if self.size() > 1 {
            for block in values.chunks_mut(BLOCK) {
                sum_block(self, block)?;
            }
        }
        Ok(())
    }
}

/// Why ranks cannot go on together.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CollectiveError {
    /// A rank is frozen, hangs, or takes longer than the others wait.
    #[error("rank {rank} has not answered for {seconds} s")]
    Silent {
        /// Which.
        rank: usize,
        /// How long the others have waited.
        seconds: u64,
    },
    /// A rank has ended.
    #[error("rank {rank} has ended")]
    Ended {
        /// Which.
        rank: usize,
    },
    /// A rank does something else than this one.
    #[error("rank {rank} {problem}")]
    Differs {
        /// Which.
        rank: usize,
        /// What it does, behind its name.
        problem: String,
    },
    /// What connects the ranks does not work; the whole sentence.
    #[error("{0}")]
    Broken(String),
}

/// A process by itself, the only rank of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Solo;

impl Collective for Solo {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn all_to_all(&self, parts: &[&[u8]]) -> Result<Vec<Vec<u8>>, CollectiveError> {
        check_parts(self, parts)?;
        Ok(parts.iter().map(|part| part.to_vec()).collect())
    }
}

/// Refuses parts that are not one for each rank: what an implementation of
/// [`Collective::all_to_all`] begins with.
///
/// # Errors
///
/// [`CollectiveError::Broken`].
pub fn check_parts(
    ranks: &(impl Collective + ?Sized),
    parts: &[&[u8]],
) -> Result<(), CollectiveError> {
    match parts.len() == ranks.size() {
        true => Ok(()),
        false => Err(CollectiveError::Broken(format!(
            "there are {} parts to send to {} ranks: each gets one",
            parts.len(),
            ranks.size()
        ))),
    }
}

/// Each rank adds up a slice of the numbers, in the order of ranks, and all gather the slices.
fn sum_block(ranks: &(impl Collective + ?Sized), block: &mut [f32]) -> Result<(), CollectiveError> {
    let size = ranks.size();
    let count = block.len();
    let slice = |rank: usize| rank * count / size..(rank + 1) * count / size;
    let parts: Vec<&[u8]> = (0..size)
        .map(|rank| bytemuck::cast_slice(&block[slice(rank)]))
        .collect();
    let received = ranks.all_to_all(&parts)?;
    let mut sum = vec![0.0; slice(ranks.rank()).len()];
    for (rank, values) in received.iter().enumerate() {
        let values = numbers(rank, values, sum.len())?;
        match rank {
            // Not added to a zero, which would lose the sign of a sum of negative ones.
            0 => sum.iter_mut().zip(values).for_each(|(sum, x)| *sum = x),
            _ => sum.iter_mut().zip(values).for_each(|(sum, x)| *sum += x),
        }
    }
    let slices = ranks.all_gather(bytemuck::cast_slice(&sum))?;
    for (rank, values) in slices.iter().enumerate() {
        let place = &mut block[slice(rank)];
        let values = numbers(rank, values, place.len())?;
        place
            .iter_mut()
            .zip(values)
            .for_each(|(place, x)| *place = x);
    }
    Ok(())
}

/// The `count` numbers that a rank has sent.
fn numbers(
    rank: usize,
    bytes: &[u8],
    count: usize,
) -> Result<impl Iterator<Item = f32>, CollectiveError> {
    match bytes.len() == 4 * count {
        true => Ok(floats(bytes)),
        false => Err(CollectiveError::Differs {
            rank,
            problem: format!("sums {} numbers where others sum {count}", bytes.len() / 4),
        }),
    }
}

/// Numbers from the bytes of a rank.
pub(crate) fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> {
    let (words, _) = bytes.as_chunks();
    words.iter().map(|word| f32::from_ne_bytes(*word))
}
