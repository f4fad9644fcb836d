//! The format of safetensors.

use std::io::{self, Write};
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo, TensorView};

use super::on_disk::Filed;
use super::refusal::{label_too_large, refuse, shape_text};
use super::replace::replace;
use super::source::Source;
use super::values::{Float, Int};
use crate::{Embeddings, EvalError};

/// What to look for in a `.safetensors` file.
pub(super) struct Wanted<T> {
    name: &'static str,
    /// For messages.
    description: &'static str,
    /// What to know of a tensor that fits.
    fit: fn(&TensorInfo) -> Option<T>,
}

/// Rows, columns and the type of the values.
pub(super) const EMBEDDINGS: Wanted<([usize; 2], Float)> = Wanted {
    name: "embeddings",
    description: "floats (F16, BF16, F32 or F64) with two axes",
    fit: |tensor| match tensor.shape[..] {
        [rows, dim] => Some(([rows, dim], Float::of_tensor(tensor.dtype)?)),
        _ => None,
    },
};

/// How many there are, and their type.
pub(super) const LABELS: Wanted<(usize, Int)> = Wanted {
    name: "labels",
    description: "integers with one axis",
    fit: |tensor| match tensor.shape[..] {
        [count] => Some((count, Int::of_tensor(tensor.dtype)?)),
        _ => None,
    },
};

/// Longer headers are taken for damage before memory is given to them, as the format's own library
/// does.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// The header of a `.safetensors` file, which agrees with the file's length.
pub(super) struct Tensors {
    /// The first byte after the header.
    start: u64,
    metadata: Metadata,
}

impl Tensors {
    pub fn open(source: &Source) -> Result<Self, EvalError> {
        let damaged = |problem: &dyn std::fmt::Display| {
            refuse(
                source.path(),
                format!("this is no complete file in .safetensors format ({problem})"),
                "it is damaged or incomplete: copy or save it again",
            )
        };
        let mut size = [0; 8];
        if source.length() < size.len() as u64 {
            return Err(damaged(&"the file ends before its header"));
        }
        source.read(0, &mut size)?;
        let header_bytes = u64::from_le_bytes(size);
        if header_bytes > MAX_HEADER_BYTES {
            return Err(damaged(&"its header is too long"));
        }
        let start = size.len() as u64 + header_bytes;
        if start > source.length() {
            return Err(damaged(&"the file ends within its header"));
        }
        let mut header = vec![0; header_bytes as usize];
        source.read(size.len() as u64, &mut header)?;
        // It refuses offsets with gaps, and those that do not agree with types and shapes.
        let metadata: Metadata =
            serde_json::from_slice(&header).map_err(|error| damaged(&error))?;
        let (announced, found) = (metadata.data_len() as u64, source.length() - start);
        if announced != found {
            return Err(damaged(&format!(
                "its header announces {announced} bytes of data, but {found} follow"
            )));
        }
        Ok(Self { start, metadata })
    }

    /// Finds the tensor wanted: what to know of it, and where its values start.
    fn find<T>(&self, path: &Path, wanted: &Wanted<T>) -> Result<(T, u64), EvalError> {
        let Wanted {
            name,
            description,
            fit,
        } = wanted;
        if let Some(tensor) = self.metadata.info(name) {
            let Some(known) = fit(tensor) else {
                return Err(refuse(
                    path,
                    format!(
                        "{name} are {description}, and its tensor `{name}` is {}",
                        type_text(tensor)
                    ),
                    "convert it before saving",
                ));
            };
            return Ok((known, self.start_of(tensor)));
        }
        let mut fitting: Vec<(String, T, u64)> = (self.metadata.tensors().into_iter())
            .filter_map(|(name, tensor)| Some((name, fit(tensor)?, self.start_of(tensor))))
            .collect();
        if fitting.len() > 1 {
            let mut names: Vec<&str> = fitting.iter().map(|(name, ..)| name.as_str()).collect();
            names.sort_unstable();
            return Err(refuse(
                path,
                format!(
                    "no tensor is named `{name}`, and several hold {description}: {}",
                    names.join(", ")
                ),
                format!("give the one to use the name `{name}`"),
            ));
        }
        match fitting.pop() {
            Some((_, known, start)) => Ok((known, start)),
            None => Err(refuse(
                path,
                format!("no tensor is named `{name}`, and none holds {description}"),
                format!("save them under the name `{name}`"),
            )),
        }
    }

    fn start_of(&self, tensor: &TensorInfo) -> u64 {
        self.start + tensor.data_offsets.0 as u64
    }

    /// The number of rows and of columns of the embeddings, and where their values lie.
    pub fn embeddings(&self, source: &Source) -> Result<([usize; 2], Filed), EvalError> {
        let ((shape, float), start) = self.find(source.path(), &EMBEDDINGS)?;
        let filed = Filed {
            start,
            float,
            big_endian: false,
        };
        Ok((shape, filed))
    }

