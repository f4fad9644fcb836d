//! The names of classes beside a file of their labels.
//!
//! Labels in files are numbers. What they stand for is in a table with the columns `label` and `name` beside
//! them: `NAME.classes.csv` of `NAME.labels.npy` and of `NAME.safetensors`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use csv::ReaderBuilder;

use crate::{DataError, names};

/// Where the names of these labels are.
pub fn class_names_path(labels: &Path) -> PathBuf {
    let stem = labels.with_extension("");
    match stem.extension().is_some_and(|ending| ending == "labels") {
        true => stem.with_extension("classes.csv"),
        false => labels.with_extension("classes.csv"),
    }
}

/// The names beside a file of labels, by label; none if there is no such table.
///
/// # Errors
///
/// A table that cannot be read, or is not one of names, each label once.
pub fn read_class_names(labels: &Path) -> Result<Option<BTreeMap<i64, String>>, DataError> {
    let path = class_names_path(labels);
    if !path.exists() {
        return Ok(None);
    }
    read(&path).map(Some).map_err(|problem| {
        let problem = format!(
            "does not name the classes of {}: {problem}; remove it, or embed again",
            labels.display()
        );
        DataError::layout(path, problem)
    })
}

fn read(path: &Path) -> Result<BTreeMap<i64, String>, String> {
    let text = |error: csv::Error| error.to_string();
    let mut table = ReaderBuilder::new().from_path(path).map_err(text)?;
    if table.headers().map_err(text)? != vec!["label", "name"] {
        return Err("the columns are not label,name".to_owned());
    }
    let mut names = BTreeMap::new();
    for (line, row) in (2..).zip(table.deserialize::<(i64, String)>()) {
        let (label, name) =
            row.map_err(|_| format!("line {line} is not a whole number and a name"))?;
        if names.insert(label, names::listed(&name)).is_some() {
            return Err(format!("the label {label} is there twice"));
        }
    }
    Ok(names)
}
