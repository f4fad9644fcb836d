//! The exact ranks of every query's positives.
//!
//! The rank of a positive is one more than the number of items that come before it. To count them
//! nothing needs sorting but the positives themselves, and no similarity outlives its tile. For a
//! block of queries:
//!
//! 1. the similarities of its positives are computed and sorted;
//! 2. the block sweeps the gallery tile by tile, and each similarity is compared with those of the
//!    positives. A query with few positives counts, for each, the items before it: one vectorised
//!    pass over the row. A query with many sorts the items of the tile that come before its last
//!    positive, merges them with the positives, and adds one where each falls; the running sum of
//!    these counts is the answer.
//!
//! Both steps take their similarities from the same kernel, for which a pair has one value wherever
//! it lies in a block. Therefore equality means equality, and the result does not depend on block
//! sizes or on the number of threads.
//!
//! Memory beside the embeddings: 4 bytes for each pair of query and positive (the result), and for
//! each thread `block × (dim + 256)` values and 16 bytes for each such pair of its block. Time:
//! `queries × gallery × dim` multiply-adds, and again those between a block and the union of its
//! positives, which are few when the queries of a block share classes.

use std::ops::Range;

use rayon::prelude::*;

use crate::kernel::Kernel;
use crate::sweep::{First, Sweep, TILE, block_size};
use crate::{EvalError, Retrieval};

/// Up to this number of positives every item is compared with each of them: at up to 16 items an
/// instruction that costs less than sorting.
const FEW: usize = 256;

/// For each query, the exact ranks of its positives: all that any metric of this crate depends on.
///
/// Ranks start at 1. Those of a query are ascending and all different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PositiveRanks {
    /// Where the ranks of each query start, and where the last ends: `[queries + 1]`.
    offsets: Vec<usize>,
    ranks: Vec<u32>,
    /// `[queries]`
    candidates: Vec<u32>,
}

impl PositiveRanks {
    /// Takes ranks computed elsewhere: for each query the ascending ranks of its positives, from 1
    /// on, and the number of items in its ranking.
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
        let offsets = offsets(ranks.iter().map(Vec::len));
        Ok(Self {
            offsets,
            ranks: ranks.concat(),
            candidates,
        })
    }

    /// Number of queries, those without positives included.
    pub fn queries(&self) -> usize {
        self.candidates.len()
    }

    /// The ranks of the positives of query `q`, ascending, from 1 on; empty if it has none.
    ///
    /// # Panics
    ///
    /// If `q` is not below [`queries`](Self::queries), as indexing a slice does.
    pub fn of(&self, q: usize) -> &[u32] {
        &self.ranks[self.offsets[q]..self.offsets[q + 1]]
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

    /// Queries with up to `few` positives count for each of them.
    fn ranks_by(&self, block: usize, few: usize) -> Result<PositiveRanks, EvalError> {
        if block == 0 {
            return Err(EvalError::EmptyBlock);
        }
        let kernel = Kernel::detect();
        let counts: Vec<usize> = (0..self.queries())
            .into_par_iter()
            .map(|q| self.positives_of(q).count())
            .collect();
        let offsets = offsets(counts.into_iter());
        let pairs = offsets[self.queries()];
        let mut ranks = Vec::new();
        ranks
            .try_reserve_exact(pairs)
            .map_err(|_| EvalError::TooManyPairs { pairs })?;
        ranks.resize(pairs, 0);

        // Each block of queries writes its own part of the result.
        let mut blocks = Vec::with_capacity(self.queries().div_ceil(block));
        let mut rest = ranks.as_mut_slice();
        for start in (0..self.queries()).step_by(block) {
            let queries = start..(start + block).min(self.queries());
            let (part, after) = rest.split_at_mut(offsets[queries.end] - offsets[queries.start]);
            blocks.push((queries, part));
            rest = after;
        }
        blocks.into_par_iter().for_each(|(queries, part)| {
            part.copy_from_slice(&Block::new(self, kernel, queries, block, few).ranks());
        });

        let candidates = (0..self.queries()).map(|q| self.candidates(q)).collect();
        Ok(PositiveRanks {
            offsets,
            ranks,
            candidates,
        })
    }
}

