//! Queries in memory, and a gallery that stays in its file.

use std::borrow::Cow;
use std::ops::Range;

use rayon::prelude::*;

use super::range::{LengthsBut0, Powers, multiply};
use super::task::Task;
use super::{IgnoreGroup, check_dimensions};
use crate::embeddings::{divide, is_unit_length, length, lengths, to_unit_length};
use crate::refine::{Projecting, Whitening};
use crate::{Embeddings, EmbeddingsFile, EvalError};

/// A gallery that stays in its file, or in several: its rows are read, some at a time, when they are compared with
/// queries.
///
/// All rows were read once to see that they can be ranked. The files must stay as they are from then on.
#[derive(Debug)]
pub struct GalleryFile {
    /// At least one; their rows follow each other.
    files: Vec<EmbeddingsFile>,
    rows: usize,
    whitening: Option<Whitening>,
    unit: bool,
    lengths: Lengths,
}

/// The lengths of rows.
#[derive(Clone, Copy, Debug)]
struct Lengths {
    /// The shortest and the longest in the files.
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
        Self::surveyed(file, false, None)
    }

    /// Divides every row by its Euclidean length when it is read, as
    /// [`Embeddings::normalised`] does.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new), and if a row is zero (the first is named).
    pub fn normalised(file: EmbeddingsFile) -> Result<Self, EvalError> {
        Self::surveyed(file, true, None)
    }

    /// Divides every row by its length when it is read, and whitens it, as [`Whitening::apply`] does.
    ///
    /// # Errors
    ///
    /// Those of [`normalised`](Self::normalised), if rows have another dimension than those that the whitening was learned from,
    /// or if one is projected onto zero.
    pub fn whitened(file: EmbeddingsFile, whitening: Whitening) -> Result<Self, EvalError> {
        whitening.check_dimension(file.dim())?;
        Self::surveyed(file, true, Some(whitening))
    }

    fn surveyed(
        file: EmbeddingsFile,
        unit: bool,
        whitening: Option<Whitening>,
    ) -> Result<Self, EvalError> {
        let gallery = Self {
            files: Vec::new(),
            rows: 0,
            whitening,
            unit,
            lengths: Lengths::NONE,
        };
        gallery.with(file)
    }

    /// Puts the rows of another file behind those that are there, such as distractors: images that no query is looking for. They
    /// are brought to unit length and whitened as the others are.
    ///
    /// # Errors
    ///
    /// If the two differ in dimension, and those of what made this gallery.
    pub fn followed_by(self, file: EmbeddingsFile) -> Result<Self, EvalError> {
        check_dimensions(self.files[0].dim(), file.dim())?;
        self.with(file)
    }

    fn with(mut self, file: EmbeddingsFile) -> Result<Self, EvalError> {
        let (rows, part) = (file.rows(), part(file.dim()));
        let round = part * PARTS * rayon::current_num_threads();
        for start in (0..rows).step_by(round) {
            let parts = (start..rows.min(start + round)).step_by(part);
            let parts: Vec<usize> = parts.collect();
            // In the order of rows, so that the first at fault is the one that is named.
            let found: Vec<Result<Lengths, EvalError>> = (parts.into_par_iter())
                .map_init(Read::default, |read, start| {
                    let rows = start..rows.min(start + part);
                    self.survey(&file, rows, read)
                })
                .collect();
            for lengths in found {
                self.lengths = self.lengths.and(lengths?);
            }
        }
        self.rows += rows;
        self.files.push(file);
        Ok(self)
    }

    /// The lengths of some rows, all of which can be ranked.
    fn survey(
        &self,
        file: &EmbeddingsFile,
        rows: Range<usize>,
        read: &mut Read,
    ) -> Result<Lengths, EvalError> {
        let at_fault = |source| EvalError::Content {
            path: file.path().into(),
            source: Box::new(source),
        };
        let Read {
            values, lengths, ..
        } = read;
        let (first, dim) = (rows.start, file.dim());
        values.resize(rows.len() * dim, 0.0);
        file.read(rows, values)?;
        self::lengths(values, dim, lengths);
        let mut found = Lengths::NONE;
        for (at, &length) in lengths.iter().enumerate() {
            // A value that is not finite leaves no finite length; f64 has room for the squares of all others.
            if !length.is_finite() {
                let row = &values[at * dim..][..dim];
                let column = row.iter().position(|value| !value.is_finite());
                let column = column.unwrap_or_default();
                return Err(at_fault(EvalError::NotFinite {
                    row: first + at,
                    column,
                    value: row[column],
                }));
            }
            if self.unit && length == 0.0 {
                return Err(at_fault(EvalError::ZeroRow { row: first + at }));
            }
            found = found.and(Lengths {
                filed: [length; 2],
                ranked: LengthsBut0::of_one(match self.unit {
                    true => 1.0,
                    false => length,
                }),
            });
        }
        if let Some(whitening) = &self.whitening {
            let rows = values.chunks_exact_mut(dim).zip(lengths.iter());
            rows.for_each(|(row, &length)| divide(row, length));
            let mut white = vec![0.0; lengths.len() * whitening.out()];
            whitening.project(values, &mut white, &mut read.projecting);
            let rows = white.chunks_exact(whitening.out()).map(length);
            if let Some(at) = rows
                .into_iter()
                .position(|length| !(length > 0.0 && length.is_finite()))
            {
                return Err(at_fault(EvalError::Unprojected { row: first + at }));
            }
        }
        Ok(found)
    }

    /// The file, the first if there are several.
    pub fn file(&self) -> &EmbeddingsFile {
        &self.files[0]
    }

    /// Number of items.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of values of one item, as it is ranked.
    pub fn dim(&self) -> usize {
        match &self.whitening {
            Some(whitening) => whitening.out(),
            None => self.files[0].dim(),
        }
    }

    /// The Euclidean lengths of the shortest and of the longest row in the files.
    pub fn length_range(&self) -> [f64; 2] {
        self.lengths.filed
    }

    /// Whether every row in the files has Euclidean length 1, within 1e-4, as
    /// [`Embeddings::is_normalised`] says.
    pub fn is_normalised(&self) -> bool {
        self.lengths.filed.into_iter().all(is_unit_length)
    }

    /// Whether items have that length when they are ranked.
    pub(crate) fn gives_unit_rows(&self) -> bool {
        self.unit || self.is_normalised()
    }

    /// That nothing was written to the files since they were opened, as far as length and time tell.
    pub(crate) fn check_unchanged(&self) -> Result<(), EvalError> {
        self.files
            .iter()
            .try_for_each(EmbeddingsFile::check_unchanged)
    }

    /// Reads rows as they are ranked.
    fn read(&self, rows: Range<usize>, out: &mut [f32], read: &mut Read) -> Result<(), EvalError> {
        let Some(whitening) = &self.whitening else {
            self.read_filed(rows, out)?;
            if self.unit {
                lengths(out, self.dim(), &mut read.lengths);
                let rows = out.chunks_exact_mut(self.dim()).zip(&read.lengths);
                rows.for_each(|(row, &length)| divide(row, length));
            }
            return Ok(());
        };
        let Read {
            values,
            lengths,
            projecting,
        } = read;
        let dim = self.files[0].dim();
        values.resize(rows.len() * dim, 0.0);
        self.read_filed(rows, values)?;
        self::lengths(values, dim, lengths);
        let rows = values.chunks_exact_mut(dim).zip(lengths.iter());
        rows.for_each(|(row, &length)| divide(row, length));
        whitening.project(values, out, projecting);
        out.chunks_exact_mut(self.dim()).for_each(|row| {
            to_unit_length(row);
        });
        Ok(())
    }

    fn read_filed(&self, rows: Range<usize>, mut out: &mut [f32]) -> Result<(), EvalError> {
        let mut first = 0;
        for file in &self.files {
            let last = first + file.rows();
            let (start, end) = (rows.start.max(first), rows.end.min(last));
            if start < end {
                let (these, rest) = out.split_at_mut((end - start) * file.dim());
                file.read(start - first..end - first, these)?;
                out = rest;
            }
            first = last;
        }
        Ok(())
    }
}

