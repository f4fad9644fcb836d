//! Ranks over a gallery that passes by in small tiles, each of which meets all queries at once.
//!
//! Each thread takes the next tile, which fits in its own cache, reads it and multiplies it with all queries. Of the
//! similarities only those are kept that reach the last positive of their query: in a good model almost none. All rankings
//! of a query share them. What a thread counts is its own, and sums do not depend on who counted what.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

use super::block::Block;
use super::tally::{Found, Tally};
use crate::kernel::{Kernel, QueryLanes, Reached};
use crate::protocol::filed::Read;
use crate::{EvalError, FileRetrieval};

/// Values of a tile: 128 KiB, which leaves room in the second cache for the bytes of the file and for queries.
const TILE: usize = 1 << 15;

/// Tiles between two looks at what reached a positive, and the pairs of query and item that may be by then.
const TILES: usize = 16;
const PAIRS: usize = 1 << 18;

/// Tiles that tell how many items reach a positive.
const SAMPLES: usize = 8;

/// Many are more than one of so many pairs: to place each of them takes longer than to compare all items with the positives,
/// some at an instruction.
const MANY: usize = 4;

/// Bytes that the counts of all threads may take.
const COUNTS: usize = 1 << 26;

/// What a thread has for itself.
struct Worker {
    read: Read,
    values: Vec<f32>,
    /// One for each query.
    reached: Vec<Reached>,
    found: Found,
    /// One for each block.
    tallies: Vec<Tally>,
    /// The part that could not be ranked, and why.
    fault: Option<(usize, EvalError)>,
}

impl FileRetrieval<'_> {
    /// Whether counts for each thread take little memory.
    pub(super) fn streams(&self, positives: usize) -> bool {
        let counts = positives.saturating_mul(size_of::<[u32; 3]>());
        counts.saturating_mul(rayon::current_num_threads()) <= COUNTS
    }

    /// Rows of a tile: full ones of the kernel, but for the last.
    pub(super) fn tile(&self) -> usize {
        let rows = (TILE / self.gallery.dim()).max(1);
        rows.next_multiple_of(QueryLanes::ITEMS)
    }

    /// The queries, with the last of their positives in the blocks, which are ranked.
    pub(super) fn lanes(&self, blocks: &[Block<'_, '_>]) -> QueryLanes {
        let mut floors = vec![f32::INFINITY; self.queries.rows()];
        blocks.iter().for_each(|block| block.lower(&mut floors));
        let queries = self.queries.as_slice();
        QueryLanes::new(Kernel::detect(), queries, self.queries.dim(), &floors)
    }

    /// Whether few items reach the last positive of a query, as far as some tiles tell. It decides about time alone.
    pub(super) fn few_reach(&self, lanes: &QueryLanes, tile: usize) -> bool {
        let (rows, queries) = (self.gallery.rows(), self.queries.rows());
        let mut worker = Worker::new(&[], queries);
        let mut pairs = 0;
        for at in 0..SAMPLES {
            let start = rows / SAMPLES * at;
            let tile = start..rows.min(start + tile);
            pairs += tile.len() * queries;
            // A row at fault is named when all are counted.
            if worker.reach(self, lanes, tile, 0).is_err() {
                return true;
            }
        }
        let reached: usize = worker
            .reached
            .iter()
            .map(|reached| reached.items.len())
            .sum();
        reached <= pairs / MANY
    }

    /// Compares all items with the positives of the blocks, which are ranked, `tile` at a time.
    pub(super) fn count_streaming(
        &self,
        blocks: &mut [Block<'_, '_>],
        lanes: &QueryLanes,
        tile: usize,
    ) -> Result<(), EvalError> {
        // Parts are given out in their order, as files are best read. Behind one at fault there is nothing to do, but all
        // before it are looked at: the first is the one that is named.
        let rows = self.gallery.rows();
        let part = tile * (PAIRS / (tile * self.queries.rows())).clamp(1, TILES);
        let (next, end) = (AtomicUsize::new(0), AtomicUsize::new(rows.div_ceil(part)));
        let of_part = |number: usize| number * part..rows.min((number + 1) * part);
        let shared: &[Block<'_, '_>] = blocks;
        let work = |_| {
            let mut worker = Worker::new(shared, self.queries.rows());
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= end.load(Ordering::Relaxed) {
                    return worker;
                }
                if let Err(error) = worker.count(self, lanes, shared, (of_part(number), tile)) {
                    end.fetch_min(number, Ordering::Relaxed);
                    worker.fault = Some((number, error));
                    return worker;
                }
            }
        };
        let threads = (0..rayon::current_num_threads()).into_par_iter();
        let workers: Vec<Worker> = threads.with_max_len(1).map(work).collect();

        let mut fault: Option<(usize, EvalError)> = None;
        for worker in workers {
            for (block, tally) in blocks.iter_mut().zip(&worker.tallies) {
                block.add(tally);
            }
            if let Some(other) = worker.fault
                && fault.as_ref().is_none_or(|(number, _)| other.0 < *number)
            {
                fault = Some(other);
            }
        }
        fault.map_or(Ok(()), |(_, error)| Err(error))
    }
}

