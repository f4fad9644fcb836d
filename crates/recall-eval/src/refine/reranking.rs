//! Rankings by something else than the similarity.

use rayon::prelude::*;

use super::{Diffusion, KReciprocal};
use crate::kernel::Kernel;
use crate::ranks::{Key, PositiveRanks, Row};
use crate::sweep::{Buffers, Rows, Sweep, TILE};
use crate::{EvalError, Retrieval};

/// Queries whose scores of all items are in memory at a time, for each thread.
const QUERIES: usize = 12;

/// Another order of the whole gallery.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reranking {
    /// By neighbours that are mutual.
    KReciprocal(KReciprocal),
    /// By a walk over the graph of neighbours.
    Diffusion(Diffusion),
}

/// What gives items another score than their similarity.
pub(super) trait Rescore: Sync {
    /// What a thread keeps from one query to the next.
    type Scratch: Default;

    /// Replaces the similarities of query `q` to all items by scores, higher ones first.
    fn rescore(&self, q: usize, similarities: &mut [f32], scratch: &mut Self::Scratch);
}

impl Retrieval<'_> {
    /// The exact ranks of every query's positives in the order of a [`Reranking`]; of equal scores by ascending id.
    ///
    /// Memory: what the method keeps of each item, and for each thread twelve numbers for each.
    ///
    /// # Errors
    ///
    /// If a setting is out of its range, or if rows are not of unit length.
    pub fn ranks_reranked(&self, reranking: &Reranking) -> Result<PositiveRanks, EvalError> {
        match reranking {
            Reranking::KReciprocal(how) => Ok(self.ranks_rescored(&how.prepare(self)?)),
            Reranking::Diffusion(how) => Ok(self.ranks_rescored(&how.prepare(self)?)),
        }
    }

    fn ranks_rescored<R: Rescore>(&self, rescore: &R) -> PositiveRanks {
        let kernel = Kernel::detect();
        let counted = self.rescored(rescore, |q, scores| {
            let positives = self.task.positives_of(q);
            let keys = positives.map(|id| Key::new(scores[id as usize], id));
            Row::new(&self.task, q, keys.collect()).count(kernel, scores)
        });
        let (mut ranks, mut tied) = (Vec::with_capacity(counted.len()), Vec::new());
        for (of_query, ties) in counted {
            ranks.push(of_query);
            tied.extend(ties);
        }
        let candidates = (0..self.queries()).map(|q| self.task.candidates(q));
        PositiveRanks::from_parts(&ranks, candidates.collect(), tied)
    }

    /// What `take` makes of the scores of each query.
    pub(super) fn rescored<R: Rescore, T: Send>(
        &self,
        rescore: &R,
        take: impl Fn(usize, &mut [f32]) -> T + Sync,
    ) -> Vec<T> {
        let kernel = Kernel::detect();
        let (items, dim) = (self.gallery.rows(), self.gallery.dim());
        let queries: Vec<usize> = (0..self.queries()).collect();
        let scratch = <(Vec<f32>, Buffers, R::Scratch)>::default;
        let blocks = queries
            .par_chunks(QUERIES)
            .map_init(scratch, |scratch, block| {
                let (scores, buffers, scratch) = scratch;
                scores.resize(block.len() * items, 0.0);
                let rows = block.iter().map(|&q| self.queries.row(q));
                let sweep = Sweep::new(kernel, rows, dim, TILE);
                sweep.over(Rows::of(&self.gallery), buffers, |_, tile, products| {
                    for (at, scores) in scores.chunks_exact_mut(items).enumerate() {
                        scores[tile.clone()].copy_from_slice(products.row_mut(at, tile.len()));
                    }
                });
                let rows = block.iter().zip(scores.chunks_exact_mut(items));
                rows.map(|(&q, scores)| {
                    rescore.rescore(q, scores, scratch);
                    take(q, scores)
                })
                .collect::<Vec<T>>()
            });
        blocks.collect::<Vec<_>>().into_iter().flatten().collect()
    }
}
