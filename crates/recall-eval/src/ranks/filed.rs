//! Ranks over a gallery that stays in its file.
//!
//! The gallery passes by twice. First the positives among its rows, which alone are read, get their similarities, a stretch
//! of rows at a time. Then all rows are counted, in one of two ways that give the same:
//!
//! - In small tiles that meet all queries at once ([`stream`](super::stream)), where few items reach a positive.
//! - A stretch at a time: all blocks of queries look at it while it is in memory, and while it is counted the next is read.
//!   So it is where many items lie among the positives, to be compared with them some at an instruction, and where there are
//!   too many positives for each thread to count by itself.

use std::ops::Range;

use rayon::prelude::*;

use super::block::{Block, FEW};
use super::{Key, PositiveRanks, Room, TiedQuery};
use crate::kernel::Kernel;
use crate::neighbours::Best;
use crate::sweep::{Buffers, Chosen, Rows, Sweep, TILE, block_size};
use crate::{EvalError, FileRetrieval};

/// Values of a stretch: 32 MiB, and there are two.
const STRETCH: usize = 1 << 23;

impl FileRetrieval<'_> {
    /// The exact ranks of every query's positives, on all threads of the current rayon pool: the
    /// same as [`Retrieval::ranks`](crate::Retrieval::ranks) gives for the same rows in memory.
    ///
    /// Memory: the queries three times, up to 64 MiB for rows of the gallery or for counts of the
    /// threads, and 28 bytes for each pair of query and positive, four of which are the result.
    ///
    /// # Errors
    ///
    /// If memory for the result cannot be had, or if the file cannot be read or has changed since
    /// it was opened.
    pub fn ranks(&self) -> Result<PositiveRanks, EvalError> {
        self.ranks_with(STRETCH / self.gallery.dim())
    }

    /// The same with about `rows` rows of the gallery in memory, and as many more that are being
    /// read. The result is the same for every number.
    ///
    /// # Errors
    ///
    /// Those of [`ranks`](Self::ranks).
    pub fn ranks_with(&self, rows: usize) -> Result<PositiveRanks, EvalError> {
        let rows = rows.max(1);
        if !self.streams(self.task_pairs()) {
            return self.ranks_by(rows, [self.block(), TILE], FEW);
        }
        let tile = rows.min(self.tile());
        self.ranks_counted([self.block(), TILE], 0, rows, |blocks| {
            let lanes = self.lanes(blocks);
            if self.few_reach(&lanes, tile) {
                return self.count_streaming(blocks, &lanes, tile);
            }
            blocks.iter_mut().for_each(|block| block.count_few(FEW));
            self.count(blocks, rows)
        })
    }

    /// Pairs of query and positive.
    fn task_pairs(&self) -> usize {
        let of = |q| self.task.positives_of(q).count();
        (0..self.task.queries()).into_par_iter().map(of).sum()
    }

    /// Queries of a block. Where they are few the threads share them out: each block brings all items into the kernel's
    /// layout, which costs as much as the products of a few queries.
    fn block(&self) -> usize {
        let threads = rayon::current_num_threads();
        match self.queries() < 64 * threads {
            true => self.queries().div_ceil(threads).max(12) * self.each,
            false => block_size(self.queries()) * self.each,
        }
    }

    /// `block` queries at a time and `tile` items, of which those with up to `few` positives count for each of them.
    fn ranks_by(
        &self,
        rows: usize,
        [block, tile]: [usize; 2],
        few: usize,
    ) -> Result<PositiveRanks, EvalError> {
        self.ranks_counted([block, tile], few, rows, |blocks| self.count(blocks, rows))
    }

    /// `tile` items at a time, which meet all queries, however many reach a positive.
    #[cfg(test)]
    pub(super) fn ranks_streaming(&self, tile: usize) -> Result<PositiveRanks, EvalError> {
        self.ranks_counted([self.block(), TILE], 0, 1_000, |blocks| {
            self.count_streaming(blocks, &self.lanes(blocks), tile)
        })
    }

    /// Ranks of positives that are placed among `rows` rows at a time, and then counted.
    fn ranks_counted(
        &self,
        [block, tile]: [usize; 2],
        few: usize,
        rows: usize,
        count: impl FnOnce(&mut [Block<'_, '_>]) -> Result<(), EvalError>,
    ) -> Result<PositiveRanks, EvalError> {
        let kernel = Kernel::detect();
        let mut room = Room::of(&self.task, 0..self.task.queries())?;
        let mut parts = room.parts(&self.task);
        let queries = (&*self.queries, self.each);
        // No row of a query goes to two blocks.
        let block = block.next_multiple_of(self.each);
        let mut blocks: Vec<Block<'_, '_>> = (parts.par_chunks_mut(block))
            .map(|parts| Block::new(&self.task, queries, kernel, parts, tile, few))
            .collect();

        for stretch in stretches(self.gallery.rows(), rows) {
            self.place(&mut blocks, stretch.end)?;
        }
        blocks.par_iter_mut().for_each(Block::rank_positives);
        count(&mut blocks)?;
        self.gallery.check_unchanged()?;

        let tied: Vec<Vec<TiedQuery>> = blocks.into_par_iter().map(Block::finish).collect();
        Ok(room.filled(&self.task, tied.concat()))
    }

    /// Gives the positives below `end` that have no similarities yet theirs.
    fn place(&self, blocks: &mut [Block<'_, '_>], end: usize) -> Result<(), EvalError> {
        let ids: Vec<Vec<u32>> = (blocks.par_iter())
            .map(|block| block.positives_below(end))
            .collect();
        let mut union = ids.concat();
        union.par_sort_unstable();
        union.dedup();
        let mut values = Vec::new();
        self.read_chosen(&union, &mut values)?;
        let rows = Rows {
            values: &values,
            dim: self.gallery.dim(),
        };
        (blocks.par_iter_mut().zip(&ids)).for_each_init(
            Buffers::default,
            |buffers, (block, ids)| {
                // Both ascend, so each is found behind the one before.
                let mut at = 0;
                let places = ids.iter().map(|&id| {
                    at += union[at..].partition_point(|&other| other < id);
                    at as u32
                });
                let which = &places.collect::<Vec<u32>>();
                block.place(ids, Chosen { rows, which }, buffers);
            },
        );
        Ok(())
    }

    /// Compares all items with the positives, a stretch at a time.
    fn count(&self, blocks: &mut [Block<'_, '_>], rows: usize) -> Result<(), EvalError> {
        self.each_stretch(rows, |start, items| {
            (blocks.par_iter_mut()).for_each_init(Buffers::default, |buffers, block| {
                block.count(start, items, buffers);
            });
        })
    }

    /// The `k` nearest items of each query.
    pub(crate) fn nearest(&self, k: usize) -> Result<Vec<Vec<Key>>, EvalError> {
        let kernel = Kernel::detect();
        let queries: Vec<usize> = (0..self.queries()).collect();
        let mut blocks: Vec<(Sweep, Vec<Best>)> = (queries
            .par_chunks((self.block() / self.each).max(1)))
        .map(|block| {
            let rows = block.iter().map(|&q| self.queries.row(q));
            let sweep = Sweep::new(kernel, rows, self.gallery.dim(), TILE);
            (sweep, block.iter().map(|_| Best::new(k)).collect())
        })
        .collect();
        self.each_stretch(STRETCH / self.gallery.dim(), |start, items| {
            (blocks.par_iter_mut()).for_each_init(Buffers::default, |buffers, (sweep, best)| {
                sweep.over(items, buffers, |_, tile, products| {
                    for (at, best) in best.iter_mut().enumerate() {
                        best.offer_all(products.row_mut(at, tile.len()), start + tile.start);
                    }
                });
            });
        })?;
        let best = blocks.into_iter().flat_map(|(_, best)| best);
        Ok(best.map(Best::into_ranking).collect())
    }

    /// Calls `visit` with about `rows` rows of the gallery at a time and the number of the first, while those after are read.
    fn each_stretch(
        &self,
        rows: usize,
        mut visit: impl FnMut(usize, Rows<'_>) + Send,
    ) -> Result<(), EvalError> {
        let (mut here, mut coming) = (Vec::new(), Vec::new());
        let mut stretches = stretches(self.gallery.rows(), rows.max(1));
        let mut stretch = stretches.next();
        if let Some(first) = stretch.clone() {
            self.read(first, &mut here)?;
        }
        while let Some(current) = stretch {
            stretch = stretches.next();
            let items = Rows {
                values: &here,
                dim: self.gallery.dim(),
            };
            let visit = || visit(current.start, items);
            let next = stretch.clone();
            let read = || next.map_or(Ok(()), |next| self.read(next, &mut coming));
            let ((), read) = rayon::join(visit, read);
            read?;
            std::mem::swap(&mut here, &mut coming);
        }
        Ok(())
    }
}

