//! Batches of rows that are read from a file of features.

use rayon::prelude::*;
use recall_eval::EmbeddingsFile;

use super::{Batch, BatchInputs, CorruptPolicy, Inner, KeptFeatures, Skipped};
use crate::{DataError, ItemId};

/// Rows that a thread reads at a time.
const ROWS: usize = 512;

impl Inner {
    /// Features that a backbone gave.
    pub(super) fn load_kept(
        &self,
        KeptFeatures { rows, ids: of }: &KeptFeatures,
        ids: Vec<ItemId>,
    ) -> Result<Batch, DataError> {
        let place = |id: &ItemId| {
            of.binary_search(id).map_err(|_| DataError::Loader {
                problem: format!("no features of the item {id} were kept"),
            })
        };
        let places: Vec<usize> = ids.iter().map(place).collect::<Result<_, _>>()?;
        let values = self.read_rows(rows, &places)?;
        Ok(self.batch(ids, values, rows.dim(), Vec::new()))
    }

    /// Features that the items of the data set are.
    pub(super) fn load_given(
        &self,
        features: &EmbeddingsFile,
        mut ids: Vec<ItemId>,
    ) -> Result<Batch, DataError> {
        let dim = features.dim();
        let mut values = self.read_rows(features, &ids)?;
        let (mut kept, mut skipped) = (0, Vec::new());
        for place in 0..ids.len() {
            let Some(problem) = row_problem(&values[place * dim..][..dim]) else {
                if kept < place {
                    values.copy_within(place * dim..(place + 1) * dim, kept * dim);
                    ids[kept] = ids[place];
                }
                kept += 1;
                continue;
            };
            let error = DataError::Row {
                path: features.path().to_owned(),
                row: ids[place],
                problem,
            };
            if self.corrupt == CorruptPolicy::Error {
                return Err(error);
            }
            skipped.push(Skipped {
                id: ids[place],
                problem: error.to_string(),
            });
        }
        ids.truncate(kept);
        values.truncate(kept * dim);
        Ok(self.batch(ids, values, dim, skipped))
    }

    fn read_rows(&self, file: &EmbeddingsFile, rows: &[usize]) -> Result<Vec<f32>, DataError> {
        let dim = file.dim();
        let mut values = vec![0.0; rows.len() * dim];
        self.pool.install(|| {
            rows.par_chunks(ROWS)
                .zip(values.par_chunks_mut(ROWS * dim))
                .try_for_each(|(rows, values)| read(file, rows, values))
        })?;
        Ok(values)
    }

    fn batch(
        &self,
        ids: Vec<ItemId>,
        values: Vec<f32>,
        dim: usize,
        skipped: Vec<Skipped>,
    ) -> Batch {
        Batch {
            labels: self.dataset.labels(&ids),
            ids,
            inputs: BatchInputs::Features { values, dim },
            skipped,
        }
    }
}

/// Reads the rows `ids`, those that lie together at once.
fn read(features: &EmbeddingsFile, ids: &[ItemId], values: &mut [f32]) -> Result<(), DataError> {
    let dim = features.dim();
    let mut start = 0;
    while start < ids.len() {
        let run = ids[start..]
            .windows(2)
            .take_while(|pair| pair[1] == pair[0] + 1);
        let end = start + 1 + run.count();
        let rows = ids[start]..ids[start] + (end - start);
        features.read(rows, &mut values[start * dim..end * dim])?;
        start = end;
    }
    Ok(())
}

/// What makes a row of features useless, if anything: a number that is not finite, or zeros alone.
/// `row 3 of FILE` goes before it.
pub fn row_problem(row: &[f32]) -> Option<String> {
    if let Some(column) = row.iter().position(|value| !value.is_finite()) {
        return Some(format!("has {} in column {column}", row[column]));
    }
    let zero = row.iter().all(|&value| value == 0.0);
    zero.then(|| "is all zeros and has no direction".to_owned())
}
