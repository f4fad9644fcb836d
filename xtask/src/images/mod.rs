//! Images a second from files to the pixels of a batch, beside torchvision with Pillow.
//!
//! Both read the same JPEG files, which are made up first, with as many threads here as there are
//! workers of a `DataLoader` there (`peers/images.py`). Their runs take turns, so that what else the
//! machine does falls on both.

mod case;
mod peer;
pub mod photo;
mod table;

use std::path::PathBuf;

use anyhow::Context;

use self::case::{Case, Work};
use self::peer::Peer;
use crate::machine::{ProcessorTime, cores, processor, today};

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

/// The one case of a child process.
#[derive(Debug, clap::Args)]
pub struct CaseArgs {
    /// As JSON
    case: String,
}

/// Measures one case and prints it.
pub fn run_case(args: &CaseArgs) -> anyhow::Result<()> {
    let case: Case = serde_json::from_str(&args.case).context("this is no case")?;
    println!("{}", serde_json::to_string(&case.measure()?)?);
    Ok(())
}

/// Prints a table of all cases.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let threads = args.threads.unwrap_or_else(cores);
    let peer = args.peer();
    let mut lines = Vec::new();
    let mut print = |line: String| {
        println!("{line}");
        lines.push(line);
    };
    print(table::HEADER.to_string());
    let folder = tempfile::tempdir().context("no folder for the images")?;
    let works = if args.first {
        &Work::ALL[..1]
    } else {
        &Work::ALL
    };
    for &work in works {
        let files = folder.path().join(format!("{}", work.sides()[0]));
        let bytes = photo::write_all(&files, work.sides(), work.files(), threads)?;
        let case = Case {
            folder: files,
            work,
            count: work.share(args.count),
            threads,
        };
        let start = ProcessorTime::now();
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..args.repeats.max(1) {
            ours.push(case.measure_apart()?);
            if let Some(peer) = &peer {
                theirs.push(peer.measure(&case, work.share(args.peer_count))?);
            }
        }
        let others = start.and_then(ProcessorTime::others_since);
        print(table::row(work, bytes, &ours, &theirs, others));
        if let Some(share) = others.filter(|&share| share > DISTURBING) {
            eprintln!("other programs had {:.0} % of the machine", share * 100.0);
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

impl Args {
    fn peer(&self) -> Option<Peer> {
        if self.no_peer {
            return None;
        }
        Peer::find(self.python.as_deref())
            .inspect_err(|reason| eprintln!("without torchvision: {reason}"))
            .ok()
    }

    /// What a reader has to know of the numbers.
    fn origin(&self, threads: usize, peer: Option<&Peer>) -> String {
        let peer = peer.map_or_else(String::new, |peer| format!(", {}", peer.version));
        format!(
            "{}, {} cores, {threads} threads here and {threads} workers there{peer}, {}. Best of {} \
             runs that took turns; ratios of each turn in parentheses; \"others\" is the share of the \
             machine that other programs had meanwhile.",
            processor(),
            cores(),
            today(),
            self.repeats.max(1),
        )
    }
}
