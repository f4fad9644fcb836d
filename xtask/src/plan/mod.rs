//! How far `recall-train plan` is from the run that follows it.
//!
//! The plan and the run are processes of their own, one after the other, with the same settings.

mod case;

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::Context;

use self::case::{Case, Measured, Part};
use crate::images::photo;
use crate::machine::{ProcessorTime, cores, processor, today};

/// Width and height of the photographs that larger models are planned on.
const PHOTOGRAPH: [u32; 2] = [500, 375];

/// Settings of a run, by what they are called in the table.
const RUNS: [(&str, &[&str]); 4] = [
    ("convnet", &["epochs=2", "evaluation.every=1"]),
    (
        "resnet50",
        &[
            "model.backbone=resnet50",
            "model.dim=512",
            "image.train.size=[64,64]",
            "image.eval={resize=64,crop=64}",
            "batch.size=64",
            "batch.chunk=16",
            "epochs=1",
        ],
    ),
    (
        "vit-b32",
        &[
            "model.backbone=vit-b32",
            "model.dim=512",
            "image.train.size=[224,224]",
            "image.eval={resize=256,crop=224}",
            "batch.size=32",
            "batch.chunk=8",
            "epochs=1",
        ],
    ),
    (
        "resnet50",
        &[
            "model.backbone=resnet50",
            "model.dim=512",
            "image.train.size=[96,96]",
            "image.eval={resize=96,crop=96}",
            "batch.size=64",
            "batch.chunk=2GB",
            "epochs=1",
        ],
    ),
];

/// Options of `bench plan`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only the runs of these networks
    #[arg(long, value_delimiter = ',')]
    backbones: Vec<String>,
    /// Steps of the runs on photographs
    #[arg(long, default_value_t = 5)]
    steps: usize,
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

/// Prints a table of all runs.
pub fn run(args: &Args) -> anyhow::Result<()> {
    println!(
        "| model | image | batch | chunk | step: planned | taken | ratio | peak: planned | taken | ratio |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let start = ProcessorTime::now();
    let folder = tempfile::tempdir()?;
    for (at, (backbone, settings)) in RUNS.iter().enumerate() {
        if !args.backbones.is_empty() && !args.backbones.iter().any(|wanted| wanted == backbone) {
            continue;
        }
        let mut case = Case {
            settings: settings.iter().map(|&setting| setting.into()).collect(),
            part: Part::Plan,
        };
        // The default embedder is made for the emoji.
        if *backbone != "convnet" {
            let table = photographs(folder.path(), case.config()?.batch.size.most() * args.steps)?;
            case.settings.extend([
                format!("data=csv:{}", table.display()),
                "evaluation.validation=0".into(),
            ]);
        }
        let planned = case.measure_apart()?;
        case.part = Part::Run(folder.path().join(format!("run-{at}")));
        let taken = case.measure_apart()?;
        println!("{}", row(&case, &planned, &taken)?);
    }
    let others = start.and_then(ProcessorTime::others_since);
    println!();
    println!(
        "{}, {} cores, flex, {}{}.",
        processor(),
        cores(),
        today(),
        others.map_or_else(String::new, |share| {
            format!(", other programs had {:.0} % of the machine", 100.0 * share)
        }),
    );
    Ok(())
}

/// Photographs in classes of four, `train` of them to train on and a few to test: the table of them.
fn photographs(folder: &Path, train: usize) -> anyhow::Result<std::path::PathBuf> {
    const TEST: usize = 64;
    let images = folder.join(format!("images-{train}"));
    photo::write_all(&images, PHOTOGRAPH, train + TEST, cores())?;
    let mut table = "path,label,split\n".to_owned();
    for image in 0..train + TEST {
        let split = if image < train { "train" } else { "test" };
        writeln!(
            table,
            "{}/{image:03}.jpg,{},{split}",
            images.display(),
            image / 4
        )?;
    }
    let path = folder.join(format!("images-{train}.csv"));
    fs::write(&path, table)?;
    Ok(path)
}

fn row(case: &Case, planned: &Measured, taken: &Measured) -> anyhow::Result<String> {
    let config = case.config()?;
    Ok(format!(
        "| {} | {} | {} | {} | {:.2} s | {:.2} s | {:.2} | {:.0} MB | {:.0} MB | {:.2} |",
        config.model.backbone,
        config.image.train.size[0],
        config.batch.size,
        match config.batch.chunk.to_string() {
            given if given == taken.chunk.to_string() => given,
            given => format!("{given}: {}", taken.chunk),
        },
        planned.step_seconds,
        taken.step_seconds,
        planned.step_seconds / taken.step_seconds,
        planned.peak_bytes as f64 / 1e6,
        taken.peak_bytes as f64 / 1e6,
        planned.peak_bytes as f64 / taken.peak_bytes as f64,
    ))
}
