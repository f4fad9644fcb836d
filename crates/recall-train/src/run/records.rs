use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use recall_eval::Evaluation;
use serde::Serialize;

use super::RunFolder;
use crate::RunError;

/// What is known of a training step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepRecord {
    /// The epoch, from 0.
    pub epoch: u64,
    /// The step of the run, from 0.
    pub step: u64,
    /// The loss before the step.
    pub loss: f64,
    /// The learning rate of the step.
    pub learning_rate: f64,
    /// Images in the batch.
    pub images: usize,
    /// Images of the batch that could not be read and were skipped.
    pub skipped: usize,
    /// Wall-clock time since the step before, waiting for images included.
    pub seconds: f64,
}

/// What is known of an evaluation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EvaluationRecord {
    /// Epochs trained until then.
    pub epoch: u64,
    /// Steps taken until then.
    pub step: u64,
    /// The metrics.
    #[serde(flatten)]
    pub evaluation: Evaluation,
    /// Wall-clock time of the evaluation.
    pub seconds: f64,
}

/// Is told how a run goes, to show it.
pub trait Progress {
    /// The run begins.
    fn begin(&mut self, epochs: u64, steps_per_epoch: u64);
    /// A step is done.
    fn step(&mut self, record: &StepRecord);
    /// An evaluation is done.
    fn evaluated(&mut self, record: &EvaluationRecord);
    /// Something worth a line.
    fn note(&mut self, note: &str);
    /// The run is over.
    fn end(&mut self);
}

/// `metrics.jsonl`, a line a record, and the same in memory for the report.
pub(crate) struct Records {
    path: PathBuf,
    file: BufWriter<File>,
    pub(crate) steps: Vec<StepRecord>,
    pub(crate) evaluations: Vec<EvaluationRecord>,
}

#[derive(Serialize)]
struct Line<'a, R> {
    kind: &'a str,
    #[serde(flatten)]
    record: &'a R,
}

impl Records {
    pub(crate) fn create(folder: &RunFolder) -> Result<Self, RunError> {
        let path = folder.path().join("metrics.jsonl");
        let file = File::create(&path).map_err(RunError::file("create", &path))?;
        Ok(Self {
            path,
            file: BufWriter::new(file),
            steps: Vec::new(),
            evaluations: Vec::new(),
        })
    }

    pub(crate) fn step(&mut self, record: StepRecord) -> Result<(), RunError> {
        self.line("step", &record)?;
        self.steps.push(record);
        Ok(())
    }

    pub(crate) fn evaluation(&mut self, record: EvaluationRecord) -> Result<(), RunError> {
        self.line("evaluation", &record)?;
        self.evaluations.push(record);
        Ok(())
    }

    /// Flushed line by line: a run that is killed leaves whole lines, and `tail -f` shows them.
    fn line(&mut self, kind: &str, record: &impl Serialize) -> Result<(), RunError> {
        let mut line = serde_json::to_vec(&Line { kind, record })
            .map_err(|error| RunError::file("write", &self.path)(error.into()))?;
        line.push(b'\n');
        self.file
            .write_all(&line)
            .and_then(|()| self.file.flush())
            .map_err(RunError::file("write", &self.path))
    }
}
