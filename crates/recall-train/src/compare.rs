//! Finished runs side by side.
//!
//! Runs whose settings agree in everything but the seed are a group, and a metric is reported as
//! its mean and standard deviation over the runs of a group. Runs that are the same bit for bit count
//! once. Two groups are compared query by query: the values of a query are averaged over the runs of
//! its group, and a paired test ([`Bootstrap::compare`]) reports how often chance alone makes as great
//! a difference on these queries.
//!
//! ```no_run
//! use recall_train::compare::{CompareConfig, FinishedRun};
//!
//! let runs = ["runs/emoji-001", "runs/emoji-002"].map(FinishedRun::open);
//! let runs = runs.into_iter().collect::<Result<Vec<_>, _>>()?;
//! let comparison = CompareConfig::default().compare(&runs)?;
//! println!("{comparison}");
//! # Ok::<(), recall_train::compare::CompareError>(())
//! ```

mod error;
mod identical;
mod json;
mod label;
mod page;
mod run;
mod table;
mod text;

use std::collections::HashMap;
use std::path::PathBuf;

use recall_eval::{Bootstrap, Comparison, Metric, Scores, Units};

use crate::RunConfig;

pub use error::CompareError;
pub use run::FinishedRun;

/// How runs are compared.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct CompareConfig {
    /// Resamples and seed of the paired tests.
    pub bootstrap: Bootstrap,
    /// Whether the tests draw whole classes instead of single queries: those of a class resemble each
    /// other. Default false.
    pub resample_classes: bool,
}

/// Groups of runs. `Display` writes a table, `Serialize` the same for programs.
#[derive(Debug, Clone, PartialEq)]
pub struct RunComparison {
    /// The metrics that all runs have.
    pub metrics: Vec<Metric>,
    /// The groups, in the order of their first runs.
    pub groups: Vec<RunGroup>,
    /// Queries of the paired tests, if there were any.
    pub queries: Option<usize>,
    /// Which runs are the same, and what could not be compared, in sentences.
    pub notes: Vec<String>,
}

/// Runs that differ in their seed alone.
#[derive(Debug, Clone, PartialEq)]
pub struct RunGroup {
    /// The settings in which it differs from other groups, or its folders.
    pub label: String,
    /// The folders of its runs, of identical ones the first.
    pub runs: Vec<PathBuf>,
    /// The settings of these runs, but for the seed, which is that of the first.
    pub config: RunConfig,
    /// Its figures, one for each metric.
    pub results: Vec<GroupResult>,
}

/// A group by one metric.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupResult {
    /// The mean over runs.
    pub mean: f64,
    /// The standard deviation over runs (of a sample: divided by their number less 1); none of one run.
    pub deviation: Option<f64>,
    /// The mean less that of the first group; none of the first group.
    pub difference: Option<f64>,
    /// The paired test against the first group, where both judge the same queries.
    pub paired: Option<Comparison>,
}

impl CompareConfig {
    /// Compares runs.
    ///
    /// # Errors
    ///
    /// If there are none, if one is named twice, if they have no metric in common, or if the settings
    /// of the resamples make no sense.
    pub fn compare(&self, runs: &[FinishedRun]) -> Result<RunComparison, CompareError> {
        for (at, run) in runs.iter().enumerate() {
            if runs[..at].iter().any(|other| other.place == run.place) {
                return Err(CompareError::Twice {
                    folder: run.folder.clone(),
                });
            }
        }
        let mut notes = Vec::new();
        let runs = identical::distinct(runs, &mut notes);
        let metrics = common_metrics(&runs, &mut notes)?;
        let groups = grouped(&runs);
        let labels = label::labels(&groups);
        let averages: Vec<Option<Average<'_>>> = groups
            .iter()
            .zip(&labels)
            .map(|(group, label)| {
                let average = Average::of(group, &metrics)?;
                if average.is_none() {
                    notes.push(format!(
                        "the runs of {label} judge different queries: no test"
                    ));
                }
                Ok(average)
            })
            .collect::<Result<_, CompareError>>()?;

        let mut queries = None;
        let first = groups.first().map(|group| means(group, &metrics));
        let mut results = Vec::new();
        for (at, (group, label)) in groups.iter().zip(&labels).enumerate() {
            let paired = match (&averages[0], &averages[at]) {
                (Some(first), Some(other)) if at > 0 => match first.same_queries(other) {
                    true => Some(self.test(first, other)?),
                    false => {
                        notes.push(format!(
                            "{label} judges other queries than {}: no test",
                            labels[0]
                        ));
                        None
                    }
                },
                _ => None,
            };
            if let (Some(_), Some(first)) = (&paired, &averages[0]) {
                queries = Some(first.images.len());
            }
            let means = means(group, &metrics);
            results.push(RunGroup {
                label: label.clone(),
                runs: group.iter().map(|run| run.folder.clone()).collect(),
                config: group[0].config.clone(),
                results: (means.iter().enumerate())
                    .map(|(column, &(mean, deviation))| GroupResult {
                        mean,
                        deviation,
                        difference: (first.as_ref())
                            .filter(|_| at > 0)
                            .map(|first| mean - first[column].0),
                        paired: paired.as_ref().map(|paired| paired[column]),
                    })
                    .collect(),
            });
        }
        Ok(RunComparison {
            metrics,
            groups: results,
            queries,
            notes,
        })
    }

