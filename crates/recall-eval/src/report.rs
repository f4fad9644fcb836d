//! Means over queries.

use std::fmt;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::{EvalError, Metric, PositiveRanks};

/// What a query without positives does to a mean: one that is alone in its class, or whose
/// positives are all junk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EmptyQueries {
    /// It is left out, and counted in [`Evaluation::without_positives`].
    #[default]
    Skip,
    /// It is a query that found nothing: 0 in every metric.
    Zero,
    /// It is an error.
    Error,
}

/// The means of some metrics over queries.
///
/// `Display` writes a metric a line, values aligned, with 4 decimals (`recall@1  0.6432`).
/// `Serialize` writes one object whose keys are the names of the metrics, and after them `queries`
/// and `without_positives`.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Each metric and its mean, in `0..=1`, in the order asked for.
    pub values: Vec<(Metric, f64)>,
    /// Number of all queries, those without positives included.
    pub queries: usize,
    /// Number of queries without positives: left out of the means under [`EmptyQueries::Skip`].
    pub without_positives: usize,
}

/// Takes the mean of each metric over queries. A metric that is asked for twice is reported once.
///
/// ```
/// use recall_eval::{EmptyQueries, Metric, PositiveRanks, evaluate};
///
/// let ranks = PositiveRanks::from_lists(&[vec![1, 4], vec![3], vec![]], vec![9, 9, 9])?;
/// let evaluation = evaluate(&ranks, &[Metric::RecallAt(1)], EmptyQueries::Skip)?;
/// assert_eq!(evaluation.to_string(), "recall@1  0.5000");
/// assert_eq!(evaluation.without_positives, 1);
/// # Ok::<(), recall_eval::EvalError>(())
/// ```
///
/// # Errors
///
/// If no query is left to average, if one has no positive and the policy is
/// [`EmptyQueries::Error`], or if a metric looks at the first 0 ranks.
pub fn evaluate(
    ranks: &PositiveRanks,
    metrics: &[Metric],
    empty: EmptyQueries,
) -> Result<Evaluation, EvalError> {
    if let Some(metric) = metrics.iter().find(|metric| metric.cutoff() == Some(0)) {
        return Err(EvalError::ZeroCutoff {
            metric: metric.to_string(),
        });
    }
    let queries = ranks.queries();
    let without_positives = ranks.iter().filter(|ranks| ranks.is_empty()).count();
    let averaged = match empty {
        EmptyQueries::Zero => queries,
        EmptyQueries::Skip => queries - without_positives,
        EmptyQueries::Error => match ranks.iter().position(<[u32]>::is_empty) {
            Some(first) => {
                return Err(EvalError::WithoutPositives {
                    count: without_positives,
                    queries,
                    first,
                });
            }
            None => queries,
        },
    };
    if averaged == 0 {
        return Err(EvalError::NothingToAverage { queries });
    }
    let mut values: Vec<(Metric, f64)> = Vec::with_capacity(metrics.len());
    for &metric in metrics {
        if values.iter().all(|(seen, _)| *seen != metric) {
            // Empty queries add 0 under either policy: only the divisor tells them apart.
            let sum: f64 = ranks.iter().map(|ranks| metric.of(ranks)).sum();
            values.push((metric, sum / averaged as f64));
        }
    }
    Ok(Evaluation {
        values,
        queries,
        without_positives,
    })
}

impl Evaluation {
    /// The mean of `metric`, if it was asked for.
    pub fn get(&self, metric: Metric) -> Option<f64> {
        self.values
            .iter()
            .find(|(name, _)| *name == metric)
            .map(|(_, value)| *value)
    }
}

impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self
            .values
            .iter()
            .map(|(metric, _)| metric.to_string())
            .collect();
        let width = names.iter().map(String::len).max().unwrap_or(0);
        for (line, (name, (_, value))) in names.iter().zip(&self.values).enumerate() {
            let end_of_last = if line == 0 { "" } else { "\n" };
            write!(f, "{end_of_last}{name:width$}  {value:.4}")?;
        }
        Ok(())
    }
}

impl Serialize for Evaluation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.values.len() + 2))?;
        for (metric, value) in &self.values {
            map.serialize_entry(metric, value)?;
        }
        map.serialize_entry("queries", &self.queries)?;
        map.serialize_entry("without_positives", &self.without_positives)?;
        map.end()
    }
}