/// What a thread keeps between one part and the next.
#[derive(Default)]
struct Read {
    values: Vec<f32>,
    lengths: Vec<f64>,
    projecting: Projecting,
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
        let parts = values.par_chunks_mut(part * dim).enumerate();
        parts.try_for_each_init(Read::default, |read, (at, values)| {
            let start = start + at * part;
            self.read_part(start..start + values.len() / dim, values, read)
        })
    }

    /// Reads the rows of these ids, which ascend.
    pub(crate) fn read_chosen(&self, ids: &[u32], values: &mut Vec<f32>) -> Result<(), EvalError> {
        let dim = self.gallery.dim();
        let part = part(dim);
        values.resize(ids.len() * dim, 0.0);
        let parts = (values.par_chunks_mut(part * dim)).zip(ids.par_chunks(part));
        parts.try_for_each_init(Read::default, |read, (mut values, ids)| {
            // Those that lie together at once.
            for run in ids.chunk_by(|a, b| a + 1 == *b) {
                let (these, rest) = values.split_at_mut(run.len() * dim);
                let start = run[0] as usize;
                self.read_part(start..start + run.len(), these, read)?;
                values = rest;
            }
            Ok(())
        })
    }

    fn read_part(
        &self,
        rows: Range<usize>,
        values: &mut [f32],
        read: &mut Read,
    ) -> Result<(), EvalError> {
        self.gallery.read(rows, values, read)?;
        if let Some(power) = self.power {
            for row in values.chunks_exact_mut(self.gallery.dim()) {
                multiply(row, power);
            }
        }
        Ok(())
    }
}
