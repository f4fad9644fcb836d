//! The exact ranks of every query's positives.
//!
//! The rank of a positive is one more than the number of items that come before it. To count them
//! nothing needs sorting but the positives themselves, and no similarity outlives its tile. For a
//! block of queries:
//!
//! 1. the similarities of its positives are computed and sorted;
//! 2. the block sweeps the gallery tile by tile, and each similarity is compared with those of the
//!    positives. Items that come after the last positive are passed over: in a good model that is
//!    most of them. A query with few positives counts, for each, the items before it and those that
//!    tie with it: one vectorised pass over the row. A query with many finds the place of each item
//!    among its positives by bisection and adds one there; the running sum of these counts is the
//!    answer.
//!
//! Both steps take their similarities from the same kernel, for which a pair has one value wherever
//! it lies in a block. Therefore equality means equality, and the result does not depend on block
//! sizes or on the number of threads.
//!
//! Memory beside the embeddings: 4 bytes for each pair of query and positive (the result), 8 more
//! for those of queries with ties, and for each thread `block × (dim + 256)` values and 20 bytes for
//! each such pair of its block. Time:
//! `queries × gallery × dim` multiply-adds, and again those between a block and the union of its
//! positives, which are few when the queries of a block share classes.

mod block;
mod filed;
mod key;
mod stream;
mod tally;

use std::ops::Range;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::kernel::Kernel;
use crate::protocol::task::Task;
use crate::sweep::{Buffers, Chosen, Rows, block_size};
use crate::{EvalError, Retrieval};

use block::{Block, FEW};

pub(crate) use block::{Row, TiedQuery, remove_leaving};
pub(crate) use key::Key;

/// In which order items of equal similarity are ranked.
///
/// The stable order makes a result one number. How far it is owed to that order, the other two
/// tell: no order of equal items gives ranks before the optimistic or behind the pessimistic ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Ties {
    /// By ascending id.
    #[default]
    Stable,
    /// Positives after all others, as if luck were always bad.
    Pessimistic,
    /// Positives before all others.
    Optimistic,
}

/// For each query, the exact ranks of its positives: all that any metric of this crate depends on.
///
/// Ranks start at 1. Those of a query are ascending and all different.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PositiveRanks {
    /// Where the ranks of each query start, and where the last ends: `[queries + 1]`.
    offsets: Vec<usize>,
    ranks: Vec<u32>,
    /// `[queries]`
    candidates: Vec<u32>,
    /// Ascending by query.
    tied: Vec<TiedQuery>,
}

impl PositiveRanks {
    /// Takes ranks computed elsewhere: for each query the ascending ranks of its positives, from 1
    /// on, and the number of items in its ranking. They are the same under all [`Ties`].
    ///
    /// # Errors
    ///
    /// If the two lists differ in length, or if ranks are not ascending, repeat, or are outside
    /// `1..=candidates`.
    pub fn from_lists(ranks: &[Vec<u32>], candidates: Vec<u32>) -> Result<Self, EvalError> {
        if ranks.len() != candidates.len() {
            return Err(EvalError::ListCount {
                what: "ranks",
                lists: ranks.len(),
                queries: candidates.len(),
            });
        }
        for (query, (ranks, &candidates)) in ranks.iter().zip(&candidates).enumerate() {
            let ascending = ranks.is_sorted_by(|a, b| a < b);
            if !ascending || ranks.first() == Some(&0) || ranks.last() > Some(&candidates) {
                return Err(EvalError::InvalidRanks { query, candidates });
            }
        }
        Ok(Self::from_parts(ranks, candidates, Vec::new()))
    }

    pub(crate) fn from_parts(
        ranks: &[Vec<u32>],
        candidates: Vec<u32>,
        tied: Vec<TiedQuery>,
    ) -> Self {
        Self {
            offsets: offsets(ranks.iter().map(Vec::len)),
            ranks: ranks.concat(),
            candidates,
            tied,
        }
    }

    /// Those of all queries, from those of some after those of others, as
    /// [`Retrieval::ranks_of`] gives them.
    pub fn joined(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self {
            offsets: vec![0],
            ranks: Vec::new(),
            candidates: Vec::new(),
            tied: Vec::new(),
        };
        for part in parts {
            let (queries, pairs) = (all.candidates.len(), all.ranks.len());
            all.offsets
                .extend(part.offsets[1..].iter().map(|end| pairs + end));
            all.ranks.extend(part.ranks);
            all.candidates.extend(part.candidates);
            all.tied.extend(part.tied.into_iter().map(|tied| TiedQuery {
                query: queries + tied.query,
                ..tied
            }));
        }
        all
    }

