//! Peak memory and time of a two-pass step, for batches of several sizes at one chunk size.

mod case;

use anyhow::Context;

pub use self::case::Case;
use self::case::Measured;
use super::process::Measure;
use super::table::{Others, Table};

/// Options of `bench step`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Batch sizes, multiples of 4
    #[arg(long, value_delimiter = ',', default_values_t = [256, 1024, 4096])]
    batches: Vec<usize>,
    /// Images embedded with a graph at once
    #[arg(long, default_value_t = 64)]
    chunk: usize,
}

/// Prints a table of batch sizes.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let table = Table {
        columns: &[
            "batch",
            "virtual items",
            "chunk",
            "peak MB",
            "pixels, embeddings and block MB",
            "seconds",
        ],
        others: Others::Below,
        setup: vec!["flex".into()],
        remark: String::new(),
        out: None,
    };
    let chunk = args.chunk;
    let cases = args.batches.iter().map(|&rows| Case { rows, chunk });
    table.print(cases, |case| {
        let measured = case.measure_apart();
        let measured = measured.with_context(|| format!("a batch of {}", case.rows))?;
        Ok(row(&case, &measured))
    })
}

fn row(case: &Case, measured: &Measured) -> Vec<String> {
    let megabytes = |bytes: usize| format!("{:.0}", bytes as f64 / 1e6);
    vec![
        case.rows.to_string(),
        measured.virtual_items.to_string(),
        case.chunk.to_string(),
        megabytes(measured.peak_bytes),
        megabytes(measured.needed_bytes),
        format!("{:.1}", measured.seconds),
    ]
}
