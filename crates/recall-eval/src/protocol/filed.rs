//! Queries in memory, and a gallery that stays in its file.

use std::borrow::Cow;
use std::ops::Range;

use rayon::prelude::*;

use super::range::{LengthsBut0, Powers, multiply};
use super::task::Task;
use super::{IgnoreGroup, check_dimensions};
use crate::embeddings::{is_unit_length, length, to_unit_length};
use crate::{Embeddings, EmbeddingsFile, EvalError};

/// A gallery that stays in its file: its rows are read, some at a time, when they are compared with
/// queries.
///
/// All rows were read once to see that they can be ranked. The file must stay as it is from then on.
#[derive(Debug)]
pub struct GalleryFile {
    file: EmbeddingsFile,
    unit: bool,
    lengths: Lengths,
}

/// The lengths of rows.
#[derive(Clone, Copy, Debug)]
struct Lengths {
    /// The shortest and the longest in the file.
    filed: [f64; 2],
    /// As they are ranked.
    ranked: LengthsBut0,
}

impl Lengths {
    const NONE: Self = Self {
        filed: [f64::INFINITY, 0.0],
        ranked: LengthsBut0::NONE,
    };

    fn and(self, other: Self) -> Self {
        let ([low, high], [other_low, other_high]) = (self.filed, other.filed);
        Self {
            filed: [low.min(other_low), high.max(other_high)],
            ranked: self.ranked.and(other.ranked),
        }
    }
}

impl GalleryFile {
    /// Takes rows as they are.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or if a value is NaN or infinite (the first is named).
    pub fn new(file: EmbeddingsFile) -> Result<Self, EvalError> {
        Self::surveyed(file, false)
    }

    /// Divides every row by its Euclidean length when it is read, as
    /// [`Embeddings::normalised`] does.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new), and if a row is zero (the first is named).
    pub fn normalised(file: EmbeddingsFile) -> Result<Self, EvalError> {
        Self::surveyed(file, true)
    }

    fn surveyed(file: EmbeddingsFile, unit: bool) -> Result<Self, EvalError> {
        let mut gallery = Self {
            file,
            unit,
            lengths: Lengths::NONE,
        };
        let (rows, part) = (gallery.rows(), part(gallery.dim()));
        let round = part * PARTS * rayon::current_num_threads();
        for start in (0..rows).step_by(round) {
            let parts = (start..rows.min(start + round)).step_by(part);
            let parts: Vec<usize> = parts.collect();
            // In the order of rows, so that the first at fault is the one that is named.
            let found: Vec<Result<Lengths, EvalError>> = (parts.into_par_iter())
                .map(|start| gallery.survey(start..rows.min(start + part)))
                .collect();
            for lengths in found {
                gallery.lengths = gallery.lengths.and(lengths?);
            }
        }
        Ok(gallery)
    }

    /// The lengths of some rows, all of which can be ranked.
    fn survey(&self, rows: Range<usize>) -> Result<Lengths, EvalError> {
        let at_fault = |source| EvalError::Content {
            path: self.file.path().into(),
            source: Box::new(source),
        };
        let mut values = vec![0.0; rows.len() * self.dim()];
        self.file.read(rows.clone(), &mut values)?;
        let mut lengths = Lengths::NONE;
        for (row, values) in rows.zip(values.chunks_exact_mut(self.dim())) {
            if let Some(column) = values.iter().position(|value| !value.is_finite()) {
                return Err(at_fault(EvalError::NotFinite {
                    row,
                    column,
                    value: values[column],
                }));
            }
            let filed = match self.unit {
                true => to_unit_length(values),
                false => length(values),
            };
            if self.unit && filed == 0.0 {
                return Err(at_fault(EvalError::ZeroRow { row }));
            }
            let ranked = match self.unit {
                true => length(values),
                false => filed,
            };
            lengths = lengths.and(Lengths {
                filed: [filed; 2],
                ranked: LengthsBut0::of_one(ranked),
            });
        }
        Ok(lengths)
    }

    /// The file.
    pub fn file(&self) -> &EmbeddingsFile {
        &self.file
    }

    /// Number of items.
    pub fn rows(&self) -> usize {
        self.file.rows()
    }

    /// Number of values of one item.
    pub fn dim(&self) -> usize {
        self.file.dim()
    }

    /// The Euclidean lengths of the shortest and of the longest row in the file.
    pub fn length_range(&self) -> [f64; 2] {
        self.lengths.filed
    }

    /// Whether every row in the file has Euclidean length 1, within 1e-4, as
    /// [`Embeddings::is_normalised`] says.
    pub fn is_normalised(&self) -> bool {
        self.lengths.filed.into_iter().all(is_unit_length)
    }
}

/// Rows that a thread reads at a time: half a mebibyte.
fn part(dim: usize) -> usize {
    ((1 << 17) / dim).max(1)
}

/// Such parts for each thread between two looks at what came out.
const PARTS: usize = 64;

