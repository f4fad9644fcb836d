//! Time and memory of an exact evaluation, beside faiss.
//!
//! Both judge the same embeddings with the same number of threads. faiss finds the nearest 1,001 of
//! each item, and the metrics are taken from these (`peers/eval.py`); here the ranks of all positives
//! are counted. The runs take turns.

mod case;
mod peer;

use std::path::PathBuf;

use anyhow::{Context, ensure};

use self::case::{Case, Measured};
use self::peer::{Peer, PeerMeasured};
use crate::machine::{ProcessorTime, cores, processor, today};

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

/// Prints a table of all cases.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let threads = args.threads.unwrap_or_else(cores);
    let peer = args.peer();
    let folder = tempfile::tempdir().context("no folder for the embeddings")?;
    println!(
        "| items | class | seconds | of products | peak MB | faiss, search | faiss, all | ratio |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let sizes = if args.first { &SIZES[..1] } else { &SIZES };
    let start = ProcessorTime::now();
    for (number, &[items, class]) in sizes.iter().enumerate() {
        let case = Case::write(folder.path(), items, DIM, class, threads)?;
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let repeats = if number == 0 { args.repeats.max(1) } else { 1 };
        for _ in 0..repeats {
            ours.push(case.measure_apart()?);
            if let Some(peer) = peer.as_ref().filter(|_| number == 0) {
                theirs.push(peer.measure(&case)?);
            }
        }
        agree(&ours, &theirs)?;
        println!("{}", row(&case, &ours, &theirs));
    }
    let others = start.and_then(ProcessorTime::others_since);
    println!();
    println!(
        "{}, {} cores, {threads} threads{}, {}{}. Best of {} runs of the first case, one of the others; \
         \"of products\": how many times as long as the matrix product alone at the best rate of it \
         that was seen.",
        processor(),
        cores(),
        peer.map_or_else(String::new, |peer| format!(", {}", peer.version)),
        today(),
        others.map_or_else(String::new, |share| {
            format!(", other programs had {:.0} % of the machine", 100.0 * share)
        }),
        args.repeats.max(1),
    );
    Ok(())
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

fn row(case: &Case, ours: &[Measured], theirs: &[PeerMeasured]) -> String {
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
    format!(
        "| {} × {} | {} | {seconds:.1} | {:.2} | {:.0} | {search} | {all} | {ratio} |",
        case.items,
        case.dim,
        case.class,
        seconds / product,
        peak as f64 / 1e6,
    )
}

impl Args {
    fn peer(&self) -> Option<Peer> {
        if self.no_peer {
            return None;
        }
        Peer::find(self.python.as_deref())
            .inspect_err(|reason| eprintln!("without faiss: {reason}"))
            .ok()
    }
}
