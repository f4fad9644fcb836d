//! Time and peak memory of the losses that Recall@k is compared with, forward and backward.
//!
//! Beside each stands PyTorch (`peers/rivals.py`) on the same numbers with as many threads, in three ways: the
//! formula of its authors, the tensors that their programs lay out for it where these are larger, and the class of
//! pytorch-metric-learning where there is one. PyTorch is only compared with where its loss and the norm of its
//! gradient agree with ours. What is random, such as the triplets of the margin loss, is drawn before.

mod case;
mod inputs;
mod kind;
mod peer;
mod row;
mod work;

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::ValueEnum;

pub use self::case::Case;
use self::kind::Kind;
use self::peer::{Peer, Theirs, Way};
use self::row::Turn;
use super::machine::cores;
use super::process::{Measure, printed, with_threads};
use super::python::Python;
use super::table::{Others, Table};

/// The share of the machine that other programs may have.
const DISTURBING: f64 = 0.1;

/// Options of `bench rivals`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Losses [default: all of them]
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Kind>,
    /// Sizes of the batch, multiples of the class size
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 4_000, 16_000])]
    n: Vec<usize>,
    /// Length of an embedding
    #[arg(long, default_value_t = 512)]
    dim: usize,
    /// Items of each class; there are as many proxies as classes
    #[arg(long, default_value_t = 4)]
    class_size: usize,
    /// Threads on both sides [default: as many as there are cores]
    #[arg(long)]
    threads: Option<usize>,
    /// How often a process takes each time, within a minute
    #[arg(long, default_value_t = 3)]
    repeat: usize,
    /// How often ours and PyTorch take turns
    #[arg(long, default_value_t = 3)]
    turns: usize,
    /// A Python that has PyTorch [default: $RECALL_PYTHON, then python3]
    #[arg(long)]
    python: Option<PathBuf>,
    /// Leave PyTorch out
    #[arg(long)]
    no_peer: bool,
    /// Largest batch for PyTorch
    #[arg(long, default_value_t = 16_000)]
    peer_n: usize,
    /// Write the table to this file too
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Prints a table of all cases.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let folder = tempfile::tempdir().context("no folder for the numbers of a case")?;
    let threads = args.threads.unwrap_or_else(cores);
    let python = Python::with(&peer::PACKAGES, args.python.as_deref(), args.no_peer);
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
            "Medians of {} turns, ratios within them, the least and the most time in brackets; peak memory is what a \
             case adds to the program with its libraries.",
            args.turns.max(1)
        ),
        out: args.out.as_deref(),
    };
    table.print(args.cases(folder.path())?, |case| {
        let found = turns(args, &case, threads, peer.as_ref());
        found.with_context(|| format!("{} of {} items", case.kind.name(), case.items))
    })
}

/// Measures ours and PyTorch's by turns.
fn turns(
    args: &Args,
    case: &Case,
    threads: usize,
    peer: Option<&Peer>,
) -> anyhow::Result<Vec<String>> {
    inputs::write(case)?;
    let mut turns = Vec::<Turn<{ Way::ALL.len() }>>::new();
    for _ in 0..args.turns.max(1) {
        let ours = printed(with_threads(&mut case.command()?, threads))?;
        let theirs = std::array::from_fn(|way| {
            let before = turns.last().map(|turn| &turn.theirs[way]);
            match (peer, before) {
                // What did not come the first time will not come.
                (_, Some(before)) if !matches!(before, Theirs::Measured(_)) => before.clone(),
                (Some(peer), _) if case.items <= args.peer_n && case.kind.peer().is_some() => {
                    peer.compare(case, Way::ALL[way], &ours)
                }
                _ => Theirs::Skipped(String::new()),
            }
        });
        turns.push(Turn { ours, theirs });
    }
    // Files of one case are not those of the next.
    std::fs::remove_dir_all(&case.folder).context("the numbers of the case stay behind")?;
    Ok(row::row(case, &turns))
}

impl Args {
    fn cases(&self, folder: &Path) -> anyhow::Result<Vec<Case>> {
        ensure!(
            self.class_size >= 2,
            "--class-size {} leaves no positives",
            self.class_size
        );
        let kinds = match self.only.is_empty() {
            true => Kind::value_variants(),
            false => &self.only,
        };
        let mut cases = Vec::new();
        for &items in &self.n {
            ensure!(
                items > self.class_size && items.is_multiple_of(self.class_size),
                "--n {items} is no multiple of --class-size {}, or a single class",
                self.class_size
            );
            cases.extend(kinds.iter().map(|&kind| Case {
                kind,
                items,
                dim: self.dim,
                classes: items / self.class_size,
                folder: folder.join(format!("{}-{items}", kind.name())),
                repeat: self.repeat.max(1),
            }));
        }
        Ok(cases)
    }
}