    /// Deals those of queries out in turn: query 0 to the first of `parts`, query 1 to the second.
    pub(crate) fn dealt(&self, parts: usize) -> Vec<Self> {
        let of_part = |part: usize| {
            let queries = || (part..self.queries()).step_by(parts);
            let ranks: Vec<Vec<u32>> = queries().map(|q| self.of(q).to_vec()).collect();
            let tied = self.tied.iter().filter(|tied| tied.query % parts == part);
            let tied = tied.map(|tied| TiedQuery {
                query: tied.query / parts,
                ..tied.clone()
            });
            let candidates = queries().map(|q| self.candidates[q]);
            Self::from_parts(&ranks, candidates.collect(), tied.collect())
        };
        (0..parts).map(of_part).collect()
    }

    /// Number of queries, those without positives included.
    pub fn queries(&self) -> usize {
        self.candidates.len()
    }

    /// The ranks of the positives of query `q` with ties broken by id, ascending, from 1 on; empty
    /// if it has none.
    ///
    /// # Panics
    ///
    /// If `q` is not below [`queries`](Self::queries), as indexing a slice does.
    pub fn of(&self, q: usize) -> &[u32] {
        &self.ranks[self.offsets[q]..self.offsets[q + 1]]
    }

    /// The same with ties broken as `ties` says.
    ///
    /// # Panics
    ///
    /// If `q` is not below [`queries`](Self::queries), as indexing a slice does.
    pub fn of_under(&self, q: usize, ties: Ties) -> &[u32] {
        match (ties, self.tied.binary_search_by_key(&q, |tied| tied.query)) {
            (Ties::Pessimistic, Ok(at)) => &self.tied[at].worst,
            (Ties::Optimistic, Ok(at)) => &self.tied[at].best,
            _ => self.of(q),
        }
    }

    /// The queries with a positive whose similarity another item has that is not one, ascending.
    pub fn tied(&self) -> impl ExactSizeIterator<Item = usize> {
        self.tied.iter().map(|tied| tied.query)
    }

    /// The number of items in the ranking of query `q`, without the query itself and its junk.
    ///
    /// # Panics
    ///
    /// If `q` is not below [`queries`](Self::queries), as indexing a slice does.
    pub fn candidates(&self, q: usize) -> u32 {
        self.candidates[q]
    }

    /// The ranks of each query in turn.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u32]> {
        (0..self.queries()).map(|q| self.of(q))
    }
}

impl Retrieval<'_> {
    /// The exact ranks of every query's positives, on all threads of the current rayon pool.
    ///
    /// # Errors
    ///
    /// If memory for the result cannot be had: 4 bytes for each pair of query and positive.
    pub fn ranks(&self) -> Result<PositiveRanks, EvalError> {
        self.ranks_with(block_size(self.queries()))
    }

    /// The same with `block` queries at a time, and as many gallery items up to 256. The result is
    /// the same for every block size: a larger one needs more memory, a smaller one more time.
    ///
    /// # Errors
    ///
    /// If `block` is 0, and those of [`ranks`](Self::ranks).
    pub fn ranks_with(&self, block: usize) -> Result<PositiveRanks, EvalError> {
        self.ranks_by(block, FEW)
    }

    /// The ranks of some of the queries, the first of which is query 0 of the result: several processes
    /// can share out the work, and [join](PositiveRanks::joined) what they find.
    ///
    /// # Errors
    ///
    /// As [`ranks`](Self::ranks).
    ///
    /// # Panics
    ///
    /// If there are fewer queries, as slicing does.
    pub fn ranks_of(&self, queries: Range<usize>) -> Result<PositiveRanks, EvalError> {
        self.ranks_in(queries, block_size(self.queries()), FEW)
    }

    /// Queries with up to `few` positives count for each of them.
    fn ranks_by(&self, block: usize, few: usize) -> Result<PositiveRanks, EvalError> {
        self.ranks_in(0..self.queries(), block, few)
    }

    fn ranks_in(
        &self,
        queries: Range<usize>,
        block: usize,
        few: usize,
    ) -> Result<PositiveRanks, EvalError> {
        if block == 0 {
            return Err(EvalError::EmptyBlock);
        }
        let kernel = Kernel::detect();
        let gallery = Rows::of(&self.gallery);
        let mut room = Room::of(&self.task, queries)?;
        let tied: Vec<Vec<TiedQuery>> = (room.parts(&self.task).par_chunks_mut(block))
            .map(|parts| {
                let mut block =
                    Block::new(&self.task, (&self.queries, 1), kernel, parts, block, few);
                let buffers = &mut Buffers::default();
                let positives = block.positives_below(self.task.gallery());
                let which = &positives;
                block.place(
                    which,
                    Chosen {
                        rows: gallery,
                        which,
                    },
                    buffers,
                );
                block.rank_positives();
                block.count(0, gallery, buffers);
                block.finish()
            })
            .collect();
        Ok(room.filled(&self.task, tied.concat()))
    }
}

