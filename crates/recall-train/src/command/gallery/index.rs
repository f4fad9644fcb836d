//! Embeddings to search in, with the names of their images.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::ensure;
use recall_data::class_names_path;
use recall_eval::read_labels;
use safetensors::SafeTensors;

use crate::RunError;
use crate::command::common::holds_labels;
use crate::command::origin::Origin;
use crate::command::terminal::Terminal;

/// What `embed` wrote.
pub(super) struct Index {
    /// Embeddings and names.
    pub searched: crate::Index,
    /// The class of each row, where they are known.
    pub labels: Option<Vec<i64>>,
    /// What it is made of, where that is known.
    pub origin: Option<Origin>,
}

impl Index {
    /// What may be read for the index at `path`.
    pub fn files(path: &Path) -> [PathBuf; 5] {
        [
            path.to_owned(),
            path.with_extension("txt"),
            path.with_extension("labels.npy"),
            class_names_path(path),
            Origin::path_beside(path),
        ]
    }

    /// Reads `NAME.npy` or `NAME.safetensors` and what lies beside it: `NAME.txt`, and `NAME.labels.npy`
    /// if it is there and the labels are not in the file itself.
    ///
    /// # Errors
    ///
    /// Files that are not there, cannot be read or do not fit together.
    pub fn open(path: &Path, terminal: &mut Terminal) -> anyhow::Result<Self> {
        let searched = crate::Index::open(path)?;
        if searched.is_rescaled() {
            terminal.say(&format!(
                "the rows of {} are brought to length 1",
                path.display()
            ));
        }
        let (rows, dim) = (searched.embeddings().rows(), searched.embeddings().dim());
        let origin = Origin::beside(path, [rows, dim])?;
        let labels = labels(path)?;
        if let Some(labels) = &labels {
            ensure!(
                labels.len() == rows,
                "there are {} labels for the {rows} rows of {}: each row needs one",
                labels.len(),
                path.display()
            );
        }
        Ok(Self {
            searched,
            labels,
            origin,
        })
    }
}

fn labels(path: &Path) -> anyhow::Result<Option<Vec<i64>>> {
    if holds_labels(path) {
        let bytes = fs::read(path).map_err(RunError::file("read", path))?;
        // Embeddings were read from it, so it is sound.
        if SafeTensors::deserialize(&bytes).is_ok_and(|file| file.tensor("labels").is_ok()) {
            return Ok(Some(read_labels(path)?));
        }
    }
    let beside = path.with_extension("labels.npy");
    match beside.exists() {
        true => Ok(Some(read_labels(beside)?)),
        false => Ok(None),
    }
}
