//! The ranks of the positives of a block of queries.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::Key;
use super::tally::{Found, Positives, Tally};
use crate::Embeddings;
use crate::kernel::{Kernel, Reached};
use crate::protocol::task::Task;
use crate::sweep::{Buffers, Items, Sweep};

/// Up to this number of positives every item is compared with each of them: at up to 16 items an
/// instruction that costs less than bisection.
pub(super) const FEW: usize = 64;

/// A block of queries on its way over the gallery, which it may see piece by piece: first
/// [`place`](Self::place) with all its positives, then [`rank_positives`](Self::rank_positives),
/// [`count`](Self::count) with all items, and [`finish`](Self::finish).
pub(super) struct Block<'a, 'p> {
    task: &'a Task,
    sweep: Sweep,
    /// The queries, and where their ranks go.
    parts: &'a mut [(usize, &'p mut [u32])],
    /// The row of products of each of them.
    rows: Vec<usize>,
    /// Where the positives of each query start in `keys`: `[queries + 1]`.
    offsets: Vec<usize>,
    /// The positives, query by query: at first in the order of their ids, then ranked.
    keys: Vec<Key>,
    /// The first positive of each query that has no similarity yet.
    next: Vec<usize>,
    /// The similarities in `keys`.
    levels: Vec<f32>,
    tally: Tally,
    /// How many are few.
    few: usize,
    /// How many queries of the task are one row.
    each: usize,
}

/// A query whose ranks depend on the order of equal similarities.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TiedQuery {
    pub query: usize,
    /// Ranks with the positives before all others of their similarity.
    pub best: Vec<u32>,
    /// Ranks with the positives after all others of their similarity.
    pub worst: Vec<u32>,
}

