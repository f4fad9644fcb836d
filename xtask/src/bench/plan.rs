//! How far `recall-train plan` is from the run that follows it.
//!
//! The plan and the run are processes of their own, one after the other, with the same settings.

mod case;

use anyhow::Context;

pub use self::case::Case;
use self::case::{Measured, Part};
use super::images::photo;
use super::process::Measure;
use super::table::{Others, Table};

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

/// The columns of the table.
const COLUMNS: [&str; 10] = [
    "model",
    "image",
    "batch",
    "chunk",
    "step: planned",
    "taken",
    "ratio",
    "peak: planned",
    "taken",
    "ratio",
];

/// Prints a table of all runs.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let table = Table {
        columns: &COLUMNS,
        others: Others::Below,
        setup: vec!["flex".into()],
        remark: String::new(),
        out: None,
    };
    let folder = tempfile::tempdir()?;
    let wanted = |backbone: &str| {
        args.backbones.is_empty() || args.backbones.iter().any(|wanted| wanted == backbone)
    };
    let runs = RUNS.iter().enumerate();
    let runs = runs.filter(|(_, (backbone, _))| wanted(backbone));
    table.print(runs, |(at, (backbone, settings))| {
        let mut case = Case {
            settings: settings.iter().map(|&setting| setting.into()).collect(),
            part: Part::Plan,
        };
        // The default embedder is made for the emoji.
        if *backbone != "convnet" {
            let table = photo::table(
                folder.path(),
                PHOTOGRAPH,
                case.config()?.batch.size.most() * args.steps,
            )?;
            case.settings.extend([
                format!("data=csv:{}", table.display()),
                "evaluation.validation=0".into(),
            ]);
        }
        let planned = measured(&case)?;
        case.part = Part::Run(folder.path().join(format!("run-{at}")));
        let taken = measured(&case)?;
        row(&case, &planned, &taken)
    })
}

fn measured(case: &Case) -> anyhow::Result<Measured> {
    case.measure_apart()
        .with_context(|| format!("{:?}", case.settings))
}

fn row(case: &Case, planned: &Measured, taken: &Measured) -> anyhow::Result<Vec<String>> {
    let config = case.config()?;
    let chunk = match config.batch.chunk.to_string() {
        given if given == taken.chunk.to_string() => given,
        given => format!("{given}: {}", taken.chunk),
    };
    let megabytes = |bytes: u64| format!("{:.0} MB", bytes as f64 / 1e6);
    Ok(vec![
        config.model.backbone.to_string(),
        config.image.train.size[0].to_string(),
        config.batch.size.to_string(),
        chunk,
        format!("{:.2} s", planned.step_seconds),
        format!("{:.2} s", taken.step_seconds),
        format!("{:.2}", planned.step_seconds / taken.step_seconds),
        megabytes(planned.peak_bytes),
        megabytes(taken.peak_bytes),
        format!("{:.2}", planned.peak_bytes as f64 / taken.peak_bytes as f64),
    ])
}
