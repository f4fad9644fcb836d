//! Everything that the page of a run shows.

use serde::Serialize;

use super::{Curve, Distribution, QueryRow, ReportError, page};

/// Everything the page shows. What is empty takes no place on it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// The heading, for example `emoji · flex · 2 min 13 s`.
    pub title: String,
    /// Name and value of what identifies the run: data set, model, seed, command line.
    pub facts: Vec<(String, String)>,
    /// What the run reached. The first is the one it is judged by.
    pub metrics: Vec<Metric>,
    /// Further columns of the table of the metrics, after those that a [`Metric`] fills itself.
    pub columns: Vec<Column>,
    /// What [`Metric::before`] is of: `the network before its first step`.
    pub about_before: String,
    /// Sentences about the metrics: which model was judged, and why that one.
    pub judged: Vec<String>,
    /// The metrics once more, judged in another way, in a table below.
    pub other_table: Option<MetricTable>,
    /// What happened on the way, a chart each.
    pub curves: Vec<Curve>,
    /// How similar items of one class are, and items of different ones.
    pub similarities: Option<Distribution>,
    /// Queries with their nearest neighbours.
    pub queries: Vec<QueryRow>,
    /// What the queries are drawn from, in a sentence: `Queries from classes never seen in training.`
    pub about_queries: String,
    /// The configuration that was in force, as TOML.
    pub config: String,
}

/// A share between 0 and 1, higher is better.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Metric {
    /// What it is, for example `recall@1`.
    pub name: String,
    /// Its value at the end.
    pub value: f64,
    /// The ends of its 95 % interval, where it was computed.
    pub interval: Option<(f64, f64)>,
    /// Its value before training, where it was measured.
    pub before: Option<f64>,
}

/// A column of a table whose rows are the metrics.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Column {
    /// What stands above it, for example `validation`.
    pub name: String,
    /// A share between 0 and 1 for each metric, in their order; a dash stands for one that is not known. A
    /// column without any is not shown.
    pub shares: Vec<Option<f64>>,
}

/// A table whose rows are the metrics.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct MetricTable {
    /// The heading.
    pub title: String,
    /// The columns.
    pub columns: Vec<Column>,
    /// A sentence below.
    pub about: String,
}

impl Report {
    /// The page, a complete HTML document.
    ///
    /// # Errors
    ///
    /// If the page's own template is at fault; no content of a report causes one.
    pub fn render(&self) -> Result<String, ReportError> {
        page::render(self).map_err(ReportError)
    }
}

impl Metric {
    /// A metric of which nothing but its value is known.
    pub fn new(name: impl Into<String>, value: f64) -> Self {
        Self {
            name: name.into(),
            value,
            ..Self::default()
        }
    }
}
