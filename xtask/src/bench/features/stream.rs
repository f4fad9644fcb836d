//! An index of millions of rows that memory need not hold: embedded by a head, and searched.

use std::path::{Path, PathBuf};

use anyhow::Context;
use recall_eval::{Embeddings, EmbeddingsWriter, Precision, save_labels};

use super::data::Rows;
use super::part::Part;
use super::row::seconds;
use crate::bench::process::Measure;
use crate::bench::table::{Others, Table};

/// Numbers of a row.
const DIM: usize = 256;

/// Rows of a class in the index.
const CLASS_SIZE: usize = 4;

/// Rows that search in it, of classes that are in it.
const QUERIES: usize = 1_000;

/// Rows that the head is trained on for a step.
const TRAINED: usize = 4_096;

/// Rows that are made and written at once.
const BLOCK: usize = 16_384;

/// The columns of the table.
const COLUMNS: [&str; 5] = ["part", "rows", "seconds", "rows a second", "peak MB"];

/// Makes the files, and prints a table of what embedding and searching them takes.
pub fn run(rows: usize, folder: Option<&Path>) -> anyhow::Result<()> {
    let folder = match folder {
        Some(folder) => {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;
            tempfile::tempdir_in(folder)
        }
        None => tempfile::tempdir(),
    };
    let folder = folder.context("no folder for the rows")?;
    let path = |name: &str| folder.path().join(name);
    let text = |name: &str| path(name).display().to_string();

    let classes = rows.div_ceil(CLASS_SIZE);
    let of_index = Rows { classes, dim: DIM };
    write(&path("rows.npy"), of_index, 0, rows)?;
    write(&path("queries.npy"), of_index, rows, QUERIES)?;
    let of_training = Rows {
        classes: TRAINED / CLASS_SIZE,
        dim: DIM,
    };
    write(&path("trained.npy"), of_training, 0, TRAINED)?;
    let data = format!("embeddings:{}", text("trained.npy"));
    let quiet = ["--backend", "flex", "--quiet"];
    let part = |arguments: &[&str]| Part::new(&[arguments, &quiet].concat()).measure_apart();
    let run = text("run");
    part(&["train", "--data", &data, "--out", &run, "--set", "epochs=1"])?;

    let table = Table {
        columns: &COLUMNS,
        others: Others::Below,
        setup: vec!["flex".into()],
        remark: format!(
            "{rows} rows of {DIM} numbers in f16, embedded as 128 in f16, in which {QUERIES} queries search. Each part \
             is a process of its own: seconds from its first line to its last, peak memory that of the whole process."
        ),
        out: None,
    };
    let embed = |from: &str, to: &str| {
        let (from, to) = (text(from), text(to));
        let arguments = ["--features", &from, "--output", &to, "--precision", "f16"];
        part(&[&["embed", "--checkpoint", &run][..], &arguments].concat())
    };
    let parts = ["embed the index", "embed the queries", "eval"];
    table.print(parts, |name| {
        let (count, measured) = match name {
            "embed the index" => (rows, embed("rows.npy", "index.npy")?),
            "embed the queries" => (QUERIES, embed("queries.npy", "found.npy")?),
            _ => {
                let [index, labels] = ["index.npy", "rows.labels.npy"].map(text);
                let [queries, of_queries] = ["found.npy", "queries.labels.npy"].map(text);
                let index = ["eval", "--embeddings", &index, "--labels", &labels];
                let queries = [
                    "--query-embeddings",
                    &queries,
                    "--query-labels",
                    &of_queries,
                ];
                (rows, part(&[&index[..], &queries].concat())?)
            }
        };
        Ok(vec![
            name.into(),
            count.to_string(),
            seconds(measured.seconds),
            format!("{:.0}", count as f64 / measured.seconds),
            format!("{:.0}", measured.peak_bytes as f64 / 1e6),
        ])
    })
}

/// Writes rows in half precision, a block at a time, and their labels beside.
fn write(path: &Path, of: Rows, first: usize, count: usize) -> anyhow::Result<()> {
    let mut writer = EmbeddingsWriter::create_in(path, Precision::F16)?;
    let end = first + count;
    for start in (first..end).step_by(BLOCK) {
        let values = of.values(start..end.min(start + BLOCK));
        writer.push(&Embeddings::new(values, of.dim)?)?;
    }
    writer.finish(None)?;
    let labels: PathBuf = path.with_extension("labels.npy");
    save_labels(&labels, &of.labels(first..end))?;
    Ok(())
}
