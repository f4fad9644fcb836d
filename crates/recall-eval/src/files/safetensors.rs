//! The format of safetensors.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::refusal::{refuse, shape_text};
use super::replace::replace;
use super::values::{Float, Int};
use crate::{Embeddings, EvalError};

/// What to look for in a `.safetensors` file.
pub(super) struct Wanted {
    name: &'static str,
    axes: usize,
    is_type: fn(Dtype) -> bool,
    /// For messages.
    description: &'static str,
}

pub(super) const EMBEDDINGS: Wanted = Wanted {
    name: "embeddings",
    axes: 2,
    is_type: |dtype| Float::of_tensor(dtype).is_some(),
    description: "floats (F16, BF16, F32 or F64) with two axes",
};

pub(super) const LABELS: Wanted = Wanted {
    name: "labels",
    axes: 1,
    is_type: |dtype| Int::of_tensor(dtype).is_some(),
    description: "integers with one axis",
};

impl Wanted {
    fn fits(&self, tensor: &TensorView<'_>) -> bool {
        tensor.shape().len() == self.axes && (self.is_type)(tensor.dtype())
    }
}

/// Finds the tensor wanted and hands it to `take`.
pub(super) fn with_tensor<T>(
    path: &Path,
    wanted: &Wanted,
    take: impl FnOnce(&TensorView<'_>) -> Result<T, EvalError>,
) -> Result<T, EvalError> {
    let bytes = fs::read(path).map_err(|source| EvalError::Io {
        path: path.into(),
        source,
    })?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| {
        refuse(
            path,
            format!("this is no complete file in .safetensors format ({error})"),
            "it is damaged or incomplete: copy or save it again",
        )
    })?;
    let Wanted {
        name, description, ..
    } = wanted;
    if let Ok(tensor) = file.tensor(name) {
        if wanted.fits(&tensor) {
            return take(&tensor);
        }
        return Err(refuse(
            path,
            format!(
                "{name} are {description}, and its tensor `{name}` is {} {}",
                tensor.dtype(),
                shape_text(tensor.shape())
            ),
            "convert it before saving",
        ));
    }
    let mut fitting: Vec<&str> = file
        .iter()
        .filter(|(_, tensor)| wanted.fits(tensor))
        .map(|(name, _)| name)
        .collect();
    fitting.sort_unstable();
    match fitting[..] {
        [only] => match file.tensor(only) {
            Ok(tensor) => take(&tensor),
            Err(error) => Err(refuse(path, error.to_string(), "save it again")),
        },
        [] => Err(refuse(
            path,
            format!("no tensor is named `{name}`, and none holds {description}"),
            format!("save them under the name `{name}`"),
        )),
        [..] => Err(refuse(
            path,
            format!(
                "no tensor is named `{name}`, and several hold {description}: {}",
                fitting.join(", ")
            ),
            format!("give the one to use the name `{name}`"),
        )),
    }
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
