//! Images a second through the models, forward and in a whole step of the trainer, beside PyTorch.
//!
//! The same networks on the same number of threads, with random weights: neither time nor memory
//! depends on their values. Each measurement is a process of its own, ours and PyTorch's by turns, and
//! what is printed is the median of several.

mod case;
mod peer;
mod work;

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
    /// Images embedded with a graph at once
    #[arg(long, value_delimiter = ',', default_values_t = [8, 64, 256])]
    chunks: Vec<usize>,
    /// Chunks of a batch
    #[arg(long, default_value_t = 2)]
    batch_chunks: usize,
    /// How often each is measured, by turns
    #[arg(long, default_value_t = 5)]
    repeats: usize,
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
    setup.push(format!("medians of {} turns", args.repeats));
    let table = Table {
        columns: &COLUMNS,
        others: Others::Below,
        setup,
        remark: "Ratios: the median of the turns, their range in brackets. In the brackets after images a \
                 second: multiplications with an addition a second, as a share of what a product of \
                 1024 × 1024 matrices reached. A step is two passes, loss and optimiser."
            .into(),
        out: None,
    };
    let cases = args.backbones.iter().flat_map(|backbone| {
        args.chunks.iter().map(move |&chunk| Case {
            backbone: backbone.clone(),
            // The default embedder is made for the emoji.
            side: if backbone == "convnet" { 32 } else { 224 },
            batch: chunk * args.batch_chunks.max(1),
            chunk,
            threads,
        })
    });
    table.print(cases, |case| {
        let mut turns = Vec::new();
        for _ in 0..args.repeats.max(1) {
            let ours = case.measure_apart();
            let ours = ours.with_context(|| case.backbone.clone())?;
            let theirs = python.as_ref().map(|python| peer::measure(python, &case));
            turns.push((ours, theirs.transpose()?));
        }
        Ok(row(&case, &turns))
    })
}

/// Ours and PyTorch's.
type Turn = (Measured, Option<Measured>);

fn row(case: &Case, turns: &[Turn]) -> Vec<String> {
    let of_ours = |value: &dyn Fn(&Measured) -> f64| {
        median(turns.iter().map(|(ours, _)| value(ours)).collect())
    };
    let of_theirs = |value: &dyn Fn(&Measured) -> f64| -> Option<f64> {
        let values: Option<Vec<f64>> = turns
            .iter()
            .map(|(_, theirs)| theirs.as_ref().map(value))
            .collect();
        values.map(median)
    };
    let rates = |seconds: fn(&Measured) -> f64, products: Option<f64>| {
        let rate = |measured: &Measured| case.batch as f64 / seconds(measured);
        let share =
            products.map(|products| of_ours(&|ours| products / seconds(ours) / ours.product_rate));
        let share = share.map_or_else(String::new, |share| format!(" ({:.0} %)", 100.0 * share));
        let ratios: Option<Vec<f64>> = turns
            .iter()
            .map(|(ours, theirs)| Some(seconds(theirs.as_ref()?) / seconds(ours)))
            .collect();
        [
            format!("{:.1}{share}", of_ours(&rate)),
            of_theirs(&rate).map_or_else(|| "–".into(), |rate| format!("{rate:.1}")),
            ratios.map_or_else(|| "–".into(), with_range),
        ]
    };
    let megabytes = |bytes: f64| format!("{:.0}", bytes / 1e6);
    let peak = |measured: &Measured| measured.peak_bytes as f64;
    let mut cells = vec![
        case.backbone.clone(),
        case.side.to_string(),
        case.batch.to_string(),
        case.chunk.to_string(),
    ];
    let forward = case.products_forward();
    let forward = forward.map(|products| products * case.batch as f64);
    cells.extend(rates(|measured| measured.forward_seconds, forward));
    cells.extend(rates(
        |measured| measured.step_seconds,
        case.products_of_step(),
    ));
    cells.push(megabytes(of_ours(&peak)));
    cells.push(of_theirs(&peak).map_or_else(|| "–".into(), megabytes));
    cells
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() % 2 {
        0 => (values[half - 1] + values[half]) / 2.0,
        _ => values[half],
    }
}

fn with_range(ratios: Vec<f64>) -> String {
    let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let most = ratios.iter().copied().fold(0.0, f64::max);
    format!("{:.2} [{least:.2}, {most:.2}]", median(ratios))
}
