//! Images a second through the models, forward and in a two-pass step, beside PyTorch.
//!
//! The same networks on the same number of threads, with random weights: neither time nor memory
//! depends on their values. Each case is a process of its own, here and there.

mod case;
mod peer;

use std::path::PathBuf;

use anyhow::Context;

pub use self::case::Case;
use self::case::Measured;
use super::machine::cores;
use super::process::Measure;
use super::python::Python;
use super::table::{Others, Table};

/// Options of `bench models`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these networks, as `model.backbone` names them
    #[arg(long, value_delimiter = ',', default_values_t = ["convnet", "resnet50", "vit-b32"].map(String::from))]
    backbones: Vec<String>,
    /// Batch sizes of the step: memory should not grow with them
    #[arg(long, value_delimiter = ',', default_values_t = [64, 128])]
    batches: Vec<usize>,
    /// Images embedded with a graph at once
    #[arg(long, default_value_t = 8)]
    chunk: usize,
    /// Threads of PyTorch [default: as many as there are cores, which is what ours take]
    #[arg(long)]
    threads: Option<usize>,
    /// A Python that has torch, torchvision and timm [default: $RECALL_PYTHON, then python3]
    #[arg(long)]
    python: Option<PathBuf>,
    /// Leave PyTorch out
    #[arg(long)]
    no_peer: bool,
}

/// The columns of the table.
const COLUMNS: [&str; 12] = [
    "model",
    "image",
    "batch",
    "chunk",
    "forward, images/s",
    "PyTorch",
    "ratio",
    "step, images/s",
    "PyTorch",
    "ratio",
    "peak MB",
    "PyTorch",
];

/// Prints a table of all cases.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let threads = args.threads.unwrap_or_else(cores);
    let python = Python::with(&peer::PACKAGES, args.python.as_deref(), args.no_peer);
    let mut setup = vec!["flex".into(), "f32".into(), format!("{threads} threads")];
    setup.extend(python.as_ref().map(|python| python.version.clone()));
    let table = Table {
        columns: &COLUMNS,
        others: Others::Below,
        setup,
        remark: String::new(),
        out: None,
    };
    let cases = args.backbones.iter().flat_map(|backbone| {
        args.batches.iter().map(move |&batch| Case {
            backbone: backbone.clone(),
            // The default embedder is made for the emoji.
            side: if backbone == "convnet" { 32 } else { 224 },
            batch,
            chunk: args.chunk,
            threads,
        })
    });
    table.print(cases, |case| {
        let ours = case.measure_apart();
        let ours = ours.with_context(|| case.backbone.clone())?;
        let theirs = python.as_ref().map(|python| peer::measure(python, &case));
        Ok(row(&case, &ours, theirs.transpose()?.as_ref()))
    })
}

fn row(case: &Case, ours: &Measured, theirs: Option<&Measured>) -> Vec<String> {
    let rate = |seconds: f64| format!("{:.1}", case.batch as f64 / seconds);
    let rates = |seconds: fn(&Measured) -> f64| {
        let of_theirs = theirs.map(|theirs| {
            let ratio = seconds(theirs) / seconds(ours);
            [rate(seconds(theirs)), format!("{ratio:.2}")]
        });
        let [theirs, ratio] = of_theirs.unwrap_or_else(|| ["–", "–"].map(String::from));
        [rate(seconds(ours)), theirs, ratio]
    };
    let peak = |measured: &Measured| format!("{:.0}", measured.peak_bytes as f64 / 1e6);
    let mut cells = vec![
        case.backbone.clone(),
        case.side.to_string(),
        case.batch.to_string(),
        case.chunk.to_string(),
    ];
    cells.extend(rates(|measured| measured.forward_seconds));
    cells.extend(rates(|measured| measured.step_seconds));
    cells.push(peak(ours));
    cells.push(theirs.map_or_else(|| "–".into(), peak));
    cells
}