/// All rows, so many at a time.
fn stretches(all: usize, rows: usize) -> impl Iterator<Item = Range<usize>> {
    let starts = (0..all).step_by(rows);
    starts.map(move |start| start..all.min(start.saturating_add(rows)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Embeddings, EmbeddingsFile, GalleryFile, IgnoreGroup, Retrieval};

    /// Values with many ties, and of any size.
    fn values() -> impl Strategy<Value = Vec<f32>> {
        let scale = prop::sample::select(vec![1.0f32, 1e-30, 1e30]);
        let values = prop::collection::vec(-2i8..=2, 3..240);
        (values, scale).prop_map(|(values, scale)| {
            let values = values[values.len() % 3..].iter();
            values.map(|&value| f32::from(value) * scale).collect()
        })
    }

    proptest! {
        #[test]
        fn as_in_memory(
            queries in values(),
            gallery in values(),
            classes in 1i64..9,
            by_lists: bool,
            groups in prop::option::of(1i64..4),
            junk: bool,
            unit: bool,
            rows in 1usize..90,
            block in prop::sample::select(vec![1, 7, 64]),
            few in prop::sample::select(vec![0, 3, 64]),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("gallery.npy");
            let queries = Embeddings::new(queries, 3).unwrap();
            let mut gallery = Embeddings::new(gallery, 3).unwrap();
            gallery.save(&path).unwrap();
            let file = EmbeddingsFile::open(&path).unwrap();
            let filed = match unit {
                true => GalleryFile::normalised(file),
                false => GalleryFile::new(file),
            };
            let filed = if unit {
                let normalised = gallery.clone().normalised();
                prop_assert_eq!(normalised.is_ok(), filed.is_ok());
                let Ok(normalised) = normalised else {
                    let why = filed.unwrap_err().to_string();
                    prop_assert!(why.contains(&gallery.normalised().unwrap_err().to_string()));
                    return Ok(());
                };
                let filed = filed.unwrap();
                prop_assert_eq!(filed.is_normalised(), gallery.is_normalised());
                prop_assert_eq!(filed.length_range(), gallery.length_range());
                gallery = normalised;
                filed
            } else {
                filed.unwrap()
            };

            let numbers = |rows: usize, of: i64| -> Vec<i64> {
                (0..rows as i64).map(|i| i * i % of).collect()
            };
            let labels = [queries.rows(), gallery.rows()].map(|rows| numbers(rows, classes));
            let lists = |step: usize| -> Vec<Vec<u32>> {
                (0..queries.rows())
                    .map(|q| (q % 5..gallery.rows()).step_by(step).map(|id| id as u32).collect())
                    .collect()
            };
            let (mut memory, mut disk) = if by_lists {
                (
                    Retrieval::query_against_gallery_with(&queries, &gallery, lists(4)).unwrap(),
                    FileRetrieval::query_against_gallery_with(&queries, &filed, lists(4)).unwrap(),
                )
            } else {
                let [q, g] = &labels;
                (
                    Retrieval::query_against_gallery(&queries, q, &gallery, g).unwrap(),
                    FileRetrieval::query_against_gallery(&queries, q, &filed, g).unwrap(),
                )
            };
            if junk {
                memory = memory.junk(lists(7)).unwrap();
                disk = disk.junk(lists(7)).unwrap();
            }
            if let Some(groups) = groups {
                let which = match by_lists {
                    true => IgnoreGroup::All,
                    false => IgnoreGroup::SameClass,
                };
                let [q, g] = [queries.rows(), gallery.rows()].map(|rows| numbers(rows, groups));
                memory = memory.ignore_group(&q, &g, which).unwrap();
                disk = disk.ignore_group(&q, &g, which).unwrap();
            }
            let want = memory.ranks().unwrap();
            prop_assert_eq!(&disk.ranks_by(rows, [block, block], few).unwrap(), &want);
            prop_assert_eq!(&disk.ranks_streaming(rows).unwrap(), &want);
            prop_assert_eq!(&disk.ranks().unwrap(), &want);
            for threads in [1, 3] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                prop_assert_eq!(&pool.install(|| disk.ranks_with(rows)).unwrap(), &want);
                let by_blocks = || disk.ranks_by(rows, [block, block], few).unwrap();
                prop_assert_eq!(&pool.install(by_blocks), &want);
            }
        }
    }

    #[test]
    fn what_cannot_be_ranked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gallery.npy");
        // One row at fault.
        let mut values = vec![1.0; 100_000 * 2];
        values[2 * 87_654] = 0.0;
        values[2 * 87_654 + 1] = 0.0;
        Embeddings::new(values, 2).unwrap().save(&path).unwrap();
        let open = || EmbeddingsFile::open(&path).unwrap();
        let error = GalleryFile::normalised(open()).unwrap_err().to_string();
        let want = "row 87654 of the embeddings is zero and cannot be brought to unit length";
        assert_eq!(error, format!("{}: {want}", path.display()));
        let gallery = GalleryFile::new(open()).unwrap();
        assert_eq!(gallery.length_range(), [0.0, 2f64.sqrt()]);

        let queries = Embeddings::new(vec![1.0, 2.0, 3.0], 3).unwrap();
        let labels = vec![1; 100_000];
        let of = |queries, labels| {
            FileRetrieval::query_against_gallery(queries, &[1], &gallery, labels).map(|_| ())
        };
        assert!(matches!(
            of(&queries, &labels),
            Err(EvalError::DimensionMismatch { .. })
        ));
        let queries = Embeddings::new(vec![1.0, 2.0], 2).unwrap();
        assert!(matches!(
            of(&queries, &labels[1..]),
            Err(EvalError::LabelCount { .. })
        ));

        // Bytes that become NaN, in the last row and before.
        let bytes = std::fs::read(&path).unwrap();
        for row in [99_999, 60_000] {
            let mut bytes = bytes.clone();
            let at = bytes.len() - (100_000 - row) * 8;
            for row in [at, bytes.len() - 4] {
                bytes[row..row + 4].copy_from_slice(&f32::NAN.to_le_bytes());
            }
            let other = folder.path().join("other.npy");
            std::fs::write(&other, bytes).unwrap();
            let error = GalleryFile::new(EmbeddingsFile::open(&other).unwrap()).unwrap_err();
            let want = format!("row {row} of the embeddings has NaN in column 0");
            assert!(error.to_string().contains(&want), "{error}");
        }

        // A file that changes after it was looked at.
        let retrieval =
            FileRetrieval::query_against_gallery(&queries, &[1], &gallery, &labels).unwrap();
        retrieval.ranks().unwrap();
        let mut bytes = bytes;
        let end = bytes.len();
        bytes[end - 8..].fill(255);
        std::thread::sleep(std::time::Duration::from_millis(30));
        std::fs::write(&path, &bytes).unwrap();
        let error = retrieval.ranks().unwrap_err().to_string();
        assert!(
            error.contains("it was changed while it was read"),
            "{error}"
        );
        std::fs::write(&path, &bytes[..end - 1]).unwrap();
        let error = retrieval.ranks().unwrap_err().to_string();
        assert!(error.contains("it ended early"), "{error}");
    }
}