/// Room for the ranks of all positives of some queries.
struct Room {
    queries: Range<usize>,
    /// Where those of each query start, and where the last ends: `[queries + 1]`.
    offsets: Vec<usize>,
    ranks: Vec<u32>,
}

impl Room {
    fn of(task: &Task, queries: Range<usize>) -> Result<Self, EvalError> {
        let counts: Vec<usize> = (queries.clone())
            .into_par_iter()
            .map(|q| task.positives_of(q).count())
            .collect();
        let offsets = offsets(counts.into_iter());
        let pairs = offsets[queries.len()];
        let mut ranks = Vec::new();
        ranks
            .try_reserve_exact(pairs)
            .map_err(|_| EvalError::TooManyPairs { pairs })?;
        ranks.resize(pairs, 0);
        Ok(Self {
            queries,
            offsets,
            ranks,
        })
    }

    /// Each query and its own part of the result. Queries of a class go together, as they share
    /// their positives.
    fn parts(&mut self, task: &Task) -> Vec<(usize, &mut [u32])> {
        let mut parts = Vec::with_capacity(self.queries.len());
        let mut rest = self.ranks.as_mut_slice();
        for (query, ends) in self.queries.clone().zip(self.offsets.windows(2)) {
            let (part, after) = rest.split_at_mut(ends[1] - ends[0]);
            parts.push((query, part));
            rest = after;
        }
        parts.sort_by_key(|&(query, _)| task.class_of(query));
        parts
    }

    fn filled(self, task: &Task, mut tied: Vec<TiedQuery>) -> PositiveRanks {
        tied.sort_unstable_by_key(|tied| tied.query);
        tied.iter_mut()
            .for_each(|tied| tied.query -= self.queries.start);
        PositiveRanks {
            offsets: self.offsets,
            ranks: self.ranks,
            candidates: self.queries.map(|q| task.candidates(q)).collect(),
            tied,
        }
    }
}

fn offsets(counts: impl Iterator<Item = usize>) -> Vec<usize> {
    let ends = counts.scan(0, |end, count| {
        *end += count;
        Some(*end)
    });
    std::iter::once(0).chain(ends).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Embeddings;

    proptest! {
        #[test]
        fn both_ways_of_counting_agree(
            values in prop::collection::vec(-2i8..=2, 2..300),
            classes in 1i64..9,
            block in prop::sample::select(vec![3, 32, 300]),
        ) {
            let values: Vec<f32> = values[values.len() % 2..].iter().map(|&v| v.into()).collect();
            let embeddings = Embeddings::new(values, 2).unwrap();
            let labels: Vec<i64> = (0..embeddings.rows() as i64).map(|i| i * i % classes).collect();
            let retrieval = Retrieval::each_against_rest(&embeddings, &labels).unwrap();
            let one_by_one = retrieval.ranks_by(block, usize::MAX).unwrap();
            prop_assert_eq!(&retrieval.ranks_by(block, 0).unwrap(), &one_by_one);
            prop_assert_eq!(&retrieval.ranks_by(block, 20).unwrap(), &one_by_one);
            // Ties among them: the numbers are few.
            let queries = retrieval.queries();
            let parts = [0..queries / 3, queries / 3..queries / 3, queries / 3..queries];
            let parts = parts.map(|part| retrieval.ranks_of(part).unwrap());
            prop_assert_eq!(&PositiveRanks::joined(parts), &one_by_one);
        }
    }
}