impl Worker {
    fn new(blocks: &[Block<'_, '_>], queries: usize) -> Self {
        Self {
            read: Read::default(),
            values: Vec::new(),
            reached: vec![Reached::default(); queries],
            found: Found::default(),
            tallies: blocks.iter().map(Block::tally).collect(),
            fault: None,
        }
    }

    /// Reads a tile, and adds what reaches a positive; places begin with `first`.
    fn reach(
        &mut self,
        retrieval: &FileRetrieval<'_>,
        lanes: &QueryLanes,
        tile: Range<usize>,
        first: usize,
    ) -> Result<(), EvalError> {
        let values = &mut self.values;
        values.resize(tile.len() * retrieval.gallery.dim(), 0.0);
        retrieval.read_part(tile, values, &mut self.read)?;
        lanes.reach(values, first, &mut self.reached);
        Ok(())
    }

    /// Counts the items in `some`, a tile at a time.
    fn count(
        &mut self,
        retrieval: &FileRetrieval<'_>,
        lanes: &QueryLanes,
        blocks: &[Block<'_, '_>],
        (some, tile): (Range<usize>, usize),
    ) -> Result<(), EvalError> {
        self.reached.iter_mut().for_each(Reached::clear);
        for start in some.clone().step_by(tile) {
            let rows = start..some.end.min(start + tile);
            self.reach(retrieval, lanes, rows, start - some.start)?;
        }
        let Self {
            reached,
            found,
            tallies,
            ..
        } = self;
        Kernel::detect().run(
            #[inline(always)]
            || {
                for (block, tally) in blocks.iter().zip(tallies) {
                    block.count_reached(tally, reached, &some, found);
                }
            },
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Embeddings, EmbeddingsFile, EmbeddingsWriter, GalleryFile, PositiveRanks};
    use crate::{Precision, Ties};

    const DIM: usize = 4;

    /// A row of which the length, the row of length 1 and all products of such rows are exact in f32: there are few, and
    /// many ties.
    fn row() -> impl Strategy<Value = [f32; DIM]> {
        let scale = prop::sample::select(vec![0.25_f32, 1.0, 4.0]);
        let axis = (0..DIM).prop_map(|at| std::array::from_fn(|k| f32::from(u8::from(at == k))));
        let diagonal = prop::array::uniform4(prop::sample::select(vec![0.5_f32, -0.5]));
        (prop_oneof![axis, diagonal], scale, any::<bool>()).prop_map(|(row, scale, minus)| {
            let scale = if minus { -scale } else { scale };
            row.map(|value| value * scale)
        })
    }

    fn rows(count: std::ops::Range<usize>) -> impl Strategy<Value = Vec<[f32; DIM]>> {
        prop::collection::vec(row(), count)
    }

    fn unit(row: &[f32; DIM]) -> [f64; DIM] {
        let row = row.map(f64::from);
        let length = row.iter().map(|value| value * value).sum::<f64>().sqrt();
        row.map(|value| value / length)
    }

    /// Ranks as they are defined: all items that stay, sorted.
    fn plain(
        query: &[f32; DIM],
        gallery: &[[f32; DIM]],
        positives: &[u32],
        junk: &[u32],
        ties: Ties,
    ) -> Vec<u32> {
        let query = unit(query);
        let similarity = |row| -> f64 { query.iter().zip(unit(row)).map(|(a, b)| a * b).sum() };
        let mut items: Vec<(f64, bool, u32)> = (0..)
            .zip(gallery)
            .filter(|(id, _)| !junk.contains(id))
            .map(|(id, row)| (similarity(row), positives.contains(&id), id))
            .collect();
        items.sort_by(|a, b| {
            let order = match ties {
                Ties::Stable => std::cmp::Ordering::Equal,
                Ties::Optimistic => b.1.cmp(&a.1),
                Ties::Pessimistic => a.1.cmp(&b.1),
            };
            let by_similarity = b.0.partial_cmp(&a.0).unwrap();
            by_similarity.then(order).then(a.2.cmp(&b.2))
        });
        let ranked = (1..).zip(items).filter(|(_, (_, positive, _))| *positive);
        ranked.map(|(rank, _)| rank).collect()
    }

    fn on(threads: usize, run: impl FnOnce() -> PositiveRanks + Send) -> PositiveRanks {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(run)
    }

    #[test]
    fn a_row_larger_than_a_tile() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gallery.npy");
        let dim = TILE + 3;
        let value = |at: usize| if at % 7 == at / dim { 2.0 } else { 0.5 };
        let gallery = Embeddings::new((0..5 * dim).map(value).collect(), dim).unwrap();
        gallery.save(&path).unwrap();
        let queries = gallery.select(&[3]).unwrap().normalised().unwrap();
        let file = GalleryFile::unread(EmbeddingsFile::open(&path).unwrap(), None).unwrap();
        let positives = vec![vec![3, 1]];
        let (q, p) = (&queries, positives.clone());
        let retrieval = FileRetrieval::query_against_gallery_with(q, &file, p).unwrap();
        let gallery = gallery.normalised().unwrap();
        let memory = crate::Retrieval::query_against_gallery_with(q, &gallery, positives);
        let want = memory.unwrap().ranks().unwrap();
        assert_eq!(retrieval.ranks().unwrap(), want);
        assert_eq!(retrieval.ranks_streaming(retrieval.tile()).unwrap(), want);
    }

