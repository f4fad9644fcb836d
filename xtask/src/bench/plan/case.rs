//! A plan, or the run that follows it, in a process of its own.

use std::path::PathBuf;

use anyhow::Context;
use recall_train::{
    ChunkSize, EvaluationRecord, Loading, NamedBackend, Place, Progress, Ranks, RunConfig,
    StepRecord, TrainingRun, plan,
};
use serde::{Deserialize, Serialize};

use crate::bench::process::Measure;

/// What is measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Case {
    /// As `--set` takes them.
    pub settings: Vec<String>,
    pub part: Part,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Part {
    Plan,
    /// In this folder.
    Run(PathBuf),
}

/// What came out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measured {
    pub step_seconds: f64,
    pub peak_bytes: u64,
    /// Images in a chunk.
    pub chunk: usize,
}

impl Case {
    pub fn config(&self) -> anyhow::Result<RunConfig> {
        Ok(RunConfig::read(None, &self.settings)?)
    }
}

impl Measure for Case {
    const COMMAND: &'static str = "plan-case";
    type Measured = Measured;

    fn measure(&self) -> anyhow::Result<Self::Measured> {
        let (config, device) = (self.config()?, NamedBackend::FLEX.open()?);
        let Part::Run(folder) = &self.part else {
            let costs = plan::measure(&config, Some(&Loading::default()), &*device, &mut |_| {})?;
            let chunk = costs.chunk(config.batch.chunk)?;
            return Ok(Measured {
                step_seconds: costs.step(chunk),
                peak_bytes: costs.peak(chunk).context("memory is not told here")?,
                chunk,
            });
        };
        let run = TrainingRun {
            config,
            place: Place::New(Some(folder.clone())),
            loading: Loading::default(),
            command_line: "cargo xtask bench plan".into(),
            ranks: Ranks::default(),
        };
        let mut steps = Steps::default();
        let finished = run.train(&*device, &mut steps)?;
        let config = std::fs::read_to_string(folder.join("config.toml"))?;
        let config = RunConfig::read(Some(("the run", &config)), &[])?;
        let ChunkSize::Images(chunk) = config.batch.chunk else {
            anyhow::bail!("the run wrote down no size of its chunks");
        };
        Ok(Measured {
            step_seconds: steps.median().context("the run took no step")?,
            peak_bytes: finished.peak_memory.context("memory is not told here")?,
            chunk,
        })
    }
}

/// Seconds of each step.
#[derive(Debug, Default)]
struct Steps(Vec<f64>);

impl Steps {
    fn median(mut self) -> Option<f64> {
        self.0.sort_by(f64::total_cmp);
        self.0.get(self.0.len() / 2).copied()
    }
}

impl Progress for Steps {
    fn begin(&mut self, _: u64, _: u64, _: u64) {}

    fn step(&mut self, record: &StepRecord) {
        self.0.push(record.seconds);
    }

    fn evaluated(&mut self, _: &EvaluationRecord) {}

    fn note(&mut self, note: &str) {
        eprintln!("{note}");
    }

    fn end(&mut self) {}
}
