//! Time and peak memory of the loss and its gradient.
//!
//! Beside them stand two measures of what is possible: the two matrix products that every
//! implementation has to compute, by the same backend in the same process, and a version in PyTorch
//! (`peers/loss.py`), written in three ways, on the same numbers with as many threads. PyTorch is only compared with where
//! its loss and gradient agree with ours.

mod backend;
mod case;
mod data;
mod measure;
mod peer;
mod row;

use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::ValueEnum;

pub use self::backend::BackendName;
pub use self::case::Case;
use self::data::Data;
pub(super) use self::data::unit_rows;
use self::measure::Measured;
use self::peer::{Peer, Way};
use self::row::Theirs;
pub(super) use self::row::{grouped, seconds};
use super::machine::cores;
use super::process::{Measure, printed, with_threads};
use super::python::Python;
use super::table::{Others, Table};

/// The share of the machine that other programs may have.
const DISTURBING: f64 = 0.1;

/// Options of `bench loss`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What computes our side
    #[arg(long, value_enum, default_value = "flex")]
    backend: BackendName,
    /// Sizes of the batch, multiples of the class size
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 4_000, 16_000, 65_536])]
    items: Vec<usize>,
    /// Length of an embedding [default: 512 up to 16,000 items, 128 beyond]
    #[arg(long)]
    dim: Option<usize>,
    /// Items of each class
    #[arg(long, default_value_t = 4)]
    class_size: usize,
    /// The values of k
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4, 8, 16])]
    ks: Vec<usize>,
    /// How the embeddings lie to each other [default: all of them]
    #[arg(long, value_enum, value_delimiter = ',')]
    data: Vec<Data>,
    /// Only with SiMix, all pairs of each class
    #[arg(long, conflicts_with = "no_mixup")]
    mixup: bool,
    /// Only without SiMix
    #[arg(long)]
    no_mixup: bool,
    /// Threads on both sides [default: as many as there are cores]
    #[arg(long)]
    threads: Option<usize>,
    /// Seconds of repetitions for each time; what takes longer runs once
    #[arg(long, default_value_t = 5.0)]
    budget: f64,
    /// A Python that has PyTorch [default: $RECALL_PYTHON, then python3]
    #[arg(long)]
    python: Option<PathBuf>,
    /// Leave PyTorch out
    #[arg(long)]
    no_peer: bool,
    /// Where PyTorch computes
    #[arg(long, value_parser = ["cpu", "cuda"], default_value = "cpu")]
    peer_device: String,
    /// Let PyTorch compile its comparisons
    #[arg(long)]
    peer_compile: bool,
    /// Largest batch for PyTorch
    #[arg(long, default_value_t = 16_000)]
    peer_items: usize,
    /// Largest batch for PyTorch with SiMix
    #[arg(long, default_value_t = 4_000)]
    peer_mixup_items: usize,
    /// Write the table to this file too
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Prints a table of all cases.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let cases = args.cases()?;
    let threads = args.threads.unwrap_or_else(cores);
    let python = Python::with(&peer::PACKAGES, args.python.as_deref(), args.no_peer);
    let peer = python.map(|python| Peer {
        python,
        device: &args.peer_device,
        compile: args.peer_compile,
        threads,
    });
    let mut setup = vec![args.backend.name().to_owned(), format!("{threads} threads")];
    setup.extend(peer.as_ref().map(|peer| peer.python.version.clone()));
    let table = Table {
        columns: &row::COLUMNS,
        others: Others::OfEachRow {
            disturbing: DISTURBING,
        },
        setup,
        remark: "Best of the repetitions; peak memory is that of the whole process (of the GPU for PyTorch \
                 on one)."
            .to_owned(),
        out: args.out.as_deref(),
    };
    table.print(&cases, |case| {
        let ours = printed(with_threads(&mut case.command()?, threads))
            .with_context(|| format!("{} items of {} data", case.items, case.data.name()))?;
        let theirs = Way::ALL.map(|way| match &peer {
            Some(peer) if case.items <= args.most_for_peer(case.mixup) => {
                compare(peer, way, case, &ours)
            }
            _ => Theirs::Skipped,
        });
        Ok(row::row(case, &ours, &theirs))
    })
}

fn compare(peer: &Peer<'_>, way: Way, case: &Case, ours: &Measured) -> Theirs {
    let theirs = match peer.measure(case, way) {
        Ok(theirs) => theirs,
        Err(error) => {
            eprintln!("PyTorch, {}: {error:#}", way.name());
            return Theirs::Failed;
        }
    };
    match ours.computed().check_agreement(theirs.computed()) {
        Ok(()) => Theirs::Measured(theirs),
        Err(error) => {
            eprintln!("not compared with PyTorch, {}: {error}", way.name());
            Theirs::Disagrees
        }
    }
}

impl Args {
    /// What a GPU is measured with: the batches that one is for.
    pub fn on_gpu(backend: BackendName, peer_compile: bool) -> Self {
        Self {
            backend,
            items: vec![4_000, 65_536],
            dim: None,
            class_size: 4,
            ks: vec![1, 2, 4, 8, 16],
            data: Vec::new(),
            mixup: false,
            no_mixup: false,
            threads: None,
            budget: 2.0,
            python: None,
            no_peer: false,
            peer_device: "cuda".into(),
            peer_compile,
            peer_items: 65_536,
            peer_mixup_items: 4_000,
            out: None,
        }
    }

    fn cases(&self) -> anyhow::Result<Vec<Case>> {
        ensure!(
            self.class_size >= 2,
            "--class-size {} leaves no positives",
            self.class_size
        );
        let kinds = if self.data.is_empty() {
            Data::value_variants()
        } else {
            &self.data
        };
        let mut cases = Vec::new();
        for &items in &self.items {
            ensure!(
                items > 0 && items % self.class_size == 0,
                "--items {items} is no multiple of --class-size {}",
                self.class_size
            );
            let default_dim = if items <= 16_000 { 512 } else { 128 };
            for mixup in [false, true] {
                if (mixup && self.no_mixup) || (!mixup && self.mixup) {
                    continue;
                }
                cases.extend(kinds.iter().map(|&data| Case {
                    backend: self.backend,
                    items,
                    dim: self.dim.unwrap_or(default_dim),
                    class_size: self.class_size,
                    data,
                    mixup,
                    ks: self.ks.clone(),
                    tau_k: 1.0,
                    tau_rank: 0.01,
                    budget: self.budget,
                }));
            }
        }
        Ok(cases)
    }

    fn most_for_peer(&self, mixup: bool) -> usize {
        if mixup {
            self.peer_mixup_items
        } else {
            self.peer_items
        }
    }
}
