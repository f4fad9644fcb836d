//! Embeddings and labels in files of other programs.
//!
//! | file | embeddings | labels |
//! |---|---|---|
//! | `.npy` | two axes; f16, f32 or f64; C or Fortran order; either byte order | one axis; integers of any width |
//! | `.safetensors` | tensor `embeddings`, or the only one of floats with two axes; F16, BF16, F32 or F64 | tensor `labels`, or the only one of integers with one axis |
//!
//! One `.safetensors` file can hold both. Everything is brought to f32 and i64.

mod npy;
mod safetensors;
mod truth;
mod values;
mod writer;

use std::fmt::Display;
use std::io::{self, BufWriter};
use std::path::Path;

use tempfile::NamedTempFile;

use crate::{Embeddings, EvalError};
use npy::{Npy, write_npy};
use safetensors::{EMBEDDINGS, LABELS, with_tensor, write_tensors};
use values::{Float, Int};

pub use truth::{GroundTruth, read_ground_truth};
pub use writer::EmbeddingsWriter;

impl Embeddings {
    /// Reads the embeddings of an `.npy` or `.safetensors` file (see [the module](crate::files) for
    /// what it may hold).
    ///
    /// # Errors
    ///
    /// If the file cannot be read, is damaged, holds something else, or holds values that
    /// [`Embeddings::new`] refuses. Every message names the file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, EvalError> {
        let path = path.as_ref();
        let (data, dim) = match Format::of(path, "embeddings")? {
            Format::Npy => Npy::open(path, "save array.astype(\"float32\")")?.embeddings()?,
            Format::SafeTensors => with_tensor(path, &EMBEDDINGS, |tensor| {
                let dim = tensor.shape()[1];
                let mut data = Vec::with_capacity(tensor.shape()[0] * dim);
                if let Some(float) = Float::of_tensor(tensor.dtype()) {
                    float.decode(tensor.data(), false, &mut data);
                }
                Ok((data, dim))
            })?,
        };
        let at_fault = |source| EvalError::Content {
            path: path.into(),
            source: Box::new(source),
        };
        Self::new(data, dim).map_err(at_fault)
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
    let labels = match Format::of(path, "labels")? {
        Format::Npy => {
            let number = "number the names, as with numpy.unique(labels, return_inverse=True)[1]";
            Npy::open(path, number)?.labels()
        }
        Format::SafeTensors => with_tensor(path, &LABELS, |tensor| {
            let mut labels = Vec::with_capacity(tensor.shape()[0]);
            match Int::of_tensor(tensor.dtype()) {
                Some(int) if !int.decode(tensor.data(), false, &mut labels) => {
                    Err(label_too_large(path))
                }
                _ => Ok(labels),
            }
        }),
    }?;
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

#[derive(Debug, Clone, Copy)]
enum Format {
    Npy,
    SafeTensors,
}

impl Format {
    fn of(path: &Path, what: &str) -> Result<Self, EvalError> {
        let extension = path
            .extension()
            .and_then(|extension| extension.to_str())
            .unwrap_or("");
        let way_out = match extension.to_ascii_lowercase().as_str() {
            "npy" => return Ok(Self::Npy),
            "safetensors" => return Ok(Self::SafeTensors),
            "npz" => {
                "take the array out of it with numpy.save(\"array.npy\", numpy.load(FILE)[NAME])"
            }
            "pt" | "pth" => {
                "bring the tensor there with numpy.save(\"array.npy\", tensor.float().cpu().numpy())"
            }
            "csv" | "txt" | "tsv" => {
                "bring it there with numpy.save(\"array.npy\", numpy.loadtxt(FILE, ...))"
            }
            _ => "use one of these extensions",
        };
        Err(refuse(
            path,
            format!("{what} are kept in .npy or .safetensors files"),
            way_out,
        ))
    }
}

/// Writes a file beside `path` and gives it that name when it is complete, so that no half of one
/// is ever found there.
fn replace(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<NamedTempFile>) -> io::Result<()>,
) -> Result<(), EvalError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    // As any other new file: by default temporary ones are for their owner only.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    // A name that no other file has, and that is gone again if something fails.
    let written = builder.tempfile_in(folder).and_then(|partial| {
        let mut file = BufWriter::new(partial);
        write(&mut file)?;
        let partial = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        partial.as_file().sync_all()?;
        partial.persist(path).map_err(|error| error.error)
    });
    written.map(|_| ()).map_err(|source| EvalError::Io {
        path: path.into(),
        source,
    })
}

fn refuse(path: &Path, problem: impl Display, way_out: impl Display) -> EvalError {
    EvalError::File {
        path: path.into(),
        problem: problem.to_string(),
        way_out: way_out.to_string(),
    }
}

fn label_too_large(path: &Path) -> EvalError {
    refuse(
        path,
        format!("a label is above {}, the largest that fits", i64::MAX),
        "number the classes from 0",
    )
}

fn shape_text(shape: &[usize]) -> String {
    let axes: Vec<String> = shape.iter().map(usize::to_string).collect();
    format!("[{}]", axes.join(", "))
}