impl<'a, 'p> Block<'a, 'p> {
    /// Of the task's queries `each` in turn are one row of `queries`, which is multiplied once.
    pub fn new(
        task: &'a Task,
        (queries, each): (&Embeddings, usize),
        kernel: Kernel,
        parts: &'a mut [(usize, &'p mut [u32])],
        tile: usize,
        few: usize,
    ) -> Self {
        let (mut distinct, mut rows) = (Vec::<usize>::new(), Vec::with_capacity(parts.len()));
        for &(q, _) in parts.iter() {
            if distinct.last() != Some(&(q / each)) {
                distinct.push(q / each);
            }
            rows.push(distinct.len() - 1);
        }
        let of_queries: Vec<&[f32]> = distinct.iter().map(|&row| queries.row(row)).collect();
        let sweep = Sweep::new(kernel, of_queries.into_iter(), queries.dim(), tile);
        let mut keys = Vec::new();
        let mut offsets = vec![0];
        for &mut (q, _) in parts.iter_mut() {
            keys.extend(task.positives_of(q).map(|id| Key::new(0.0, id)));
            offsets.push(keys.len());
        }
        Self {
            task,
            sweep,
            parts,
            rows,
            next: offsets[..offsets.len() - 1].to_vec(),
            offsets,
            levels: Vec::new(),
            tally: Tally::new(keys.len()),
            keys,
            few,
            each,
        }
    }

    /// The ids of the positives below `end` that have no similarity yet, ascending, each once.
    pub fn positives_below(&self, end: usize) -> Vec<u32> {
        let mut union = Vec::new();
        for (&next, &last) in self.next.iter().zip(&self.offsets[1..]) {
            let ids = self.keys[next..last].iter().map(|key| key.id());
            union.extend(ids.take_while(|&id| (id as usize) < end));
        }
        union.sort_unstable();
        union.dedup();
        union
    }

    /// Takes similarities of positives, from the products of the block with `items`: those of `ids`,
    /// what [`positives_below`](Self::positives_below) found.
    pub fn place(&mut self, ids: &[u32], items: impl Items, buffers: &mut Buffers) {
        // The positives of a query are in the order of ids as `ids` is, so each tile takes up where
        // the last left.
        let (keys, ends) = (&mut self.keys, &self.offsets[1..]);
        self.sweep.over(items, buffers, |_, tile, products| {
            let ids = &ids[tile];
            for (q, (next, &end)) in self.next.iter_mut().zip(ends).enumerate() {
                let similarities = products.row_mut(self.rows[q], ids.len());
                while *next < end {
                    let id = keys[*next].id();
                    let Ok(at) = ids.binary_search(&id) else {
                        break;
                    };
                    keys[*next] = Key::new(similarities[at], id);
                    *next += 1;
                }
            }
        });
    }

    /// Once all similarities of positives are there.
    pub fn rank_positives(&mut self) {
        for range in self.offsets.windows(2) {
            self.keys[range[0]..range[1]].sort_unstable();
        }
        self.levels = self.keys.iter().map(|key| key.similarity()).collect();
    }

    /// Compares items of the gallery, from number `start` on, with the positives.
    pub fn count(&mut self, start: usize, items: impl Items, buffers: &mut Buffers) {
        if self.keys.is_empty() {
            return;
        }
        let mut found = Found::default();
        let positives = Positives {
            keys: &self.keys,
            levels: &self.levels,
        };
        let (task, few) = (self.task, self.few);
        let (offsets, parts, tally) = (&self.offsets, &self.parts, &mut self.tally);
        let rows = &self.rows;
        let shared = rows.last() != Some(&(rows.len() - 1));
        let mut own = Vec::new();
        self.sweep.over(items, buffers, |kernel, tile, products| {
            kernel.run(
                #[inline(always)]
                || {
                    let tile = start + tile.start..start + tile.end;
                    for (place, range) in offsets.windows(2).enumerate() {
                        let range = range[0]..range[1];
                        if range.is_empty() {
                            continue;
                        }
                        let mut row = products.row_mut(rows[place], tile.len());
                        if shared {
                            // What leaves this ranking stays in the next.
                            own.clear();
                            own.extend_from_slice(row);
                            row = &mut own;
                        }
                        remove_leaving(task, parts[place].0, &tile, row);
                        tally.count(row, tile.start, positives, range, few, &mut found);
                    }
                },
            );
        });
    }

    /// Lowers the floor of each row of queries to the least similarity that matters in one of its rankings.
    pub fn lower(&self, floors: &mut [f32]) {
        for (&(q, _), range) in self.parts.iter().zip(self.offsets.windows(2)) {
            if let Some(&least) = self.levels[range[0]..range[1]].last() {
                let floor = &mut floors[q / self.each];
                *floor = floor.min(least);
            }
        }
    }

    /// Queries with up to so many positives count for each of them, in [`count`](Self::count).
    pub fn count_few(&mut self, few: usize) {
        self.few = few;
    }

    /// A tally for its positives, for [`count_reached`](Self::count_reached).
    pub fn tally(&self) -> Tally {
        Tally::new(self.keys.len())
    }

    /// Counts items whose ids are in `some`: for each row of queries those that reach its floor, by their places there. They
    /// are placed among the positives, so the block is one that takes no number of them for few.
    #[inline(always)]
    pub fn count_reached(
        &self,
        tally: &mut Tally,
        reached: &[Reached],
        some: &Range<usize>,
        found: &mut Found,
    ) {
        let positives = Positives {
            keys: &self.keys,
            levels: &self.levels,
        };
        for (&(q, _), range) in self.parts.iter().zip(self.offsets.windows(2)) {
            let (range, reached) = (range[0]..range[1], &reached[q / self.each]);
            if reached.items.is_empty() {
                continue;
            }
            if let Some(&least) = self.levels[range.clone()].last() {
                let without = self.task.ignored_between(q, some);
                found.take_from(reached, some.start, least, without);
                tally.placed(found, positives, range);
            }
        }
    }

    /// Adds what was counted elsewhere.
    pub fn add(&mut self, tally: &Tally) {
        self.tally.add(tally);
    }

    /// Writes the ranks of the positives; returns the queries with ties.
    pub fn finish(mut self) -> Vec<TiedQuery> {
        let tally = &mut self.tally;
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
}

/// One query whose similarities to the whole gallery are there.
pub(crate) struct Row<'a> {
    task: &'a Task,
    query: usize,
    /// Its positives, ranked.
    keys: Vec<Key>,
}

impl<'a> Row<'a> {
    pub fn new(task: &'a Task, query: usize, mut keys: Vec<Key>) -> Self {
        keys.sort_unstable();
        Self { task, query, keys }
    }

    /// The ranks, and what ties make of them, if there are any.
    pub fn count(self, kernel: Kernel, similarities: &mut [f32]) -> (Vec<u32>, Option<TiedQuery>) {
        let all = 0..self.keys.len();
        let placed = all.len() > FEW;
        let mut tally = Tally::new(all.len());
        remove_leaving(
            self.task,
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
pub(crate) fn remove_leaving(task: &Task, q: usize, tile: &Range<usize>, similarities: &mut [f32]) {
    if let Some(own) = task
        .own_id(q)
        .map(|id| id as usize)
        .filter(|id| tile.contains(id))
    {
        similarities[own - tile.start] = f32::NEG_INFINITY;
    }
    for &id in task.ignored_between(q, tile).into_iter().flatten() {
        similarities[id as usize - tile.start] = f32::NEG_INFINITY;
    }
}
