//! Queries in memory, and a gallery that stays in its file.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::range::{LengthsBut0, Powers, multiply};
use super::task::Task;
use super::{IgnoreGroup, check_dimensions};
use crate::embeddings::unit::{Extremes, to_unit_lengths};
use crate::embeddings::{divide, is_unit_length, lengths};
use crate::refine::{Projecting, Whitening};
use crate::{Embeddings, EmbeddingsFile, EvalError};

/// A gallery that stays in its file, or in several: its rows are read, some at a time, when they are compared with
/// queries.
///
/// All rows were read once to see that they can be ranked, or are looked at when they are
/// ([`unread`](Self::unread)). The files must stay as they are from then on.
#[derive(Debug)]
pub struct GalleryFile {
    /// At least one; their rows follow each other.
    files: Vec<EmbeddingsFile>,
    rows: usize,
    whitening: Option<Whitening>,
    unit: bool,
    /// Whether rows are looked at when they are opened.
    surveyed: bool,
    /// Of the rows looked at.
    lengths: Mutex<Lengths>,
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
        Self::opened(file, false, true, None)
    }

    /// Divides every row by its Euclidean length when it is read, as
    /// [`Embeddings::normalised`] does.
    ///
    /// # Errors
    ///
    /// Those of [`new`](Self::new), and if a row is zero (the first is named).
    pub fn normalised(file: EmbeddingsFile) -> Result<Self, EvalError> {
        Self::opened(file, true, true, None)
    }

    /// As [`normalised`](Self::normalised), and whitened if that is wanted, as [`Whitening::apply`] does, without a walk through the
    /// file: rows that cannot be ranked are found when they are ranked, and [`length_range`](Self::length_range) is that of rows
    /// read until then.
    ///
    /// # Errors
    ///
    /// If rows have another dimension than those that the whitening was learned from.
    pub fn unread(file: EmbeddingsFile, whitening: Option<Whitening>) -> Result<Self, EvalError> {
        if let Some(whitening) = &whitening {
            whitening.check_dimension(file.dim())?;
        }
        Self::opened(file, true, false, whitening)
    }

    fn opened(
        file: EmbeddingsFile,
        unit: bool,
        surveyed: bool,
        whitening: Option<Whitening>,
    ) -> Result<Self, EvalError> {
        let gallery = Self {
            files: Vec::new(),
            rows: 0,
            whitening,
            unit,
            surveyed,
            lengths: Mutex::new(Lengths::NONE),
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
        let (first, part) = (self.rows, part(file.dim()));
        self.rows += file.rows();
        self.files.push(file);
        if self.surveyed {
            let round = part * PARTS * rayon::current_num_threads();
            for start in (first..self.rows).step_by(round) {
                let parts = (start..self.rows.min(start + round)).step_by(part);
                let parts: Vec<usize> = parts.collect();
                // In the order of rows, so that the first at fault is the one that is named.
                let found: Vec<Result<(), EvalError>> = (parts.into_par_iter())
                    .map_init(Read::default, |read, start| {
                        self.survey(start..self.rows.min(start + part), read)
                    })
                    .collect();
                found.into_iter().collect::<Result<(), EvalError>>()?;
            }
        }
        Ok(self)
    }

    /// Looks at the lengths of some rows, all of which can be ranked.
    fn survey(&self, rows: Range<usize>, read: &mut Read) -> Result<(), EvalError> {
        let Read {
            piece,
            values,
            lengths,
            ..
        } = read;
        values.resize(rows.len() * self.files[0].dim(), 0.0);
        self.read_filed(rows.clone(), values, piece)?;
        self.measure(rows.start, values, lengths)
    }

    /// The lengths of rows as they are in the files, from number `first` on, all of which can be ranked.
    fn measure(
        &self,
        first: usize,
        values: &[f32],
        lengths: &mut Vec<f64>,
    ) -> Result<(), EvalError> {
        let dim = self.files[0].dim();
        self::lengths(values, dim, lengths);
        let mut found = Lengths::NONE;
        for (at, &length) in lengths.iter().enumerate() {
            // A value that is not finite leaves no finite length: f64 has room for the squares of all others.
            if !length.is_finite() {
                let row = &values[at * dim..][..dim];
                let column = row.iter().position(|value| !value.is_finite());
                let column = column.unwrap_or_default();
                return Err(self.at_fault(first + at, |number| EvalError::NotFinite {
                    row: number,
                    column,
                    value: row[column],
                }));
            }
            if self.unit && length == 0.0 {
                return Err(self.at_fault(first + at, |row| EvalError::ZeroRow { row }));
            }
            found = found.and(Lengths {
                filed: [length; 2],
                ranked: LengthsBut0::of_one(length),
            });
        }
        self.meet(found);
        Ok(())
    }

    fn meet(&self, found: Lengths) {
        let mut all = self.lengths.lock().unwrap_or_else(PoisonError::into_inner);
        *all = all.and(found);
    }

    /// Brings rows to unit length, from number `first` on, all of which can be ranked, and measures them.
    fn bring_to_unit(
        &self,
        first: usize,
        rows: &mut [f32],
        scratch: &mut Vec<f64>,
        lengths: &mut Vec<f64>,
    ) -> Result<(), EvalError> {
        let dim = self.files[0].dim();
        let [shortest, longest] = self.lengths().filed;
        let mut met = Extremes { shortest, longest };
        if let Err(at) = to_unit_lengths(rows, dim, &mut met, scratch) {
            return self.measure(first + at, &rows[at * dim..][..dim], lengths);
        }
        let Extremes { shortest, longest } = met;
        let ranked = LengthsBut0 { shortest, longest };
        self.meet(Lengths {
            filed: [shortest, longest],
            ranked,
        });
        Ok(())
    }

    /// An error about a row, with the file that has it and its number there.
    fn at_fault(&self, row: usize, error: impl FnOnce(usize) -> EvalError) -> EvalError {
        let (mut first, mut file) = (0, &self.files[0]);
        for next in &self.files[1..] {
            if row < first + file.rows() {
                break;
            }
            first += file.rows();
            file = next;
        }
        EvalError::Content {
            path: file.path().into(),
            source: Box::new(error(row - first)),
        }
    }

    fn lengths(&self) -> Lengths {
        *self.lengths.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lengths of rows as they are ranked.
    fn ranked(&self) -> LengthsBut0 {
        match self.unit {
            true => LengthsBut0::of_one(1.0),
            false => self.lengths().ranked,
        }
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
        self.lengths().filed
    }

    /// Whether every row in the files has Euclidean length 1, within 1e-4, as
    /// [`Embeddings::is_normalised`] says.
    pub fn is_normalised(&self) -> bool {
        self.lengths().filed.into_iter().all(is_unit_length)
    }

    /// Whether all rows were read when the file was opened, so that their lengths are known.
    pub fn was_read(&self) -> bool {
        self.surveyed
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
        let first = rows.start;
        let Read {
            piece,
            values,
            lengths,
            scratch,
            projecting,
        } = read;
        let Some(whitening) = &self.whitening else {
            self.read_filed(rows, out, piece)?;
            return match self.unit {
                true => self.bring_to_unit(first, out, scratch, lengths),
                false => Ok(()),
            };
        };
        values.resize(rows.len() * self.files[0].dim(), 0.0);
        self.read_filed(rows, values, piece)?;
        self.bring_to_unit(first, values, scratch, lengths)?;
        whitening.project(values, out, projecting);
        self::lengths(out, self.dim(), lengths);
        let nowhere = |length: &f64| !(*length > 0.0 && length.is_finite());
        if let Some(at) = lengths.iter().position(nowhere) {
            return Err(self.at_fault(first + at, |row| EvalError::Unprojected { row }));
        }
        divide_all(out, self.dim(), lengths);
        Ok(())
    }

    fn read_filed(
        &self,
        rows: Range<usize>,
        mut out: &mut [f32],
        piece: &mut Vec<u8>,
    ) -> Result<(), EvalError> {
        let mut first = 0;
        for file in &self.files {
            let last = first + file.rows();
            let (start, end) = (rows.start.max(first), rows.end.min(last));
            if start < end {
                let (these, rest) = out.split_at_mut((end - start) * file.dim());
                file.read_in(piece, start - first..end - first, these)?;
                out = rest;
            }
            first = last;
        }
        Ok(())
    }
}

fn divide_all(rows: &mut [f32], dim: usize, lengths: &[f64]) {
    for (row, &length) in rows.chunks_exact_mut(dim).zip(lengths) {
        divide(row, length);
    }
}

/// What a thread keeps between one part and the next.
#[derive(Default)]
pub(crate) struct Read {
    /// Of a file.
    piece: Vec<u8>,
    values: Vec<f32>,
    lengths: Vec<f64>,
    /// One row.
    scratch: Vec<f64>,
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
    /// How many rankings are judged of each query, one after the other in `task`.
    pub(crate) each: usize,
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
        Self::build(queries, gallery, 1, task)
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
        Self::build(queries, gallery, 1, task)
    }

    /// `each` lists of positives and of junk for each query: those of its first ranking, those of its second, and then those of
    /// the next query.
    pub(crate) fn of_several(
        queries: &'a Embeddings,
        gallery: &'a GalleryFile,
        each: usize,
        positives: Vec<Vec<u32>>,
        junk: Vec<Vec<u32>>,
    ) -> Result<Self, EvalError> {
        let sides = [each * queries.rows(), gallery.rows()];
        let task = Task::of_lists(positives, sides).and_then(|mut task| {
            task.set_junk(junk)?;
            Ok(task)
        });
        // Named by the row of its query.
        let task = task.map_err(|error| match error {
            EvalError::UnknownItem {
                what,
                query,
                id,
                gallery,
            } => EvalError::UnknownItem {
                what,
                query: query / each,
                id,
                gallery,
            },
            other => other,
        })?;
        Self::build(queries, gallery, each, task)
    }

    fn build(
        queries: &'a Embeddings,
        gallery: &'a GalleryFile,
        each: usize,
        task: Task,
    ) -> Result<Self, EvalError> {
        check_dimensions(queries.dim(), gallery.dim())?;
        let powers = Powers::needed(queries, gallery.ranked());
        Ok(Self {
            queries: match &powers {
                None => Cow::Borrowed(queries),
                Some(powers) => Cow::Owned(powers.queries(queries)),
            },
            gallery,
            power: powers.map(|powers| powers.of_gallery),
            each,
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
        let read = parts.map_init(Read::default, |read, (at, values)| {
            let start = start + at * part;
            self.read_part(start..start + values.len() / dim, values, read)
        });
        // In the order of rows, so that the first at fault is the one that is named.
        read.collect::<Vec<_>>().into_iter().collect()
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

    pub(crate) fn read_part(
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
