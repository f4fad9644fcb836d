//! Images a second of a run by several ranks, each with one thread of a core of its own.
//!
//! The command itself runs under mpirun, and what it writes of its steps is read. One process runs under mpirun too, bound to
//! one core as the others are, and the numbers of ranks take turns.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde::Deserialize;

use super::images::photo;
use super::table::{Others, Table};

const PHOTOGRAPH: [u32; 2] = [100, 75];

/// What is trained: its name in the table, and the settings.
const RUNS: [(&str, &[&str]); 2] = [
    (
        "convnet",
        // All emoji that train, some 4,300, are one batch.
        &[
            "batch.size=all",
            "batch.chunk=128",
            "epochs=5",
            "evaluation.validation=0",
        ],
    ),
    (
        "resnet50",
        &[
            "model.backbone=resnet50",
            "model.dim=512",
            "image.train.size=[64,64]",
            "image.eval={resize=64,crop=64}",
            "batch.size=128",
            "batch.chunk=16",
            "epochs=1",
            "evaluation.validation=0",
        ],
    ),
];

/// Steps of a run on photographs.
const STEPS: usize = 5;

/// Options of `bench ranks`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these networks
    #[arg(long, value_delimiter = ',')]
    backbones: Vec<String>,
    /// How many ranks
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2])]
    ranks: Vec<usize>,
    /// Runs of each number of ranks, one after the other in turn
    #[arg(long, default_value_t = 3)]
    turns: usize,
    /// Settings for all runs, as `recall-train --set` takes them
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

/// A line of `metrics.jsonl`, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Line {
    kind: String,
    #[serde(default)]
    step: u64,
    #[serde(default)]
    images: usize,
    #[serde(default)]
    seconds: f64,
    #[serde(default)]
    waited_seconds: f64,
    #[serde(default)]
    exchange_seconds: f64,
}

/// Prints a table of all runs.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let program = built()?;
    let folder = tempfile::tempdir()?;
    let wanted = |backbone: &str| {
        args.backbones.is_empty() || args.backbones.iter().any(|wanted| wanted == backbone)
    };
    let mut rows = Vec::new();
    for (backbone, settings) in RUNS.iter().filter(|(backbone, _)| wanted(backbone)) {
        let mut settings: Vec<String> = settings.iter().map(|&text| text.to_owned()).collect();
        if *backbone != "convnet" {
            let table = photo::table(folder.path(), PHOTOGRAPH, 128 * STEPS)?;
            settings.push(format!("data=csv:{}", table.display()));
        }
        settings.extend(args.settings.iter().cloned());
        rows.push((*backbone, settings));
    }
    let table = Table {
        columns: &[
            "model",
            "ranks",
            "images a step",
            "seconds of a step",
            "images a second",
            "times one rank",
            "exchanges",
            "waiting for images",
        ],
        others: Others::Below,
        setup: vec!["flex".into(), "one thread and one core a rank".into()],
        remark: format!(
            "Medians of the steps of {} runs each, in turn, without the first step of each. Exchanges are what rank 0 spends on \
             them, waiting for the slowest included.",
            args.turns
        ),
        out: None,
    };
    let mut measured = BTreeMap::new();
    for (backbone, settings) in &rows {
        for turn in 0..args.turns {
            for &ranks in &args.ranks {
                eprintln!("{backbone}, {ranks} ranks, turn {}", turn + 1);
                let steps = steps(&program, folder.path(), ranks, settings)?;
                measured
                    .entry((*backbone, ranks))
                    .or_insert_with(Vec::new)
                    .extend(steps);
            }
        }
    }
    let cases = rows.iter().flat_map(|(backbone, _)| {
        let ranks = args.ranks.iter();
        ranks.map(move |&ranks| (*backbone, ranks))
    });
    table.print(cases, |(backbone, ranks)| {
        let of = |ranks: usize| {
            measured
                .get(&(backbone, ranks))
                .map_or(&[][..], Vec::as_slice)
        };
        let rate = |ranks| {
            median(
                of(ranks)
                    .iter()
                    .map(|line| line.images as f64 / line.seconds),
            )
        };
        let share = |part: fn(&Line) -> f64| {
            let shares = of(ranks).iter().map(|line| part(line) / line.seconds);
            format!("{:.1} %", 100.0 * median(shares))
        };
        Ok(vec![
            backbone.to_owned(),
            ranks.to_string(),
            of(ranks).first().map_or(0, |line| line.images).to_string(),
            format!("{:.2}", median(of(ranks).iter().map(|line| line.seconds))),
            format!("{:.1}", rate(ranks)),
            format!("{:.2}", rate(ranks) / rate(1)),
            share(|line| line.exchange_seconds),
            share(|line| line.waited_seconds),
        ])
    })
}

/// The command with MPI, built where Cargo puts it.
fn built() -> anyhow::Result<PathBuf> {
    #[derive(Deserialize)]
    struct Message {
        executable: Option<PathBuf>,
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "build",
            "-p",
            "recall-train",
            "--release",
            "--no-default-features",
        ])
        .args([
            "--features",
            "flex,mpi",
            "--message-format=json-render-diagnostics",
        ])
        .stderr(Stdio::inherit())
        .output()
        .context("cargo does not start")?;
    ensure!(
        output.status.success(),
        "recall-train with MPI cannot be built: docs/ranks.md names what it needs"
    );
    let text = String::from_utf8_lossy(&output.stdout);
    let messages = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok());
    let mut programs = messages.filter_map(|message| message.executable);
    programs.next().context("cargo names no program")
}

/// The steps of a run, but for the first.
fn steps(
    program: &Path,
    folder: &Path,
    ranks: usize,
    settings: &[String],
) -> anyhow::Result<Vec<Line>> {
    let out = folder.join("run");
    if out.exists() {
        fs::remove_dir_all(&out)?;
    }
    let mut command = Command::new("mpirun");
    command
        .args(["--bind-to", "core", "-n", &ranks.to_string()])
        .arg(program)
        .args(["--backend", "flex", "--quiet", "--threads", "1", "--out"])
        .arg(&out)
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
        .env("RAYON_NUM_THREADS", "1");
    for setting in settings {
        command.args(["--set", setting]);
    }
    let output = command.output().context("mpirun does not start")?;
    ensure!(
        output.status.success(),
        "a run of {ranks} ranks failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = fs::read_to_string(out.join("metrics.jsonl"))?;
    let lines = text.lines().map(serde_json::from_str::<Line>);
    let lines: Vec<Line> = lines.collect::<Result<_, _>>()?;
    let steps = lines
        .into_iter()
        .filter(|line| line.kind == "step" && line.step > 0);
    Ok(steps.collect())
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
