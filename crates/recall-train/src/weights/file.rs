//! Files that hold named tensors.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use burn::tensor::{DType, TensorData};
use burn_store::TensorSnapshot;
use burn_store::pytorch::PytorchReader;
use safetensors::{Dtype, SafeTensors};

/// A tensor of a file; its numbers are read when they are asked for.
pub(super) struct Stored {
    pub shape: Vec<usize>,
    values: Values,
}

enum Values {
    Bytes(DType, Vec<u8>),
    Lazy(Box<TensorSnapshot>),
    /// Neither floats nor anything that becomes floats.
    Other(String),
}

impl Stored {
    /// The numbers in single precision.
    pub fn read(&self) -> Result<TensorData, String> {
        let data = match &self.values {
            Values::Bytes(dtype, bytes) => {
                TensorData::from_bytes_vec(bytes.clone(), self.shape.clone(), *dtype)
            }
            Values::Lazy(snapshot) => snapshot.to_data().map_err(|error| one_line(&error))?,
            Values::Other(kind) => return Err(format!("holds {kind}, not floating-point numbers")),
        };
        Ok(data.convert::<f32>())
    }
}

/// The tensors of a `.safetensors` file or of a file that PyTorch saved, by name.
///
/// Names lose what wraps the whole model in training scripts: `state_dict`, `model`, `module`.
pub(super) fn read(path: &Path) -> Result<BTreeMap<String, Stored>, String> {
    let safe = path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("safetensors"));
    let tensors = match safe {
        true => safetensors(path)?,
        false => pytorch(path)?,
    };
    if tensors.is_empty() {
        return Err("it holds no tensors".into());
    }
    Ok(unwrap(tensors))
}

fn safetensors(path: &Path) -> Result<BTreeMap<String, Stored>, String> {
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| {
        cut_short(&bytes)
            .unwrap_or_else(|| format!("this is no file in safetensors format ({error})"))
    })?;
    let stored = file.iter().map(|(name, view)| {
        let dtype = match view.dtype() {
            Dtype::F64 => Ok(DType::F64),
            Dtype::F32 => Ok(DType::F32),
            Dtype::F16 => Ok(DType::F16),
            Dtype::BF16 => Ok(DType::BF16),
            other => Err(format!("{other:?}")),
        };
        let values = match dtype {
            Ok(dtype) => Values::Bytes(dtype, view.data().to_vec()),
            Err(kind) => Values::Other(kind),
        };
        let shape = view.shape().to_vec();
        (name.to_owned(), Stored { shape, values })
    });
    Ok(stored.collect())
}

/// The first tensor that the header promises and the file no longer holds.
fn cut_short(bytes: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Entry {
        data_offsets: [usize; 2],
    }
    let length = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    let end = usize::try_from(length).ok()?.checked_add(8)?;
    let header: BTreeMap<String, serde_json::Value> =
        serde_json::from_slice(bytes.get(8..end)?).ok()?;
    let held = bytes.len() - end;
    let lost = header
        .into_iter()
        .filter_map(|(name, entry)| Some((name, serde_json::from_value::<Entry>(entry).ok()?)))
        .filter(|(_, entry)| entry.data_offsets[1] > held)
        .min_by_key(|(_, entry)| entry.data_offsets[1])?;
    Some(format!("it is cut short within the tensor {}", lost.0))
}

fn pytorch(path: &Path) -> Result<BTreeMap<String, Stored>, String> {
    // Opened here first: the reader's own message of a missing file speaks of formats.
    fs::File::open(path).map_err(|error| error.to_string())?;
    let reader = PytorchReader::new(path)
        .map_err(|error| format!("PyTorch's file cannot be read ({})", one_line(&error)))?;
    let tensors = reader.into_tensors().into_iter().map(|(name, snapshot)| {
        let shape = snapshot.shape.to_vec();
        let values = match snapshot.dtype.is_float() {
            true => Values::Lazy(Box::new(snapshot)),
            false => Values::Other(format!("{:?}", snapshot.dtype)),
        };
        (name, Stored { shape, values })
    });
    Ok(tensors.collect())
}

/// Takes off the wrappings that all names share, one after the other.
///
/// A training script's file may hold other tensors beside its model (those of the optimiser): under
/// `state_dict` or `model`, what is not beneath it is no part of the model.
fn unwrap(mut tensors: BTreeMap<String, Stored>) -> BTreeMap<String, Stored> {
    for (wrapping, alone) in [
        ("state_dict.", false),
        ("model.", false),
        ("module.", true),
        ("_orig_mod.", true),
    ] {
        let wrapped = tensors
            .keys()
            .filter(|name| name.starts_with(wrapping))
            .count();
        if wrapped == 0 || (alone && wrapped < tensors.len()) {
            continue;
        }
        tensors = tensors
            .into_iter()
            .filter_map(|(name, stored)| Some((name.strip_prefix(wrapping)?.to_owned(), stored)))
            .collect();
    }
    tensors
}

pub(super) fn one_line(error: &impl std::fmt::Display) -> String {
    let text = error.to_string();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
