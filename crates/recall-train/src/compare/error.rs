use std::path::PathBuf;

use recall_eval::EvalError;
use recall_report::ReportError;
use thiserror::Error;

use crate::ConfigError;

/// Why runs cannot be compared. Each message is one sentence that names the thing at fault.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CompareError {
    /// A folder that is not that of a run which went to its end.
    #[error(
        "{folder} holds no finished run, it has no {missing}; give the folders of runs that went to \
         their end and had images to be judged by"
    )]
    NotFinished {
        /// The folder.
        folder: PathBuf,
        /// The file that is not there.
        missing: &'static str,
    },
    /// The same run in two places.
    #[error("{folder} is named twice; name each run once")]
    Twice {
        /// The folder.
        folder: PathBuf,
    },
    /// Runs that were judged by different metrics.
    #[error(
        "the runs have no metric in common; compare runs with the same evaluation.ks and evaluation.metrics"
    )]
    NoCommonMetric,
    /// The settings of a run cannot be read.
    #[error("{path}: {source}")]
    Config {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ConfigError,
    },
    /// A line of a run's records is none.
    #[error("{path}: line {line} is no record of a run: {problem}")]
    Record {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// Why.
        problem: String,
    },
    /// A file cannot be read or written.
    #[error("cannot {action} {path}: {source}")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The values of queries cannot be read, or the resamples make no sense.
    #[error(transparent)]
    Eval(#[from] EvalError),
    /// The page could not be made.
    #[error(transparent)]
    Report(#[from] ReportError),
}
