//! Embeddings that stay in their file.

use std::fmt;
use std::ops::Range;
use std::path::Path;

use super::format::Format;
use super::npy::Npy;
use super::refusal::refuse;
use super::safetensors::Tensors;
use super::source::Source;
use super::values::Float;
use crate::{Embeddings, EvalError};

/// Embeddings in a file, of which rows are read when they are asked for.
///
/// It opens what [`Embeddings::open`] does and refuses the same, but for values that are not finite:
/// it has not seen them. Several threads may read at once. One kind of file is read whole when it is
/// opened, and stays in memory: an `.npy` file in Fortran order, where the values of a row lie far
/// apart.
///
/// ```no_run
/// use recall_eval::EmbeddingsFile;
///
/// let file = EmbeddingsFile::open("gallery.npy")?;
/// let mut first = vec![0.0; file.dim()];
/// file.read(0..1, &mut first)?;
/// # Ok::<(), recall_eval::EvalError>(())
/// ```
pub struct EmbeddingsFile {
    source: Source,
    rows: usize,
    dim: usize,
    values: Values,
    /// What a `.safetensors` file holds.
    tensors: Option<Tensors>,
}

/// Where the values are.
enum Values {
    /// Row by row in the file.
    Filed(Filed),
    /// In memory: in the file they lie column by column.
    Turned(Vec<f32>),
}

/// How values lie in a file.
#[derive(Clone, Copy)]
pub(super) struct Filed {
    /// The first byte.
    pub start: u64,
    pub float: Float,
    pub big_endian: bool,
}

impl Filed {
    /// Reads as many values as `out` has room for, from value `first` on.
    pub fn read(&self, source: &Source, first: usize, out: &mut [f32]) -> Result<(), EvalError> {
        self.read_in(&mut Vec::new(), source, first, out)
    }

    /// The same with room for a piece of the file that a reader of many keeps.
    fn read_in(
        &self,
        piece: &mut Vec<u8>,
        source: &Source,
        first: usize,
        out: &mut [f32],
    ) -> Result<(), EvalError> {
        let size = self.float.bytes();
        let start = self.start + first as u64 * size as u64;
        let mut rest = &mut *out;
        source.pieces_in(piece, start, rest.len() * size, |bytes| {
            let part = rest.split_off_mut(..bytes.len() / size).unwrap_or_default();
            self.float.decode(bytes, self.big_endian, part);
        })
    }
}

impl EmbeddingsFile {
    /// Opens the embeddings of an `.npy` or `.safetensors` file (see [the module](crate::files) for
    /// what it may hold).
    ///
    /// # Errors
    ///
    /// If the file cannot be read, is damaged, holds something else, or no value. Every message
    /// names the file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, EvalError> {
        let path = path.as_ref();
        let format = Format::of(path, "embeddings")?;
        let source = Source::open(path)?;
        let mut tensors = None;
        let (shape, filed, turned) = match format {
            Format::Npy => {
                let npy = Npy::open(&source, "save array.astype(\"float32\")")?;
                let (shape, filed) = npy.embeddings()?;
                (shape, filed, npy.is_fortran())
            }
            Format::SafeTensors => {
                let read = Tensors::open(&source)?;
                let (shape, filed) = read.embeddings(&source)?;
                tensors = Some(read);
                (shape, filed, false)
            }
        };
        let [rows, dim] = shape;
        if rows == 0 || dim == 0 {
            return Err(EvalError::Content {
                path: path.into(),
                source: Box::new(EvalError::Empty { values: 0, dim }),
            });
        }
        let values = if turned {
            let mut columns = vec![0.0; rows * dim];
            filed.read(&source, 0, &mut columns)?;
            let row = |row: usize| columns[row..].iter().step_by(rows).copied();
            Values::Turned((0..rows).flat_map(row).collect())
        } else {
            Values::Filed(filed)
        };
        Ok(Self {
            source,
            rows,
            dim,
            values,
            tensors,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.source.path()
    }

    /// Number of embeddings.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of values of one embedding.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Reads the given rows into `out`, `[rows.len(), dim]` row-major, brought to f32. Values are
    /// not looked at: they may be NaN or infinite.
    ///
    /// # Errors
    ///
    /// If there are no such rows, if `out` has another length, or if the file cannot be read, as
    /// when it was cut short since it was opened.
    pub fn read(&self, rows: Range<usize>, out: &mut [f32]) -> Result<(), EvalError> {
        self.read_in(&mut Vec::new(), rows, out)
    }

    /// The same with room for a piece of the file that a reader of many keeps.
    pub(crate) fn read_in(
        &self,
        piece: &mut Vec<u8>,
        rows: Range<usize>,
        out: &mut [f32],
    ) -> Result<(), EvalError> {
        let there = rows.start <= rows.end && rows.end <= self.rows;
        if !there || out.len() != rows.len() * self.dim {
            return Err(refuse(
                self.path(),
                format!(
                    "rows {}..{} of its {} were asked for, with room for {} values",
                    rows.start,
                    rows.end,
                    self.rows,
                    out.len()
                ),
                format!(
                    "ask for rows that are there, with room for {} values each",
                    self.dim
                ),
            ));
        }
        let first = rows.start * self.dim;
        match &self.values {
            Values::Filed(filed) => filed.read_in(piece, &self.source, first, out),
            Values::Turned(values) => {
                out.copy_from_slice(&values[first..][..out.len()]);
                Ok(())
            }
        }
    }

    /// Reads all rows, and looks at their values.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or if a value is NaN or infinite.
    pub fn into_memory(self) -> Result<Embeddings, EvalError> {
        let values = match self.values {
            Values::Filed(filed) => {
                let mut values = vec![0.0; self.rows * self.dim];
                filed.read(&self.source, 0, &mut values)?;
                values
            }
            Values::Turned(values) => values,
        };
        Embeddings::new(values, self.dim).map_err(|source| EvalError::Content {
            path: self.source.path().into(),
            source: Box::new(source),
        })
    }

    /// That nothing was written to the file since it was opened, as far as length and time tell.
    pub(crate) fn check_unchanged(&self) -> Result<(), EvalError> {
        self.source.check_unchanged()
    }

    /// The numbers of the tensor `name` of a `.safetensors` file: integers of any width, or
    /// booleans as 0 and 1, with one axis. `None` if there is no such tensor, and for an `.npy`
    /// file, which holds one array.
    ///
    /// # Errors
    ///
    /// If the tensor has other values or axes, if one is above `i64::MAX`, or if the file cannot be
    /// read.
    pub fn integers(&self, name: &str) -> Result<Option<Vec<i64>>, EvalError> {
        match &self.tensors {
            Some(tensors) => tensors.integers(&self.source, name),
            None => Ok(None),
        }
    }
}

/// Without the values, which may be in memory.
impl fmt::Debug for EmbeddingsFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddingsFile")
            .field("path", &self.path())
            .field("rows", &self.rows)
            .field("dim", &self.dim)
            .finish_non_exhaustive()
    }
}
