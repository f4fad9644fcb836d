//! A mean and a projection, in one `.safetensors` file.

use std::path::Path;

use super::format::Format;
use super::refusal::refuse;
use super::safetensors::{Tensors, read_floats, write_floats};
use super::source::Source;
use crate::{Embeddings, EvalError};

/// The names of the tensors.
const NAMES: [&str; 2] = ["mean", "projection"];

/// Reads the mean, and the values of the projection with their number in a row.
pub(crate) fn read_projection(path: &Path) -> Result<(Vec<f32>, Vec<f32>, usize), EvalError> {
    check_extension(path)?;
    let source = Source::open(path)?;
    let tensors = Tensors::open(&source)?;
    let (_, mean) = read_floats(&source, &tensors, NAMES[0], 1)?;
    let (shape, projection) = read_floats(&source, &tensors, NAMES[1], 2)?;
    Ok((mean, projection, shape[1]))
}

/// Writes both in f32.
pub(crate) fn write_projection(
    path: &Path,
    mean: &[f32],
    projection: &Embeddings,
) -> Result<(), EvalError> {
    check_extension(path)?;
    let shape = vec![projection.rows(), projection.dim()];
    let tensors = [
        (NAMES[0], vec![mean.len()], mean),
        (NAMES[1], shape, projection.as_slice()),
    ];
    write_floats(path, tensors)
}

fn check_extension(path: &Path) -> Result<(), EvalError> {
    match Format::of(path, "a mean and a projection")? {
        Format::SafeTensors => Ok(()),
        Format::Npy => Err(refuse(
            path,
            "an .npy file holds one array, not a mean and a projection",
            "use a .safetensors file",
        )),
    }
}
