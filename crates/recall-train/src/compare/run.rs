//! Finished runs, as their folders tell of them.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use recall_eval::Metric;

use super::CompareError;
use crate::RunConfig;
use crate::judge::{QUERIES, QueryScores};
use crate::records::{EvaluationRecord, Judged, METRICS, Record, StepRecord, read};
use crate::run::CONFIG;

/// A run that went to its end, as its folder tells of it.
#[derive(Debug, Clone, PartialEq)]
pub struct FinishedRun {
    /// The folder, as it was named.
    pub folder: PathBuf,
    /// The settings that were in force.
    pub config: RunConfig,
    /// Its training steps.
    pub steps: Vec<StepRecord>,
    /// What was judged on the way.
    pub evaluations: Vec<EvaluationRecord>,
    /// The queries of the test split at the end.
    pub queries: QueryScores,
    /// Where the folder is.
    pub(super) place: PathBuf,
}

impl FinishedRun {
    /// What is read of a run in `folder`.
    pub(crate) fn files(folder: &Path) -> [PathBuf; 3] {
        [CONFIG, METRICS, QUERIES].map(|name| folder.join(name))
    }

    /// Reads the folder of a run: `config.toml`, `metrics.jsonl` and `queries.csv`, which is written
    /// at its end.
    ///
    /// # Errors
    ///
    /// If one of them is not there or cannot be read.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, CompareError> {
        let folder = folder.into();
        let text = |name: &'static str| {
            let path = folder.join(name);
            match fs::read_to_string(&path) {
                Ok(text) => Ok((path, text)),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    Err(CompareError::NotFinished {
                        folder: folder.clone(),
                        missing: name,
                    })
                }
                Err(source) => Err(CompareError::File {
                    action: "read",
                    path,
                    source,
                }),
            }
        };
        let (path, settings) = text(CONFIG)?;
        let config = RunConfig::read(Some(("settings", &settings)), &[])
            .map_err(|source| CompareError::Config { path, source })?;
        let (path, records) = text(METRICS)?;
        let records = read(&records).map_err(|error| CompareError::Record {
            path,
            line: error.line,
            problem: error.source.to_string(),
        })?;
        let (mut steps, mut evaluations) = (Vec::new(), Vec::new());
        for record in records {
            match record {
                Record::Step(step) => steps.push(step),
                Record::Evaluation(evaluation) => evaluations.push(evaluation),
                Record::Baseline(_) | Record::Other => {}
            }
        }
        let path = folder.join(QUERIES);
        if !path.exists() {
            return Err(CompareError::NotFinished {
                folder,
                missing: QUERIES,
            });
        }
        Ok(Self {
            queries: QueryScores::read(&path)?,
            place: fs::canonicalize(&folder).unwrap_or_else(|_| folder.clone()),
            folder,
            config,
            steps,
            evaluations,
        })
    }

    /// Whether losses and metrics are the same, bit for bit.
    pub(super) fn has_numbers_of(&self, other: &Self) -> bool {
        self.queries == other.queries
            && (self.steps.iter().map(loss)).eq(other.steps.iter().map(loss))
            && (self.evaluations.iter().map(metrics)).eq(other.evaluations.iter().map(metrics))
    }

    /// Whether the settings are the same, whatever the seeds.
    pub(super) fn agrees_but_for_seed(&self, other: &Self) -> bool {
        let seed = self.config.seed;
        let other = RunConfig {
            seed,
            ..other.config.clone()
        };
        self.config == other
    }
}

/// What two runs agree in, of a step, where they are one computation.
fn loss(step: &StepRecord) -> (u64, Option<u64>) {
    (step.step, step.loss.map(f64::to_bits))
}

/// The same of an evaluation.
fn metrics(judged: &EvaluationRecord) -> (Judged, u64, &[(Metric, f64)]) {
    (judged.split, judged.epoch, &judged.evaluation.values)
}
