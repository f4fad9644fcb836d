//! Embeddings and labels in files of other programs.
//!
//! | file | embeddings | labels |
//! |---|---|---|
//! | `.npy` | two axes; f16, f32 or f64; C or Fortran order; either byte order | one axis; integers of any width |
//! | `.safetensors` | tensor `embeddings`, or the only one of floats with two axes; F16, BF16, F32 or F64 | tensor `labels`, or the only one of integers with one axis |
//!
//! One `.safetensors` file can hold both. Everything is brought to f32 and i64. A file that memory
//! does not hold can stay where it is ([`EmbeddingsFile`]).

mod format;
mod npy;
mod on_disk;
mod projection;
mod refusal;
mod replace;
mod safetensors;
mod source;
mod truth;
mod values;
mod writer;

use std::path::Path;

use crate::{Embeddings, EvalError};
use format::Format;
use npy::{Npy, write_npy};
use refusal::refuse;
use safetensors::{Tensors, write_tensors};
use source::Source;

pub use on_disk::EmbeddingsFile;
pub(crate) use projection::{read_projection, write_projection};
pub use truth::{FileTruth, GroundTruth, read_ground_truth};
pub use writer::{EmbeddingsWriter, Precision};

impl Embeddings {
    /// Reads the embeddings of an `.npy` or `.safetensors` file (see [the module](crate::files) for
    /// what it may hold).
    ///
    /// # Errors
    ///
    /// If the file cannot be read, is damaged, holds something else, or holds values that
    /// [`Embeddings::new`] refuses. Every message names the file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, EvalError> {
        EmbeddingsFile::open(path)?.into_memory()
    }

    /// Writes the embeddings as f32 to an `.npy` or, as the tensor `embeddings`, to a
    /// `.safetensors` file.
    ///
    /// A file of that name is replaced, and only once the new one is complete.
    ///
    /// # Errors
    ///
    /// If the file cannot be written, or if its extension is another.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), EvalError> {
        let path = path.as_ref();
        match Format::of(path, "embeddings")? {
            Format::Npy => write_npy(
                path,
                &[self.rows(), self.dim()],
                self.as_slice().iter().copied(),
            ),
            Format::SafeTensors => write_tensors(path, Some(self), None),
        }
    }

    /// Writes the embeddings and their labels to one `.safetensors` file, as the tensors
    /// `embeddings` (F32) and `labels` (I64). An `.npy` file holds one array: use
    /// [`save`](Self::save) and [`save_labels`] for two of them.
    ///
    /// # Errors
    ///
    /// If there is not one label for each row, if the file cannot be written, or if its extension
    /// is another.
    pub fn save_with_labels(
        &self,
        path: impl AsRef<Path>,
        labels: &[i64],
    ) -> Result<(), EvalError> {
        let path = path.as_ref();
        if labels.len() != self.rows() {
            return Err(EvalError::LabelCount {
                what: "embeddings",
                labels: labels.len(),
                rows: self.rows(),
            });
        }
        match Format::of(path, "embeddings and labels")? {
            Format::Npy => Err(refuse(
                path,
                "an .npy file holds one array, not embeddings and labels",
                "save to a .safetensors file, or labels and embeddings to a file each",
            )),
            Format::SafeTensors => write_tensors(path, Some(self), Some(labels)),
        }
    }
}

/// Reads the labels of an `.npy` or `.safetensors` file (see [the module](crate::files) for what it
/// may hold).
///
/// # Errors
///
/// If the file cannot be read, is damaged, is empty, holds something else, or a label above
/// `i64::MAX`. Every message names the file.
pub fn read_labels(path: impl AsRef<Path>) -> Result<Vec<i64>, EvalError> {
    let path = path.as_ref();
    let format = Format::of(path, "labels")?;
    let source = Source::open(path)?;
    let labels = match format {
        Format::Npy => {
            let number = "number the names, as with numpy.unique(labels, return_inverse=True)[1]";
            Npy::open(&source, number)?.labels()?
        }
        Format::SafeTensors => Tensors::open(&source)?.labels(&source)?,
    };
    if labels.is_empty() {
        return Err(refuse(
            path,
            "it holds no label",
            "save one label for each item",
        ));
    }
    Ok(labels)
}

/// Writes labels as 64-bit integers to an `.npy` or, as the tensor `labels`, to a `.safetensors`
/// file.
///
/// A file of that name is replaced, and only once the new one is complete.
///
/// # Errors
///
/// If the file cannot be written, or if its extension is another.
pub fn save_labels(path: impl AsRef<Path>, labels: &[i64]) -> Result<(), EvalError> {
    let path = path.as_ref();
    match Format::of(path, "labels")? {
        Format::Npy => write_npy(path, &[labels.len()], labels.iter().copied()),
        Format::SafeTensors => write_tensors(path, None, Some(labels)),
    }
}