    fn test(
        &self,
        first: &Average<'_>,
        second: &Average<'_>,
    ) -> Result<Vec<Comparison>, CompareError> {
        let mut numbers = HashMap::new();
        let labels: Vec<i64> = first
            .classes
            .iter()
            .map(|class| {
                let next = numbers.len() as i64;
                *numbers.entry(class).or_insert(next)
            })
            .collect();
        let units = match self.resample_classes {
            true => Units::Classes(&labels),
            false => Units::Queries,
        };
        Ok(self
            .bootstrap
            .compare(&first.scores, &second.scores, units)?)
    }
}

/// Those that all runs have; says which are left out.
fn common_metrics(
    runs: &[&FinishedRun],
    notes: &mut Vec<String>,
) -> Result<Vec<Metric>, CompareError> {
    let mut all: Vec<Metric> = Vec::new();
    for run in runs {
        for &metric in run.queries.scores.metrics() {
            if !all.contains(&metric) {
                all.push(metric);
            }
        }
    }
    let has = |run: &FinishedRun, metric| run.queries.scores.metrics().contains(&metric);
    let (common, others): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|&metric| runs.iter().all(|run| has(run, metric)));
    if common.is_empty() {
        return Err(CompareError::NoCommonMetric);
    }
    if !others.is_empty() {
        let names: Vec<String> = others.iter().map(Metric::to_string).collect();
        notes.push(format!("not all runs have {}: left out", names.join(", ")));
    }
    Ok(common)
}

/// Runs whose settings agree but for the seed.
fn grouped<'a>(runs: &[&'a FinishedRun]) -> Vec<Vec<&'a FinishedRun>> {
    let mut groups: Vec<Vec<&FinishedRun>> = Vec::new();
    for &run in runs {
        match groups
            .iter_mut()
            .find(|group| group[0].agrees_but_for_seed(run))
        {
            Some(group) => group.push(run),
            None => groups.push(vec![run]),
        }
    }
    groups
}

/// Mean and deviation over the runs of a group, by metric.
fn means(group: &[&FinishedRun], metrics: &[Metric]) -> Vec<(f64, Option<f64>)> {
    let evaluations: Vec<_> = group
        .iter()
        .map(|run| run.queries.scores.evaluation())
        .collect();
    let of_metric = |&metric: &Metric| {
        let values: Vec<f64> = evaluations
            .iter()
            .filter_map(|evaluation| evaluation.get(metric))
            .collect();
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        (
            mean,
            (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt()),
        )
    };
    metrics.iter().map(of_metric).collect()
}

/// The values of queries, averaged over the runs of a group.
struct Average<'a> {
    images: &'a [String],
    classes: &'a [String],
    scores: Scores,
}

impl<'a> Average<'a> {
    /// None if the runs judge different queries.
    fn of(group: &[&'a FinishedRun], metrics: &[Metric]) -> Result<Option<Self>, CompareError> {
        let first = &group[0].queries;
        let same = |run: &&&FinishedRun| {
            run.queries.images == first.images && run.queries.classes == first.classes
        };
        if !group.iter().all(|run| same(&run)) {
            return Ok(None);
        }
        let mut values = vec![0.0; first.images.len() * metrics.len()];
        for run in group {
            for (at, &metric) in metrics.iter().enumerate() {
                let column = run.queries.scores.of(metric).unwrap_or_default();
                for (row, value) in column.into_iter().enumerate() {
                    values[row * metrics.len() + at] += value;
                }
            }
        }
        let count = group.len() as f64;
        values.iter_mut().for_each(|value| *value /= count);
        Ok(Some(Self {
            images: &first.images,
            classes: &first.classes,
            scores: Scores::from_values(metrics, values)?,
        }))
    }

    fn same_queries(&self, other: &Self) -> bool {
        self.images == other.images && self.classes == other.classes
    }
}

#[cfg(test)]
mod tests;