    proptest! {
        #[test]
        fn as_sorted(
            queries in rows(1..20),
            database in rows(1..60),
            distractors in rows(1..200),
            each in 1usize..4,
            grades in prop::collection::vec(0u8..4, 60 * 20 * 3),
            tile in prop::sample::select(vec![1, 2, 7, 24, 500]),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let file = |name: &str, rows: &[[f32; DIM]]| {
                let path = folder.path().join(name);
                let mut writer = EmbeddingsWriter::create_in(&path, Precision::F16).unwrap();
                writer.push(&Embeddings::new(rows.as_flattened().to_vec(), DIM).unwrap()).unwrap();
                writer.finish(None).unwrap();
                EmbeddingsFile::open(path).unwrap()
            };
            let gallery = GalleryFile::unread(file("database.npy", &database), None).unwrap();
            let gallery = gallery.followed_by(file("distractors.npy", &distractors)).unwrap();
            let all = [database.clone(), distractors].concat();
            // Of each ranking its own positives and junk, and some that are neither.
            let list = |ranking: usize, grade: u8| -> Vec<u32> {
                let ids = 0..database.len();
                let ids = ids.filter(|id| grades[(ranking * 60 + id) % grades.len()] == grade);
                ids.map(|id| id as u32).collect()
            };
            let rankings = each * queries.len();
            let lists = |grade| -> Vec<Vec<u32>> { (0..rankings).map(|r| list(r, grade)).collect() };
            let (positives, junk) = (lists(0), lists(1));
            let units: Vec<f32> = queries.iter().flat_map(unit).map(|value| value as f32).collect();
            let units = Embeddings::new(units, DIM).unwrap();
            let (p, j) = (positives.clone(), junk.clone());
            let retrieval = FileRetrieval::of_several(&units, &gallery, each, p, j).unwrap();
            for threads in [1, 2, 5] {
                let ranks = on(threads, || retrieval.ranks_streaming(tile).unwrap());
                for ranking in 0..rankings {
                    let (positives, junk) = (&positives[ranking], &junk[ranking]);
                    for ties in [Ties::Stable, Ties::Optimistic, Ties::Pessimistic] {
                        let want = plain(&queries[ranking / each], &all, positives, junk, ties);
                        prop_assert_eq!(ranks.of_under(ranking, ties), want);
                    }
                    let stay = all.len() - junk.len();
                    prop_assert_eq!(ranks.candidates(ranking) as usize, stay);
                }
            }
        }

        #[test]
        fn the_first_row_at_fault_is_named(
            wrong in prop::collection::btree_map(
                20usize..3_000,
                prop::sample::select(vec![f32::NAN, f32::INFINITY, 0.0]),
                1..5,
            ),
            tile in prop::sample::select(vec![1, 24, 100]),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("gallery.npy");
            Embeddings::new(vec![1.0; 3_000 * DIM], DIM).unwrap().save(&path).unwrap();
            let mut bytes = std::fs::read(&path).unwrap();
            let start = bytes.len() - 3_000 * DIM * 4;
            for (&row, value) in &wrong {
                for k in 0..DIM {
                    let at = start + (row * DIM + k) * 4;
                    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
                }
            }
            std::fs::write(&path, bytes).unwrap();
            let queries = Embeddings::new(vec![0.5; DIM], DIM).unwrap();
            let gallery = GalleryFile::unread(EmbeddingsFile::open(&path).unwrap(), None).unwrap();
            let retrieval =
                FileRetrieval::query_against_gallery_with(&queries, &gallery, vec![vec![3]]).unwrap();
            let (row, value) = wrong.first_key_value().unwrap();
            let want = match *value == 0.0 {
                true => format!("row {row} of the embeddings is zero"),
                false => format!("row {row} of the embeddings has {value} in column 0"),
            };
            for threads in [1, 4] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let error = pool.install(|| retrieval.ranks_streaming(tile)).unwrap_err();
                prop_assert!(error.to_string().contains(&want), "{} is not {}", error, want);
            }
        }
    }
}
