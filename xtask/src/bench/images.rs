//! Images a second from files to the pixels of a batch, beside torchvision with Pillow.
//!
//! Both read the same JPEG files, which are made up first, with as many threads here as there are
//! workers of a `DataLoader` there (`peers/images.py`). Their runs take turns, so that what else the
//! machine does falls on both.

mod case;
mod peer;
pub mod photo;
mod row;

use std::path::PathBuf;

use anyhow::Context;

pub use self::case::Case;
use self::case::Work;
use super::machine::cores;
use super::process::Measure;
use super::python::Python;
use super::table::{Others, Table};

/// The share of the machine that other programs may have before the table says so.
const DISTURBING: f64 = 0.05;

/// Options of `bench images`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Images of 500 x 375 to load; of larger ones fewer, by their area
    #[arg(long, default_value_t = 10_000)]
    count: usize,
    /// The same for torchvision
    #[arg(long, default_value_t = 3_000)]
    peer_count: usize,
    /// Runs of each, of which the best counts
    #[arg(long, default_value_t = 3)]
    repeats: usize,
    /// Threads here and workers there [default: as many as there are cores]
    #[arg(long)]
    threads: Option<usize>,
    /// Only the first case: the one that training is
    #[arg(long)]
    first: bool,
    /// A Python that has torchvision [default: $RECALL_PYTHON, then python3]
    #[arg(long)]
    python: Option<PathBuf>,
    /// Leave torchvision out
    #[arg(long)]
    no_peer: bool,
    /// Write the table to this file too
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Prints a table of all cases.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let threads = args.threads.unwrap_or_else(cores);
    let repeats = args.repeats.max(1);
    let python = Python::with(&peer::PACKAGES, args.python.as_deref(), args.no_peer);
    let mut setup = vec![format!(
        "{threads} threads here and {threads} workers there"
    )];
    setup.extend(python.as_ref().map(|python| python.version.clone()));
    let table = Table {
        columns: &row::COLUMNS,
        others: Others::OfEachRow {
            disturbing: DISTURBING,
        },
        setup,
        remark: format!(
            "Best of {repeats} runs that took turns; ratios of each turn in parentheses."
        ),
        out: args.out.as_deref(),
    };
    let folder = tempfile::tempdir().context("no folder for the images")?;
    let works = if args.first {
        &Work::ALL[..1]
    } else {
        &Work::ALL
    };
    table.print(works, |&work| {
        let files = folder.path().join(format!("{}", work.sides()[0]));
        let bytes = photo::write_all(&files, work.sides(), work.files(), threads)?;
        let case = Case {
            folder: files,
            work,
            count: work.share(args.count),
            threads,
        };
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..repeats {
            ours.push(case.measure_apart()?);
            if let Some(python) = &python {
                let count = work.share(args.peer_count);
                theirs.push(peer::measure(python, &case, count)?);
            }
        }
        Ok(row::row(work, bytes, &ours, &theirs))
    })
}