/// Queries, a gallery that stays in its file, and the positives of each query.
///
/// It is to a [`GalleryFile`] what [`Retrieval`](crate::Retrieval) is to embeddings in memory: the
/// ranks are the same, bit for bit. Memory does not grow with the dimension of the gallery's rows,
/// and with their number only by what says which of them are positives.
///
/// ```
/// use recall_eval::{Embeddings, EmbeddingsFile, FileRetrieval, GalleryFile};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("gallery.npy");
/// Embeddings::new(vec![2.0, 0.1, 0.0, 3.0, 1.0, 0.5], 2)?.save(&path)?;
///
/// let queries = Embeddings::new(vec![1.0, 0.0], 2)?.normalised()?;
/// let gallery = GalleryFile::normalised(EmbeddingsFile::open(&path)?)?;
/// let retrieval = FileRetrieval::query_against_gallery(&queries, &[7], &gallery, &[9, 7, 7])?;
/// assert_eq!(retrieval.ranks()?.of(0), [2, 3]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct FileRetrieval<'a> {
    pub(crate) queries: Cow<'a, Embeddings>,
    pub(crate) gallery: &'a GalleryFile,
    /// The power of two that items are multiplied with, as an exponent, where f32 does not hold
    /// their products with queries.
    power: Option<i32>,
    pub(crate) task: Task,
}

impl<'a> FileRetrieval<'a> {
    /// Every query is ranked against the whole gallery; items with its label are its positives.
    ///
    /// # Errors
    ///
    /// If there is not one label for each row, or if the two sets differ in dimension.
    pub fn query_against_gallery(
        queries: &'a Embeddings,
        query_labels: &[i64],
        gallery: &'a GalleryFile,
        gallery_labels: &[i64],
    ) -> Result<Self, EvalError> {
        let sides = [queries.rows(), gallery.rows()];
        let task = Task::query_against_gallery(query_labels, gallery_labels, sides)?;
        Self::build(queries, gallery, task)
    }

    /// Every query is ranked against the whole gallery; `positives` lists the gallery ids it should
    /// find.
    ///
    /// # Errors
    ///
    /// If there is not one list for each query, if an id is not in the gallery, or if the two sets
    /// differ in dimension.
    pub fn query_against_gallery_with(
        queries: &'a Embeddings,
        gallery: &'a GalleryFile,
        positives: Vec<Vec<u32>>,
    ) -> Result<Self, EvalError> {
        let task = Task::of_lists(positives, [queries.rows(), gallery.rows()])?;
        Self::build(queries, gallery, task)
    }

    fn build(
        queries: &'a Embeddings,
        gallery: &'a GalleryFile,
        task: Task,
    ) -> Result<Self, EvalError> {
        check_dimensions(queries.dim(), gallery.dim())?;
        let powers = Powers::needed(queries, gallery.lengths.ranked);
        Ok(Self {
            queries: match &powers {
                None => Cow::Borrowed(queries),
                Some(powers) => Cow::Owned(powers.queries(queries)),
            },
            gallery,
            power: powers.map(|powers| powers.of_gallery),
            task,
        })
    }

    /// As [`Retrieval::junk`](crate::Retrieval::junk).
    ///
    /// # Errors
    ///
    /// If there is not one list for each query, or if an id is not in the gallery.
    pub fn junk(mut self, junk: Vec<Vec<u32>>) -> Result<Self, EvalError> {
        self.task.set_junk(junk)?;
        Ok(self)
    }

    /// As [`Retrieval::ignore_group`](crate::Retrieval::ignore_group).
    ///
    /// # Errors
    ///
    /// If there is not one group for each query and each gallery item, or if positives are lists, so
    /// that there are no classes, with [`IgnoreGroup::SameClass`].
    pub fn ignore_group(
        mut self,
        query_groups: &[i64],
        gallery_groups: &[i64],
        which: IgnoreGroup,
    ) -> Result<Self, EvalError> {
        self.task.set_groups(query_groups, gallery_groups, which)?;
        Ok(self)
    }

    /// Number of queries.
    pub fn queries(&self) -> usize {
        self.queries.rows()
    }

    /// Reads rows of the gallery as they are ranked.
    pub(crate) fn read(&self, rows: Range<usize>, values: &mut Vec<f32>) -> Result<(), EvalError> {
        let (start, dim) = (rows.start, self.gallery.dim());
        let part = part(dim);
        values.resize(rows.len() * dim, 0.0);
        (values.par_chunks_mut(part * dim).enumerate()).try_for_each(|(at, values)| {
            let start = start + at * part;
            self.read_part(start..start + values.len() / dim, values)
        })
    }

    /// Reads the rows of these ids, which ascend.
    pub(crate) fn read_chosen(&self, ids: &[u32], values: &mut Vec<f32>) -> Result<(), EvalError> {
        let dim = self.gallery.dim();
        let part = part(dim);
        values.resize(ids.len() * dim, 0.0);
        let parts = (values.par_chunks_mut(part * dim)).zip(ids.par_chunks(part));
        parts.try_for_each(|(mut values, ids)| {
            // Those that lie together at once.
            for run in ids.chunk_by(|a, b| a + 1 == *b) {
                let (these, rest) = values.split_at_mut(run.len() * dim);
                let start = run[0] as usize;
                self.read_part(start..start + run.len(), these)?;
                values = rest;
            }
            Ok(())
        })
    }

    fn read_part(&self, rows: Range<usize>, values: &mut [f32]) -> Result<(), EvalError> {
        let GalleryFile { file, unit, .. } = self.gallery;
        file.read(rows, values)?;
        for row in values.chunks_exact_mut(file.dim()) {
            if *unit {
                to_unit_length(row);
            }
            if let Some(power) = self.power {
                multiply(row, power);
            }
        }
        Ok(())
    }
}
