//! The nearest items of some queries, to look at.

use std::ops::Range;

use rayon::prelude::*;

use crate::kernel::Kernel;
use crate::ranks::{Key, remove_leaving};
use crate::sweep::{Buffers, Rows, Sweep, TILE, block_size};
use crate::{Embeddings, EvalError, Retrieval};

/// An item of a ranking.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    /// Its id: the row of the gallery.
    pub id: u32,
    /// Its dot product with the query; 0 or infinite where that is out of the range of f32.
    pub similarity: f32,
    /// Whether it is a positive of the query.
    pub relevant: bool,
}

/// The first `k` items of the ranking of each of `queries`, in the order that [`Retrieval::ranks`]
/// counts in: by descending similarity, equal ones by ascending id, without the query itself and
/// its junk. Fewer where the ranking is shorter.
///
/// ```
/// use recall_eval::{Embeddings, Retrieval, nearest};
///
/// let embeddings = Embeddings::new(vec![1.0, 0.0, 0.8, 0.6, 0.6, 0.8], 2)?;
/// let retrieval = Retrieval::each_against_rest(&embeddings, &[7, 9, 7])?;
/// let found = nearest(&retrieval, &[0], 5)?;
/// let found: Vec<_> = found[0].iter().map(|n| (n.id, n.relevant)).collect();
/// assert_eq!(found, [(1, false), (2, true)]);
/// # Ok::<(), recall_eval::EvalError>(())
/// ```
///
/// # Errors
///
/// If a query does not exist.
pub fn nearest(
    retrieval: &Retrieval<'_>,
    queries: &[usize],
    k: usize,
) -> Result<Vec<Vec<Neighbour>>, EvalError> {
    if let Some(&query) = queries.iter().find(|&&q| q >= retrieval.queries()) {
        return Err(EvalError::UnknownQuery {
            query,
            queries: retrieval.queries(),
        });
    }
    let gallery = Rows::of(&retrieval.gallery);
    let found = nearest_of(&retrieval.queries, queries, gallery, k, |q, tile, row| {
        remove_leaving(&retrieval.task, q, tile, row);
    });
    let rankings = (queries.iter().zip(found)).map(|(&q, found)| {
        let positives: Vec<u32> = retrieval.task.positives_of(q).collect();
        let neighbour = |key: Key| Neighbour {
            id: key.id(),
            similarity: retrieval.similarity(q, key.similarity()),
            relevant: positives.binary_search(&key.id()).is_ok(),
        };
        found.ranking.into_iter().map(neighbour).collect()
    });
    Ok(rankings.collect())
}

/// What a query finds.
pub(crate) struct Found {
    /// The nearest items, in the order of rankings.
    pub ranking: Vec<Key>,
    /// The similarity of the farthest of all items.
    pub farthest: f32,
}

/// The `k` nearest of the items of `gallery` for the given rows of `queries`. `leave` brings items of a tile that are
/// no neighbours of a query to minus infinity.
pub(crate) fn nearest_of(
    queries: &Embeddings,
    which: &[usize],
    gallery: Rows<'_>,
    k: usize,
    leave: impl Fn(usize, &Range<usize>, &mut [f32]) + Sync,
) -> Vec<Found> {
    let kernel = Kernel::detect();
    let blocks = which.par_chunks(block_size(which.len())).map(|block| {
        let rows = block.iter().map(|&q| queries.row(q));
        let sweep = Sweep::new(kernel, rows, gallery.dim, TILE);
        let mut best: Vec<Best> = block.iter().map(|_| Best::new(k)).collect();
        let mut farthest = vec![f32::INFINITY; block.len()];
        sweep.over(gallery, &mut Buffers::default(), |_, tile, products| {
            let places = block.iter().zip(best.iter_mut().zip(&mut farthest));
            for (at, (&q, (best, farthest))) in places.enumerate() {
                let row = products.row_mut(at, tile.len());
                *farthest = row.iter().fold(*farthest, |low, &value| low.min(value));
                leave(q, &tile, row);
                best.offer_all(row, tile.start);
            }
        });
        let found = best.into_iter().zip(farthest);
        let found = found.map(|(best, farthest)| Found {
            ranking: best.into_ranking(),
            farthest,
        });
        found.collect::<Vec<_>>()
    });
    blocks.collect::<Vec<_>>().into_iter().flatten().collect()
}

/// The first `k` of the items offered so far, and some that are not cut off yet.
pub(crate) struct Best {
    k: usize,
    keys: Vec<Key>,
    /// What an item must reach to be among them.
    floor: f32,
}

impl Best {
    pub(crate) fn new(k: usize) -> Self {
        Self {
            k,
            keys: Vec::new(),
            floor: f32::NEG_INFINITY,
        }
    }

    /// Offers the items of a row of similarities, of which the first is number `start`.
    pub(crate) fn offer_all(&mut self, row: &[f32], start: usize) {
        for (&similarity, id) in row.iter().zip(start..) {
            self.offer(similarity, id as u32);
        }
    }

    fn offer(&mut self, similarity: f32, id: u32) {
        // Items come with ascending ids, so one that ties with the floor is behind it. Those
        // removed from the ranking are at minus infinity and never above it.
        if similarity > self.floor && self.k > 0 {
            self.keys.push(Key::new(similarity, id));
            // Cutting off at twice the size makes the cost of an item constant on average.
            if self.keys.len() >= self.k.saturating_mul(2).max(64) {
                self.cut();
            }
        }
    }

    fn cut(&mut self) {
        if self.keys.len() > self.k {
            let (_, last, _) = self.keys.select_nth_unstable(self.k - 1);
            self.floor = last.similarity();
            self.keys.truncate(self.k);
        }
    }

    pub(crate) fn into_ranking(mut self) -> Vec<Key> {
        self.cut();
        self.keys.sort_unstable();
        self.keys
    }
}
