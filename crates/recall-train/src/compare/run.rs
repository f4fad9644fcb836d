use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use recall_eval::Metric;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::CompareError;
use crate::RunConfig;
use crate::judge::QueryScores;

/// A run that went to its end, as its folder tells of it.
#[derive(Debug, Clone, PartialEq)]
pub struct FinishedRun {
    /// The folder, as it was named.
    pub folder: PathBuf,
    /// The settings that were in force.
    pub config: RunConfig,
    /// Step and loss of each training step.
    pub losses: Vec<(u64, f64)>,
    /// What was judged on the way.
    pub evaluations: Vec<RunEvaluation>,
    /// The queries of the test split at the end.
    pub queries: QueryScores,
    /// Where the folder is.
    pub(super) place: PathBuf,
}

/// An evaluation during a run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunEvaluation {
    /// What was judged.
    pub split: JudgedSplit,
    /// Epochs trained until then.
    pub epoch: u64,
    /// The metrics.
    pub values: Vec<(Metric, f64)>,
}

/// The images that an evaluation judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JudgedSplit {
    /// Of the classes held out of training.
    Validation,
    /// The test split; what a record means that does not say.
    #[default]
    Test,
}

/// A line of `metrics.jsonl`. Kinds that are not looked at, and keys beside these, may be there.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Line {
    Step {
        step: u64,
        /// Null where it was not finite.
        loss: Option<f64>,
    },
    Evaluation {
        #[serde(default)]
        split: JudgedSplit,
        epoch: u64,
        #[serde(flatten)]
        others: Map<String, Value>,
    },
    #[serde(other)]
    Other,
}

impl FinishedRun {
    /// What is read of a run in `folder`.
    pub(crate) fn files(folder: &Path) -> [PathBuf; 3] {
        ["config.toml", "metrics.jsonl", "queries.csv"].map(|name| folder.join(name))
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
        let (path, settings) = text("config.toml")?;
        let config = RunConfig::read(Some(("settings", &settings)), &[])
            .map_err(|source| CompareError::Config { path, source })?;
        let (path, records) = text("metrics.jsonl")?;
        let (losses, evaluations) = read_records(&records, &path)?;
        let path = folder.join("queries.csv");
        if !path.exists() {
            return Err(CompareError::NotFinished {
                folder,
                missing: "queries.csv",
            });
        }
        Ok(Self {
            queries: QueryScores::read(&path)?,
            place: fs::canonicalize(&folder).unwrap_or_else(|_| folder.clone()),
            folder,
            config,
            losses,
            evaluations,
        })
    }

    /// Whether losses and metrics are the same, bit for bit.
    pub(super) fn has_numbers_of(&self, other: &Self) -> bool {
        let bits = |run: &Self| -> Vec<(u64, u64)> {
            let losses = run.losses.iter();
            losses.map(|&(step, loss)| (step, loss.to_bits())).collect()
        };
        self.evaluations == other.evaluations
            && self.queries == other.queries
            && bits(self) == bits(other)
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

type Records = (Vec<(u64, f64)>, Vec<RunEvaluation>);

fn read_records(text: &str, path: &Path) -> Result<Records, CompareError> {
    let (mut losses, mut evaluations) = (Vec::new(), Vec::new());
    for (number, line) in text.lines().enumerate() {
        let line = serde_json::from_str(line).map_err(|error| CompareError::Record {
            path: path.to_owned(),
            line: number + 1,
            problem: error.to_string(),
        })?;
        match line {
            Line::Step { step, loss } => losses.push((step, loss.unwrap_or(f64::NAN))),
            Line::Evaluation {
                split,
                epoch,
                others,
            } => evaluations.push(RunEvaluation {
                split,
                epoch,
                values: others
                    .iter()
                    .filter_map(|(name, value)| Some((name.parse().ok()?, value.as_f64()?)))
                    .collect(),
            }),
            Line::Other => {}
        }
    }
    Ok((losses, evaluations))
}