/// An item and its similarity to a query, as a number that is smaller the earlier the item comes in
/// the ranking: by descending similarity, then by ascending id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key(u64);

impl Key {
    /// `similarity` must not be NaN. Minus zero becomes zero, so that the two are equal.
    #[inline(always)]
    pub(crate) fn new(similarity: f32, id: u32) -> Self {
        let bits = (similarity + 0.0).to_bits();
        // The bits of positive floats ascend with their values, and those of negative floats
        // descend.
        let descending = if similarity < 0.0 {
            bits
        } else {
            !bits & !SIGN
        };
        Self(u64::from(descending) << 32 | u64::from(id))
    }

    #[inline(always)]
    pub(crate) fn similarity(self) -> f32 {
        let descending = (self.0 >> 32) as u32;
        f32::from_bits(if descending & SIGN == 0 {
            !descending & !SIGN
        } else {
            descending
        })
    }

    #[inline(always)]
    pub(crate) fn id(self) -> u32 {
        self.0 as u32
    }
}

const SIGN: u32 = 1 << 31;

struct Block<'a, 'r> {
    retrieval: &'a Retrieval<'r>,
    sweep: Sweep<'a>,
    queries: Range<usize>,
    /// Where the positives of each query start in `keys`: `[queries + 1]`.
    offsets: Vec<usize>,
    /// The positives, query by query: at first in the order of their ids, then ranked.
    keys: Vec<Key>,
    /// For each positive, how many items come before it (few positives), or between the one before
    /// and it (many).
    counts: Vec<u32>,
    /// How many are few.
    few: usize,
}

impl<'a, 'r> Block<'a, 'r> {
    fn new(
        retrieval: &'a Retrieval<'r>,
        kernel: Kernel,
        queries: Range<usize>,
        tile: usize,
        few: usize,
    ) -> Self {
        let rows = queries.clone().map(|q| retrieval.queries.row(q));
        let sweep = Sweep::new(kernel, rows, retrieval.gallery, tile);
        let mut keys = Vec::new();
        let mut offsets = vec![0];
        for q in queries.clone() {
            keys.extend(retrieval.positives_of(q).map(|id| Key::new(0.0, id)));
            offsets.push(keys.len());
        }
        let counts = vec![0; keys.len()];
        Self {
            retrieval,
            sweep,
            queries,
            offsets,
            keys,
            counts,
            few,
        }
    }

    fn ranks(mut self) -> Vec<u32> {
        self.rank_positives();
        self.count();
        for range in self.offsets.windows(2).map(|pair| pair[0]..pair[1]) {
            let mut before = 0;
            let many = range.len() > self.few;
            for count in &mut self.counts[range] {
                if many {
                    before += *count;
                    *count = before;
                }
                *count += 1;
            }
        }
        self.counts
    }

    /// Similarities of the positives, from the products of the block with the union of them.
    fn rank_positives(&mut self) {
        let mut union: Vec<u32> = self.keys.iter().map(|key| key.id()).collect();
        union.sort_unstable();
        union.dedup();

        // The positives of a query are in the order of ids as the union is, so each tile takes up
        // where the last left.
        let mut next = self.offsets.clone();
        let (keys, offsets) = (&mut self.keys, &self.offsets);
        self.sweep.over(union.as_slice(), |_, tile, products| {
            let ids = &union[tile];
            for (q, next) in next[..offsets.len() - 1].iter_mut().enumerate() {
                let similarities = products.row_mut(q, ids.len());
                while *next < offsets[q + 1] {
                    let id = keys[*next].id();
                    let Ok(at) = ids.binary_search(&id) else {
                        break;
                    };
                    keys[*next] = Key::new(similarities[at], id);
                    *next += 1;
                }
            }
        });
        for range in offsets.windows(2) {
            keys[range[0]..range[1]].sort_unstable();
        }
    }

