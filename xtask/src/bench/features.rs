//! Training a head on rows of features, the whole set as one batch, and what an index of millions needs.
//!
//! A step through the [`Engine`](recall_train::Engine) stands beside what it cannot do without, taken in the
//! same process by turns: the loss, and the head's own three matrix products. PyTorch (`peers/features.py`) takes
//! the same step on the same numbers from the same weights, with the fastest losses of `peers/loss.py`, and is only
//! compared with where its loss and gradient agree with ours.

mod case;
mod data;
mod head;
mod part;
mod peer;
mod row;
mod stream;

use std::path::PathBuf;

use anyhow::{Context, ensure};

pub use self::case::Case;
pub use self::part::Part;
use self::peer::{Peer, Theirs, Way};

use super::machine::cores;
use super::process::{Measure, printed, with_threads};
use super::python::Python;
use super::table::{Others, Table};

/// The share of the machine that other programs may have.
const DISTURBING: f64 = 0.1;

/// Options of `bench features`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Rows of features, multiples of the class size
    #[arg(long, value_delimiter = ',', default_values_t = [8_192, 16_384, 65_536])]
    rows: Vec<usize>,
    /// Numbers of a row
    #[arg(long, default_value_t = 512)]
    dim: usize,
    /// Numbers of an embedding
    #[arg(long, default_value_t = 128)]
    out_dim: usize,
    /// Rows of each class
    #[arg(long, default_value_t = 4)]
    class_size: usize,
    /// Rows that have a graph at a time
    #[arg(long, default_value_t = 4_096)]
    chunk: usize,
    /// Share of a row's numbers that are dropped; above 0 PyTorch drops others and is left out
    #[arg(long, default_value_t = 0.0)]
    dropout: f64,
    /// How often each time is taken
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// Threads on both sides [default: as many as there are cores]
    #[arg(long)]
    threads: Option<usize>,
    /// Most rows for PyTorch
    #[arg(long, default_value_t = 16_384)]
    peer_rows: usize,
    /// A Python that has torch and safetensors [default: $RECALL_PYTHON, then python3]
    #[arg(long)]
    python: Option<PathBuf>,
    /// Leave PyTorch out
    #[arg(long)]
    no_peer: bool,
    /// Instead: embed and search an index that memory need not hold
    #[arg(long, conflicts_with = "check_head")]
    stream: bool,
    /// Rows of that index
    #[arg(long, default_value_t = 5_000_000, requires = "stream")]
    stream_rows: usize,
    /// Where its files go, four gigabytes of them [default: a temporary folder]
    #[arg(long, requires = "stream")]
    folder: Option<PathBuf>,
    /// Instead: whether the lines of docs/features.md and docs/models.md embed with a head as we do
    #[arg(long)]
    check_head: bool,
}

/// Prints a table of all cases, or does one of the other parts.
pub fn run(args: &Args) -> anyhow::Result<()> {
    if args.check_head {
        return head::check(args.python.as_deref());
    }
    if args.stream {
        return stream::run(args.stream_rows, args.folder.as_deref());
    }
    let threads = args.threads.unwrap_or_else(cores);
    let unwanted = args.no_peer || args.dropout > 0.0;
    let python = Python::with(&peer::PACKAGES, args.python.as_deref(), unwanted);
    let peer = python.map(|python| Peer { python, threads });
    let mut setup = vec!["flex".to_owned(), format!("{threads} threads")];
    setup.extend(peer.as_ref().map(|peer| peer.python.version.clone()));
    let table = Table {
        columns: &row::COLUMNS,
        others: Others::OfEachRow {
            disturbing: DISTURBING,
        },
        setup,
        remark: format!(
            "Medians of {} turns, in each of which a step, the loss alone and the products alone were timed; peak \
             memory is that of the whole process after two steps.",
            args.repeats.max(1)
        ),
        out: None,
    };
    table.print(args.cases()?, |case| {
        let ours = printed(with_threads(&mut case.command()?, threads))
            .with_context(|| format!("{} rows", case.rows))?;
        let theirs = Way::ALL.map(|way| match &peer {
            Some(peer) if case.rows <= args.peer_rows => peer.compare(&case, way, &ours),
            _ => Theirs::Skipped,
        });
        Ok(row::row(&case, &ours, &theirs))
    })
}

impl Args {
    fn cases(&self) -> anyhow::Result<Vec<Case>> {
        ensure!(
            self.class_size >= 2,
            "--class-size {} leaves no positives",
            self.class_size
        );
        let case = |&rows: &usize| {
            ensure!(
                rows > 0 && rows % self.class_size == 0,
                "--rows {rows} is no multiple of --class-size {}",
                self.class_size
            );
            Ok(Case {
                rows,
                dim: self.dim,
                out_dim: self.out_dim,
                class_size: self.class_size,
                chunk: self.chunk,
                dropout: self.dropout,
                repeats: self.repeats.max(1),
            })
        };
        self.rows.iter().map(case).collect()
    }
}
