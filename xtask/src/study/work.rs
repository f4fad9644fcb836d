//! A run of a study, in a process of its own: so its memory is its own, and two keep two cores busy.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use recall_data::DataSpec;
use recall_eval::{Evaluation, Metric};
use recall_train::compare::FinishedRun;
use recall_train::{NamedBackend, Place, TrainingRun};
use serde::{Deserialize, Serialize};

use super::declared::Source;
use super::estimate;
use super::job::Job;
use super::results::{Hits, Made, Outcome};
use crate::bench::machine::{processor, today};

/// A run, where its data are and what it gets of the machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Work {
    pub job: Job,
    pub source: Source,
    /// The file of features, or the table of glyphs.
    pub file: Option<PathBuf>,
    /// An empty folder, or that of a run of this job that was begun.
    pub folder: PathBuf,
    pub threads: usize,
    /// Runs at once.
    pub jobs: usize,
}

/// The option by which this program starts itself again.
pub const OPTION: &str = "--work";

impl Work {
    /// Starts it, with what it writes kept for [`outcome`](Self::outcome).
    pub fn start(&self) -> Result<Child> {
        Command::new(env::current_exe()?)
            .args(["study", OPTION])
            .arg(serde_json::to_string(self)?)
            .env("RAYON_NUM_THREADS", self.threads.to_string())
            // Its last line is the reason it failed for.
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start a run")
    }

    /// What the process came to. A run that fails is a result as well.
    pub fn outcome(&self, child: Child) -> Result<Outcome> {
        let output = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        match text.lines().last().filter(|_| output.status.success()) {
            Some(line) => serde_json::from_str(line).context("a run printed no outcome"),
            None => {
                let errors = String::from_utf8_lossy(&output.stderr);
                let last = errors.lines().rfind(|line| !line.is_empty());
                Ok(Outcome {
                    failed: Some(last.unwrap_or("no reason given").to_owned()),
                    ..self.nothing()
                })
            }
        }
    }

    /// Runs it here and prints what it came to.
    pub fn print(&self) -> Result<()> {
        println!("{}", serde_json::to_string(&self.run()?)?);
        Ok(())
    }

    fn run(&self) -> Result<Outcome> {
        let mut config = self.job.config(self.source)?;
        config.data = match (&self.file, self.source) {
            (_, Source::Emoji) => DataSpec::Emoji,
            (Some(file), Source::Features) => DataSpec::Embeddings {
                file: file.clone(),
                labels: None,
            },
            (Some(file), Source::Glyphs) => DataSpec::Csv(file.clone()),
            (None, _) => anyhow::bail!("no file of data was named"),
        };
        config.evaluation.gallery = 1;
        let validates = config.evaluation.validation > 0.0;
        match &self.job.estimate {
            // Its classes choose the epoch, so it is looked at on the way.
            None if self.job.sees_test && validates => {}
            None => config.evaluation.every = config.epochs,
            Some(_) => {
                config.evaluation.every = (config.epochs / estimate::LOOKS).max(1);
                config.checkpoint.keep = 2 * estimate::LOOKS as usize;
            }
        }
        let begun = fs::read_dir(self.folder.join("checkpoints"))
            .is_ok_and(|mut checkpoints| checkpoints.next().is_some());
        let place = match begun {
            true => Place::Resume(self.folder.clone()),
            false => {
                if self.folder.exists() {
                    fs::remove_dir_all(&self.folder)?;
                }
                Place::New(Some(self.folder.clone()))
            }
        };
        let run = TrainingRun {
            place,
            ..TrainingRun::new(config)
        };
        let device = NamedBackend::FLEX.open()?;
        let finished = run.train(&*device, &mut ())?;
        let read = FinishedRun::open(&self.folder)?;
        let result = (finished.result).context("nothing judged the run")?;
        let hits = match self.job.sees_test {
            true => read.queries.scores.of(Metric::RecallAt(1)),
            false => None,
        };
        let estimates = match &self.job.estimate {
            Some(asked) => estimate::look(asked, &self.folder, &*device)?,
            None => Vec::new(),
        };
        Ok(Outcome {
            metrics: by_name(&result.evaluation),
            baseline: baseline(&self.folder)?,
            hits: hits
                .map(|hits| Hits::new(&hits.iter().map(|&hit| hit > 0.0).collect::<Vec<_>>())),
            estimates,
            steps: read.steps.len() as u64,
            images: read.steps.iter().map(|step| step.images as u64).sum(),
            seconds: finished.training_seconds,
            peak_memory: finished.peak_memory,
            ..self.nothing()
        })
    }

    /// An outcome without figures.
    fn nothing(&self) -> Outcome {
        Outcome {
            job: self.job.clone(),
            failed: None,
            metrics: BTreeMap::new(),
            baseline: BTreeMap::new(),
            hits: None,
            estimates: Vec::new(),
            steps: 0,
            images: 0,
            seconds: 0.0,
            peak_memory: None,
            made: Made {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                processor: processor(),
                threads: self.threads,
                jobs: self.jobs,
                date: today(),
            },
        }
    }
}

fn by_name(evaluation: &Evaluation) -> BTreeMap<String, f64> {
    (evaluation.values.iter())
        .map(|(metric, value)| (metric.to_string(), *value))
        .collect()
}

/// What the run says of the test before its first step.
fn baseline(folder: &Path) -> Result<BTreeMap<String, f64>> {
    let text = fs::read_to_string(folder.join("metrics.jsonl"))?;
    for line in text.lines() {
        let record: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line)?;
        if record.get("kind").is_some_and(|kind| kind == "baseline") {
            return Ok((record.into_iter())
                .filter(|(name, _)| name.parse::<Metric>().is_ok())
                .filter_map(|(name, value)| Some((name, value.as_f64()?)))
                .collect());
        }
    }
    Ok(BTreeMap::new())
}
