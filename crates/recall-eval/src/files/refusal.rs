//! What is said of a file that cannot be used.

use std::fmt::Display;
use std::path::Path;

use crate::EvalError;

pub(super) fn refuse(path: &Path, problem: impl Display, way_out: impl Display) -> EvalError {
    EvalError::File {
        path: path.into(),
        problem: problem.to_string(),
        way_out: way_out.to_string(),
    }
}

pub(super) fn label_too_large(path: &Path) -> EvalError {
    refuse(
        path,
        format!("a label is above {}, the largest that fits", i64::MAX),
        "number the classes from 0",
    )
}

pub(super) fn shape_text(shape: &[usize]) -> String {
    let axes: Vec<String> = shape.iter().map(usize::to_string).collect();
    format!("[{}]", axes.join(", "))
}
