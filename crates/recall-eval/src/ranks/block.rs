//! The ranks of the positives of a block of queries.

use std::ops::Range;

use super::Key;
use super::tally::{Found, Positives, Tally};
use crate::Retrieval;
use crate::kernel::Kernel;
use crate::sweep::{First, Sweep};

/// Up to this number of positives every item is compared with each of them: at up to 16 items an
/// instruction that costs less than bisection.
pub(super) const FEW: usize = 64;

/// A block of queries on its way over the gallery.
pub(super) struct Block<'a, 'r, 'p> {
    retrieval: &'a Retrieval<'r>,
    sweep: Sweep<'a>,
    /// The queries, and where their ranks go.
    parts: &'a mut [(usize, &'p mut [u32])],
    /// Where the positives of each query start in `keys`: `[queries + 1]`.
    offsets: Vec<usize>,
    /// The positives, query by query: at first in the order of their ids, then ranked.
    keys: Vec<Key>,
    /// How many are few.
    few: usize,
}

/// A query whose ranks depend on the order of equal similarities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TiedQuery {
    pub query: usize,
    /// Ranks with the positives before all others of their similarity.
    pub best: Vec<u32>,
    /// Ranks with the positives after all others of their similarity.
    pub worst: Vec<u32>,
}

impl<'a, 'r, 'p> Block<'a, 'r, 'p> {
    pub fn new(
        retrieval: &'a Retrieval<'r>,
        kernel: Kernel,
        parts: &'a mut [(usize, &'p mut [u32])],
        tile: usize,
        few: usize,
    ) -> Self {
        let rows = parts.iter().map(|&(q, _)| retrieval.queries.row(q));
        let sweep = Sweep::new(kernel, rows, &retrieval.gallery, tile);
        let mut keys = Vec::new();
        let mut offsets = vec![0];
        for &mut (q, _) in parts.iter_mut() {
            keys.extend(retrieval.positives_of(q).map(|id| Key::new(0.0, id)));
            offsets.push(keys.len());
        }
        Self {
            retrieval,
            sweep,
            parts,
            offsets,
            keys,
            few,
        }
    }

    /// Writes the ranks of the positives; returns the queries with ties.
    pub fn ranks(mut self) -> Vec<TiedQuery> {
        self.rank_positives();
        let mut tally = self.count();
        let mut tied = Vec::new();
        for ((query, ranks), range) in self.parts.iter_mut().zip(self.offsets.windows(2)) {
            let (query, range) = (*query, range[0]..range[1]);
            let placed = range.len() > self.few;
            if placed {
                tally.add_up(range.clone());
            }
            for (rank, counted) in ranks.iter_mut().zip(tally.ranks(range.clone())) {
                *rank = counted;
            }
            if let Some((best, worst)) = tally.extremes(&self.keys, range, placed) {
                tied.push(TiedQuery { query, best, worst });
            }
        }
        tied
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
    fn count(&mut self) -> Tally {
        let mut tally = Tally::new(self.keys.len());
        if self.keys.is_empty() {
            return tally;
        }
        let Self {
            retrieval,
            sweep,
            parts,
            offsets,
            keys,
            few,
        } = self;
        let mut found = Found::default();
        let levels: Vec<f32> = keys.iter().map(|key| key.similarity()).collect();
        let positives = Positives {
            keys,
            levels: &levels,
        };
        let all = First(retrieval.gallery.rows());
        sweep.over(all, |kernel, tile, products| {
            kernel.run(
                #[inline(always)]
                || {
                    for (place, range) in offsets.windows(2).enumerate() {
                        let range = range[0]..range[1];
                        if range.is_empty() {
                            continue;
                        }
                        let row = products.row_mut(place, tile.len());
                        remove_leaving(retrieval, parts[place].0, &tile, row);
                        tally.count(row, tile.start, positives, range, *few, &mut found);
                    }
                },
            );
        });
        tally
    }
}

/// One query whose similarities to the whole gallery are there.
#[cfg(feature = "burn")]
pub(crate) struct Row<'a, 'r> {
    retrieval: &'a Retrieval<'r>,
    query: usize,
    /// Its positives, ranked.
    keys: Vec<Key>,
}

#[cfg(feature = "burn")]
impl<'a, 'r> Row<'a, 'r> {
    pub fn new(retrieval: &'a Retrieval<'r>, query: usize, mut keys: Vec<Key>) -> Self {
        keys.sort_unstable();
        Self {
            retrieval,
            query,
            keys,
        }
    }

    /// The ranks, and what ties make of them, if there are any.
    pub fn count(self, kernel: Kernel, similarities: &mut [f32]) -> (Vec<u32>, Option<TiedQuery>) {
        let all = 0..self.keys.len();
        let placed = all.len() > FEW;
        let mut tally = Tally::new(all.len());
        remove_leaving(
            self.retrieval,
            self.query,
            &(0..similarities.len()),
            similarities,
        );
        let levels: Vec<f32> = self.keys.iter().map(|key| key.similarity()).collect();
        kernel.run(
            #[inline(always)]
            || {
                let found = &mut Found::default();
                let positives = Positives {
                    keys: &self.keys,
                    levels: &levels,
                };
                tally.count(similarities, 0, positives, all.clone(), FEW, found);
            },
        );
        if placed {
            tally.add_up(all.clone());
        }
        let ranks = tally.ranks(all.clone()).collect();
        let query = self.query;
        let extremes = tally.extremes(&self.keys, all, placed);
        (
            ranks,
            extremes.map(|(best, worst)| TiedQuery { query, best, worst }),
        )
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
    for &id in retrieval.ignored_between(q, tile).into_iter().flatten() {
        similarities[id as usize - tile.start] = f32::NEG_INFINITY;
    }
}
