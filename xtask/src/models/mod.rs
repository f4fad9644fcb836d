//! Images a second through the models, forward and in a two-pass step, beside PyTorch.
//!
//! The same networks on the same number of threads, with random weights: neither time nor memory
//! depends on their values. Each case is a process of its own, here and there.

mod case;
mod peer;

use std::path::PathBuf;

use anyhow::Context;

use self::case::{Case, Measured};
use self::peer::Peer;
use crate::machine::{ProcessorTime, cores, processor, today};

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
    let peer = match args.no_peer {
        true => None,
        false => Peer::find(args.python.as_deref())
            .inspect_err(|reason| eprintln!("without PyTorch: {reason}"))
            .ok(),
    };
    println!(
        "| model | image | batch | chunk | forward, images/s | PyTorch | ratio | step, images/s | PyTorch | ratio | peak MB | PyTorch |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    let start = ProcessorTime::now();
    for backbone in &args.backbones {
        for &batch in &args.batches {
            let case = Case {
                backbone: backbone.clone(),
                // The default embedder is made for the emoji.
                side: if backbone == "convnet" { 32 } else { 224 },
                batch,
                chunk: args.chunk,
                threads,
            };
            let ours = case.measure_apart()?;
            let theirs = peer.as_ref().map(|peer| peer.measure(&case)).transpose()?;
            println!("{}", row(&case, &ours, theirs.as_ref()));
        }
    }
    let others = start.and_then(ProcessorTime::others_since);
    println!();
    println!(
        "{}, {} cores, flex, f32, {threads} threads{}, {}{}.",
        processor(),
        cores(),
        peer.map_or_else(String::new, |peer| format!(", {}", peer.version)),
        today(),
        others.map_or_else(String::new, |share| {
            format!(", other programs had {:.0} % of the machine", 100.0 * share)
        }),
    );
    Ok(())
}

fn row(case: &Case, ours: &Measured, theirs: Option<&Measured>) -> String {
    let rate = |seconds: f64| case.batch as f64 / seconds;
    let columns = |ours: f64, theirs: Option<f64>| match theirs {
        Some(theirs) => format!(
            "{:.1} | {:.1} | {:.2}",
            rate(ours),
            rate(theirs),
            theirs / ours
        ),
        None => format!("{:.1} | – | –", rate(ours)),
    };
    format!(
        "| {} | {} | {} | {} | {} | {} | {:.0} | {} |",
        case.backbone,
        case.side,
        case.batch,
        case.chunk,
        columns(ours.forward_seconds, theirs.map(|one| one.forward_seconds)),
        columns(ours.step_seconds, theirs.map(|one| one.step_seconds)),
        ours.peak_bytes as f64 / 1e6,
        theirs.map_or_else(
            || "–".into(),
            |one| format!("{:.0}", one.peak_bytes as f64 / 1e6)
        ),
    )
}
