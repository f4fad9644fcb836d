//! Rows of features that a program has already, with what is known of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use recall_eval::{EmbeddingsFile, read_labels};

use super::csv::{classes, doubtful, folder_of, of_features};
use crate::dataset::Note;
use crate::{
    DataError, Dataset, ImageSource, Item, Role, Split, names, read_class_names, split_by_name,
};

/// The tensor that says which rows are trained on, beside those of features and labels.
const TRAIN: &str = "train";
/// The tensor of labels.
const LABELS: &str = "labels";

/// What is known of a row.
struct Known {
    name: Option<String>,
    picture: ImageSource,
    label: String,
    split: Option<Split>,
    role: Role,
}

impl Known {
    fn labelled(label: String) -> Self {
        Self {
            name: None,
            picture: ImageSource::Unknown,
            label,
            split: None,
            role: Role::Both,
        }
    }
}

/// Reads what is known of the rows of `file`, not the rows. Without `labels` these are looked for in it and
/// beside it.
pub(crate) fn read(file: &Path, labels: Option<&Path>) -> Result<Dataset, DataError> {
    let rows = Arc::new(EmbeddingsFile::open(file)?);
    let name = file.file_stem().map_or_else(String::new, names::escape_os);
    let names = names_beside(file, rows.rows())?;
    let shown = |row: usize| match &names {
        Some(names) => names[row].clone(),
        None => format!("row {row}"),
    };
    let found = match (labels, rows.integers(LABELS)?) {
        (Some(path), _) => Some((known(path)?, path.to_owned())),
        (None, Some(labels)) => {
            let classes = read_class_names(file)?.unwrap_or_default();
            Some((by_number(&labels, &classes), file.to_owned()))
        }
        (None, None) => match beside(file) {
            Some(path) => Some((known(&path)?, path)),
            None => None,
        },
    };
    let Some((mut known, of)) = found else {
        let items = (0..rows.rows()).map(|row| (shown(row), ImageSource::Unknown));
        return Dataset::unlabelled(name, items)?.with_features(rows);
    };
    if known.len() != rows.rows() {
        let problem = format!(
            "has labels for {} rows, and {} has {}: each row needs one",
            known.len(),
            file.display(),
            rows.rows()
        );
        return Err(DataError::layout(&of, problem));
    }
    if let Some(train) = rows.integers(TRAIN)? {
        split_by_tensor(file, &train, &mut known)?;
    }
    let (class_names, of_rows) = classes(&of, known.iter().map(|row| row.label.as_str()))?;
    let halves = split_by_name(&class_names);
    let items = known.into_iter().zip(of_rows).enumerate();
    let items = items.map(|(row, (known, class))| Item {
        role: known.role,
        ..Item::new(
            known.name.unwrap_or_else(|| shown(row)),
            known.picture,
            class,
            known.split.unwrap_or(halves[class as usize]),
        )
    });
    let notes: Vec<Note> = doubtful(&class_names);
    Dataset::from_items(name, items.collect(), class_names)?
        .with_notes(notes)
        .with_features(rows)
}

/// The labels beside a file of features: `NAME.labels.npy`, as `embed` writes them.
fn beside(file: &Path) -> Option<PathBuf> {
    let path = file.with_extension("labels.npy");
    path.is_file().then_some(path)
}

/// What a file of labels, or a table, says of each row.
fn known(path: &Path) -> Result<Vec<Known>, DataError> {
    let is_table = path
        .extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
    if !is_table {
        return Ok(by_number(
            &read_labels(path)?,
            &read_class_names(path)?.unwrap_or_default(),
        ));
    }
    let folder = folder_of(path);
    let rows = of_features(path)?.into_iter().map(|row| Known {
        name: row.path.as_deref().map(names::escape),
        picture: row.path.map_or(ImageSource::Unknown, |path| {
            ImageSource::File(folder.join(path))
        }),
        label: names::escape(&row.label),
        split: row.split,
        role: row.role,
    });
    Ok(rows.collect())
}

fn by_number(labels: &[i64], names: &BTreeMap<i64, String>) -> Vec<Known> {
    let name = |label: &i64| {
        names
            .get(label)
            .cloned()
            .unwrap_or_else(|| label.to_string())
    };
    labels
        .iter()
        .map(|label| Known::labelled(name(label)))
        .collect()
}

/// Takes the splits from a tensor: 1 trains, 0 tests.
fn split_by_tensor(file: &Path, train: &[i64], known: &mut [Known]) -> Result<(), DataError> {
    if train.len() != known.len() {
        let problem = format!(
            "has {} rows and {} values in its tensor `{TRAIN}`: each row needs one",
            known.len(),
            train.len()
        );
        return Err(DataError::layout(file, problem));
    }
    for (row, (known, &train)) in known.iter_mut().zip(train).enumerate() {
        let split = match train {
            1 => Split::Train,
            0 => Split::Test,
            other => {
                let problem = format!(
                    "has {other} at row {row} of its tensor `{TRAIN}`: 1 trains and 0 tests"
                );
                return Err(DataError::layout(file, problem));
            }
        };
        known.split.get_or_insert(split);
    }
    Ok(())
}

/// The names of the rows, which `embed` writes to `NAME.txt`: a line each. Another text of that name is none
/// of ours.
fn names_beside(file: &Path, rows: usize) -> Result<Option<Vec<String>>, DataError> {
    let path = file.with_extension("txt");
    if !path.is_file() {
        return Ok(None);
    }
    let bytes = fs::read(&path).map_err(|error| DataError::io(&path, error))?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<String> = text.lines().map(names::listed).collect();
    Ok((lines.len() == rows).then_some(lines))
}