    pub fn labels(&self, source: &Source) -> Result<Vec<i64>, EvalError> {
        let ((count, int), start) = self.find(source.path(), &LABELS)?;
        let labels = int.read(source, start, count, false)?;
        labels.ok_or_else(|| label_too_large(source.path()))
    }

    /// The numbers of the tensor `name`, if there is one.
    pub fn integers(&self, source: &Source, name: &str) -> Result<Option<Vec<i64>>, EvalError> {
        let Some(tensor) = self.metadata.info(name) else {
            return Ok(None);
        };
        let int = match tensor.dtype {
            // A byte each, 0 or 1.
            Dtype::BOOL => Int::of_tensor(Dtype::U8),
            dtype => Int::of_tensor(dtype),
        };
        let (Some(int), &[count]) = (int, &tensor.shape[..]) else {
            return Err(refuse(
                source.path(),
                format!(
                    "integers with one axis are wanted, and its tensor `{name}` is {}",
                    type_text(tensor)
                ),
                "convert it before saving",
            ));
        };
        let numbers = int.read(source, self.start_of(tensor), count, false)?;
        numbers.map(Some).ok_or_else(|| {
            refuse(
                source.path(),
                format!("a number of its tensor `{name}` is above {}", i64::MAX),
                "save smaller numbers",
            )
        })
    }
}

/// Reads the tensor `name` of floats: its shape, and its values brought to f32.
pub(super) fn read_floats(
    source: &Source,
    tensors: &Tensors,
    name: &str,
    axes: usize,
) -> Result<(Vec<usize>, Vec<f32>), EvalError> {
    let of = || format!("`{name}` is a tensor of floats (F16, BF16, F32 or F64) with {axes} axes");
    let way_out = "give a file that the command whiten wrote";
    let Some(tensor) = tensors.metadata.info(name) else {
        let problem = format!("{}, and there is none", of());
        return Err(refuse(source.path(), problem, way_out));
    };
    let float = Float::of_tensor(tensor.dtype).filter(|_| tensor.shape.len() == axes);
    let Some(float) = float else {
        let problem = format!("{}, and here it is {}", of(), type_text(tensor));
        return Err(refuse(source.path(), problem, way_out));
    };
    let filed = Filed {
        start: tensors.start_of(tensor),
        float,
        big_endian: false,
    };
    // The header agrees with the file's length, so this is no more than the file.
    let mut values = vec![0.0; tensor.shape.iter().product()];
    filed.read(source, 0, &mut values)?;
    Ok((tensor.shape.clone(), values))
}

/// Writes tensors in f32: a name, a shape and the values.
pub(super) fn write_floats(
    path: &Path,
    tensors: [(&str, Vec<usize>, &[f32]); 2],
) -> Result<(), EvalError> {
    let bytes = tensors.map(|(name, shape, values)| {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes());
        (name, shape, bytes.collect::<Vec<u8>>())
    });
    replace(path, |file| {
        let mut views = Vec::new();
        for (name, shape, bytes) in &bytes {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
            views.push((name, view.map_err(io::Error::other)?));
        }
        file.write_all(&safetensors::serialize(views, None).map_err(io::Error::other)?)
    })
}

/// Type and shape of a tensor, for messages.
fn type_text(tensor: &TensorInfo) -> String {
    format!("{} {}", tensor.dtype, shape_text(&tensor.shape))
}

pub(super) fn write_tensors(
    path: &Path,
    embeddings: Option<&Embeddings>,
    labels: Option<&[i64]>,
) -> Result<(), EvalError> {
    let embeddings = embeddings.map(|embeddings| {
        let bytes = embeddings
            .as_slice()
            .iter()
            .flat_map(|value| value.to_le_bytes());
        (
            vec![embeddings.rows(), embeddings.dim()],
            bytes.collect::<Vec<u8>>(),
        )
    });
    let labels = labels.map(|labels| {
        let bytes = labels.iter().flat_map(|label| label.to_le_bytes());
        (vec![labels.len()], bytes.collect::<Vec<u8>>())
    });
    let tensors = [
        (EMBEDDINGS.name, Dtype::F32, &embeddings),
        (LABELS.name, Dtype::I64, &labels),
    ];
    replace(path, |file| {
        let mut views = Vec::new();
        for (name, dtype, tensor) in tensors {
            if let Some((shape, bytes)) = tensor {
                let view =
                    TensorView::new(dtype, shape.clone(), bytes).map_err(io::Error::other)?;
                views.push((name, view));
            }
        }
        file.write_all(&safetensors::serialize(views, None).map_err(io::Error::other)?)
    })
}