    /// Compares every item of the gallery with the positives.
    fn count(&mut self) {
        if self.keys.is_empty() {
            return;
        }
        let Self {
            retrieval,
            sweep,
            queries,
            offsets,
            keys,
            counts,
            few,
        } = self;
        let mut items = Vec::with_capacity(TILE);
        let all = First(retrieval.gallery.rows());
        sweep.over(all, |kernel, tile, products| {
            kernel.run(
                #[inline(always)]
                || {
                    for (q, range) in offsets.windows(2).enumerate() {
                        let range = range[0]..range[1];
                        if range.is_empty() {
                            continue;
                        }
                        let row = products.row_mut(q, tile.len());
                        remove_leaving(retrieval, queries.start + q, &tile, row);
                        let (keys, counts) = (&keys[range.clone()], &mut counts[range]);
                        if keys.len() <= *few {
                            count_few(row, tile.start, keys, counts);
                        } else {
                            count_many(row, tile.start, keys, counts, &mut items);
                        }
                    }
                },
            );
        });
    }
}

/// Gives the items of a tile that leave the ranking of query `q` a similarity below all others.
pub(crate) fn remove_leaving(
    retrieval: &Retrieval<'_>,
    q: usize,
    tile: &Range<usize>,
    similarities: &mut [f32],
) {
    if let Some(own) = retrieval
        .own_id(q)
        .map(|id| id as usize)
        .filter(|id| tile.contains(id))
    {
        similarities[own - tile.start] = f32::NEG_INFINITY;
    }
    for &id in retrieval.junk_between(q, tile.start, tile.end) {
        similarities[id as usize - tile.start] = f32::NEG_INFINITY;
    }
}

/// For each positive, the number of items before it.
#[inline(always)]
fn count_few(row: &[f32], start: usize, keys: &[Key], counts: &mut [u32]) {
    for (key, count) in keys.iter().zip(counts) {
        let positive = key.similarity();
        // Of the items that tie with it, those with smaller ids come before it.
        let smaller_ids = (key.id() as usize).saturating_sub(start).min(row.len());
        let (smaller, larger) = row.split_at(smaller_ids);
        *count += smaller
            .iter()
            .map(|&item| u32::from(item >= positive))
            .sum::<u32>();
        *count += larger
            .iter()
            .map(|&item| u32::from(item > positive))
            .sum::<u32>();
    }
}

/// For each positive, the number of items between the one before and it, the former included.
#[inline(always)]
fn count_many(row: &[f32], start: usize, keys: &[Key], counts: &mut [u32], items: &mut Vec<Key>) {
    let Some(&last) = keys.last() else { return };
    let row = row
        .iter()
        .zip(start..)
        .map(|(&similarity, id)| Key::new(similarity, id as u32));
    items.clear();
    items.extend(row.filter(|item| *item < last));
    items.sort_unstable();

    let mut place = 0;
    for item in items {
        // Ends at the last positive at the latest.
        while keys[place] <= *item {
            place += 1;
        }
        counts[place] += 1;
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
        fn keys_order_as_rankings_do(a: f32, b: f32, i: u32, j: u32) {
            prop_assume!(a.is_finite() && b.is_finite());
            prop_assert_eq!(Key::new(a, i).similarity(), a);
            prop_assert_eq!(Key::new(a, i).id(), i);
            prop_assert_eq!(Key::new(a, i) < Key::new(b, j), a > b || a == b && i < j);
            prop_assert_eq!(Key::new(a, i) < Key::new(a, j), i < j);
            prop_assert!(Key::new(f32::NEG_INFINITY, 0) > Key::new(a, i));
        }

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
        }
    }

    #[test]
    fn keys_of_the_zeros() {
        assert_eq!(Key::new(0.0, 3), Key::new(-0.0, 3));
        assert!(Key::new(f32::MIN_POSITIVE, 9) < Key::new(-0.0, 3));
        assert!(Key::new(-f32::MIN_POSITIVE, 0) > Key::new(-0.0, 3));
    }
}
