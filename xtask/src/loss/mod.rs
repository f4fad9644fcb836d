//! Time and peak memory of the loss and its gradient.
//!
//! Beside them stand two measures of what is possible: the two matrix products that every
//! implementation has to compute, by the same backend in the same process, and a version in PyTorch
//! (`peers/loss.py`), written in three ways, on the same numbers with as many threads. PyTorch is only compared with where
//! its loss and gradient agree with ours.

mod backend;
mod case;
mod child;
mod data;
mod peer;
mod table;

use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::ValueEnum;

pub use self::backend::BackendName;
use self::case::{Case, Measured};
use self::data::Data;
use self::peer::{Peer, Way};
use self::table::Theirs;
use crate::machine::{ProcessorTime, cores, processor, today};

/// The share of the machine that other programs may have. With threads that wait for each other, a
/// core that is shared with another program can cost tens of times its share.
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

/// The one case of a child process.
#[derive(Debug, clap::Args)]
pub struct CaseArgs {
    /// As JSON
    case: String,
}

/// Measures one case and prints it.
pub fn run_case(args: &CaseArgs) -> anyhow::Result<()> {
    let case: Case = serde_json::from_str(&args.case).context("this is no case")?;
    let measured = case.backend.measure(&case)?;
    println!("{}", serde_json::to_string(&measured)?);
    Ok(())
}

/// Prints a table of all cases.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let cases = args.cases()?;
    let threads = args.threads.unwrap_or_else(cores);
    let peer = args.peer();

    // Rows as they come: the whole table takes minutes.
    let mut lines = Vec::new();
    let mut print = |line: String| {
        println!("{line}");
        lines.push(line);
    };
    print(table::HEADER.to_string());
    for case in &cases {
        let start = ProcessorTime::now();
        let ours = child::measure_ours(case, threads)
            .with_context(|| format!("{} items of {} data", case.items, case.data.name()))?;
        let theirs = Way::ALL.map(|way| match &peer {
            Some(peer) if case.items <= args.most_for_peer(case.mixup) => {
                compare(peer, way, case, &ours, threads)
            }
            _ => Theirs::Skipped,
        });
        let others = start.and_then(ProcessorTime::others_since);
        let row = table::row(case, &ours, &theirs, others);
        print(row);
        if let Some(share) = others.filter(|&share| share > DISTURBING) {
            eprintln!(
                "other programs had {:.0} % of the machine: measure this case again",
                share * 100.0
            );
        }
    }
    print(String::new());
    print(args.origin(threads, peer.as_ref()));
    if let Some(path) = &args.out {
        std::fs::write(path, lines.join("\n") + "\n")
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn compare(peer: &Peer, way: Way, case: &Case, ours: &Measured, threads: usize) -> Theirs {
    let theirs = match peer.measure(case, way, threads) {
        Ok(theirs) => theirs,
        Err(error) => {
            eprintln!("PyTorch, {}: {error:#}", way.name());
            return Theirs::Failed;
        }
    };
    match peer::check_agreement(ours, &theirs) {
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

    fn peer(&self) -> Option<Peer> {
        if self.no_peer {
            return None;
        }
        Peer::find(self.python.as_deref(), &self.peer_device, self.peer_compile)
            .inspect_err(|reason| eprintln!("without PyTorch: {reason}"))
            .ok()
    }

    /// What a reader has to know of the numbers.
    fn origin(&self, threads: usize, peer: Option<&Peer>) -> String {
        let peer = peer.map_or_else(String::new, |peer| format!(", PyTorch {}", peer.version));
        format!(
            "{}, {}, {} cores, {threads} threads{peer}, {}. Best of the repetitions; peak memory is \
             that of the whole process (of the GPU for PyTorch on one); \"others\" is the share of \
             the machine that other programs had meanwhile.",
            self.backend.name(),
            processor(),
            cores(),
            today(),
        )
    }
}
