//! Time and memory of an exact evaluation, beside faiss.
//!
//! Both judge the same embeddings with the same number of threads. faiss finds the nearest 1,001 of
//! each item, and the metrics are taken from these (`peers/eval.py`); here the ranks of all positives
//! are counted. The runs take turns.

mod case;
mod peer;

use std::path::PathBuf;

use anyhow::{Context, ensure};

pub use self::case::Case;
use self::case::Measured;
use self::peer::PeerMeasured;
use super::machine::cores;
use super::process::Measure;
use super::python::Python;
use super::table::{Others, Table};

/// Options of `bench eval`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Runs of the first case, here and there, of which the best counts
    #[arg(long, default_value_t = 3)]
    repeats: usize,
    /// Threads [default: as many as there are cores]
    #[arg(long)]
    threads: Option<usize>,
    /// Only the first case, the size of Stanford Online Products' test split
    #[arg(long)]
    first: bool,
    /// A Python that has faiss and numpy [default: $RECALL_PYTHON, then python3]
    #[arg(long)]
    python: Option<PathBuf>,
    /// Leave faiss out
    #[arg(long)]
    no_peer: bool,
}

/// Items, and items of a class. The first goes to faiss, too.
const SIZES: [[usize; 2]; 6] = [
    [60_502, 5],
    [136_093, 55],
    [20_000, 5],
    [20_000, 50],
    [20_000, 200],
    [20_000, 1_000],
];

const DIM: usize = 512;

/// How far two exact programs may differ: in the order of items that are equal but for rounding.
const TOLERANCE: f64 = 1e-4;

/// The columns of the table.
const COLUMNS: [&str; 8] = [
    "items",
    "class",
    "seconds",
    "of products",
    "peak MB",
    "faiss, search",
    "faiss, all",
    "ratio",
];

/// Prints a table of all cases.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let threads = args.threads.unwrap_or_else(cores);
    let repeats = args.repeats.max(1);
    let python = Python::with(&peer::PACKAGES, args.python.as_deref(), args.no_peer);
    let mut setup = vec![format!("{threads} threads")];
    setup.extend(python.as_ref().map(|python| python.version.clone()));
    let table = Table {
        columns: &COLUMNS,
        others: Others::Below,
        setup,
        remark: format!(
            "Best of {repeats} runs of the first case, one of the others; \"of products\": how many times as \
             long as the matrix product alone at the best rate of it that was seen."
        ),
        out: None,
    };
    let folder = tempfile::tempdir().context("no folder for the embeddings")?;
    let sizes = if args.first { &SIZES[..1] } else { &SIZES };
    table.print(sizes.iter().enumerate(), |(number, &[items, class])| {
        let first = number == 0;
        let case = Case::write(folder.path(), items, DIM, class, threads)?;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..if first { repeats } else { 1 } {
            ours.push(case.measure_apart()?);
            if let Some(python) = python.as_ref().filter(|_| first) {
                theirs.push(peer::measure(python, &case)?);
            }
        }
        agree(&ours, &theirs)?;
        Ok(row(&case, &ours, &theirs))
    })
}

/// Whether both found the same.
fn agree(ours: &[Measured], theirs: &[PeerMeasured]) -> anyhow::Result<()> {
    for (ours, theirs) in ours.iter().zip(theirs) {
        for (metric, &theirs) in &theirs.values {
            let ours = *ours.values.get(metric).context("a metric is missing")?;
            ensure!(
                (ours - theirs).abs() <= TOLERANCE,
                "{metric} is {ours} here and {theirs} there"
            );
        }
    }
    Ok(())
}

fn row(case: &Case, ours: &[Measured], theirs: &[PeerMeasured]) -> Vec<String> {
    let best = |values: &mut dyn Iterator<Item = f64>| values.fold(f64::INFINITY, f64::min);
    let seconds = best(&mut ours.iter().map(|one| one.seconds));
    let product = best(&mut ours.iter().map(|one| one.product_seconds));
    let peak = ours.iter().map(|one| one.peak_bytes).max().unwrap_or(0);
    let [search, all, ratio] = if theirs.is_empty() {
        ["–", "–", "–"].map(String::from)
    } else {
        let search = best(&mut theirs.iter().map(|one| one.search_seconds));
        let all = best(
            &mut theirs
                .iter()
                .map(|one| one.search_seconds + one.metric_seconds),
        );
        [
            format!("{search:.1}"),
            format!("{all:.1}"),
            format!(
                "**{:.2} ×** ({:.2} × the search)",
                all / seconds,
                search / seconds
            ),
        ]
    };
    vec![
        format!("{} × {}", case.items, case.dim),
        case.class.to_string(),
        format!("{seconds:.1}"),
        format!("{:.2}", seconds / product),
        format!("{:.0}", peak as f64 / 1e6),
        search,
        all,
        ratio,
    ]
}
