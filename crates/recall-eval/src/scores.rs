//! The value of each metric for each query.

use std::collections::BTreeMap;

use crate::{EvalError, Evaluation, Metric, PositiveRanks, Ties};

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

/// What is decided for the cases that the formula of a metric leaves open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Queries without positives. Default: left out.
    pub empty: EmptyQueries,
    /// Items of equal similarity. Default: by id.
    pub ties: Ties,
}

impl From<EmptyQueries> for Policy {
    fn from(empty: EmptyQueries) -> Self {
        Self {
            empty,
            ..Self::default()
        }
    }
}

/// The values of some metrics for each query that counts: what means, means over classes, intervals
/// and comparisons are made of.
///
/// ```
/// use recall_eval::{Metric, Policy, PositiveRanks, Scores};
///
/// let ranks = PositiveRanks::from_lists(&[vec![1, 4], vec![3], vec![], vec![2]], vec![9; 4])?;
/// let scores = Scores::new(&ranks, &[Metric::RecallAt(1), Metric::Mrr], Policy::default())?;
/// assert_eq!(scores.queries(), [0, 1, 3]);
/// assert_eq!(scores.of(Metric::Mrr), Some(vec![1.0, 1.0 / 3.0, 0.5]));
/// assert_eq!(scores.evaluation().get(Metric::RecallAt(1)), Some(1.0 / 3.0));
/// // Classes of the four queries: the first two are of one, and count as much as the last.
/// let by_class = scores.by_class(&[5, 5, 6, 7])?;
/// assert_eq!(by_class.get(Metric::RecallAt(1)), Some((0.5 + 0.0) / 2.0));
/// # Ok::<(), recall_eval::EvalError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    metrics: Vec<Metric>,
    /// Those that count, ascending.
    queries: Vec<usize>,
    /// `[queries, metrics]`
    values: Vec<f64>,
    of: usize,
    without_positives: usize,
    tied: usize,
}

impl Scores {
    /// Takes each of `metrics` for each query. A metric that is asked for twice is taken once.
    ///
    /// # Errors
    ///
    /// If there is no metric, if one looks at the first 0 ranks, if a query has no positive and the
    /// policy is [`EmptyQueries::Error`], or if no query is left that counts.
    pub fn new(
        ranks: &PositiveRanks,
        metrics: &[Metric],
        policy: Policy,
    ) -> Result<Self, EvalError> {
        let metrics = distinct(metrics, Repeated::TakenOnce)?;
        let of = ranks.queries();
        let without_positives = ranks.iter().filter(|ranks| ranks.is_empty()).count();
        if policy.empty == EmptyQueries::Error
            && let Some(first) = ranks.iter().position(<[u32]>::is_empty)
        {
            return Err(EvalError::WithoutPositives {
                count: without_positives,
                queries: of,
                first,
            });
        }
        let counts = |q: &usize| policy.empty == EmptyQueries::Zero || !ranks.of(*q).is_empty();
        let queries: Vec<usize> = (0..of).filter(counts).collect();
        if queries.is_empty() {
            return Err(EvalError::NothingToAverage { queries: of });
        }
        let of_query = |&q: &usize| {
            let ranks = ranks.of_under(q, policy.ties);
            metrics.iter().map(|metric| metric.of(ranks))
        };
        let depends_on_ties = |&q: &usize| {
            let [best, worst] =
                [Ties::Optimistic, Ties::Pessimistic].map(|ties| ranks.of_under(q, ties));
            metrics
                .iter()
                .any(|metric| metric.of(best) != metric.of(worst))
        };
        Ok(Self {
            values: queries.iter().flat_map(of_query).collect(),
            tied: ranks.tied().filter(depends_on_ties).count(),
            metrics,
            queries,
            of,
            without_positives,
        })
    }

    /// Scores from their values: of each query, all of which count, one value for each of `metrics`.
    /// Values lie in `0..=1`. Nothing is known of ties and of queries that did not count.
    ///
    /// ```
    /// use recall_eval::{Metric, Scores};
    ///
    /// let metrics = [Metric::RecallAt(1), Metric::Mrr];
    /// let scores = Scores::from_values(&metrics, vec![1.0, 1.0, 0.0, 0.5])?;
    /// assert_eq!(scores.queries(), [0, 1]);
    /// assert_eq!(scores.evaluation().get(Metric::Mrr), Some(0.75));
    /// # Ok::<(), recall_eval::EvalError>(())
    /// ```
    ///
    /// # Shapes
    ///
    /// - values: `[queries, metrics]`, row by row
    ///
    /// # Errors
    ///
    /// If there is no metric, if one is named twice or looks at the first 0 ranks, if there are no
    /// values or they do not fill whole rows, or if one is not in `0..=1`.
    pub fn from_values(metrics: &[Metric], values: Vec<f64>) -> Result<Self, EvalError> {
        let metrics = distinct(metrics, Repeated::Refused)?;
        if !values.len().is_multiple_of(metrics.len()) {
            return Err(EvalError::Ragged {
                values: values.len(),
                dim: metrics.len(),
            });
        }
        let of = values.len() / metrics.len();
        if of == 0 {
            return Err(EvalError::NothingToAverage { queries: of });
        }
        if let Some(at) = values.iter().position(|value| !(0.0..=1.0).contains(value)) {
            return Err(EvalError::InvalidValue {
                metric: metrics[at % metrics.len()].to_string(),
                query: at / metrics.len(),
                value: values[at],
            });
        }
        Ok(Self {
            metrics,
            queries: (0..of).collect(),
            values,
            of,
            without_positives: 0,
            tied: 0,
        })
    }

    /// The metrics, each once, in the order asked for.
    pub fn metrics(&self) -> &[Metric] {
        &self.metrics
    }

    /// The queries that count, ascending.
    pub fn queries(&self) -> &[usize] {
        &self.queries
    }

    /// The values of `metric`, one for each of [`queries`](Self::queries), if it was asked for.
    pub fn of(&self, metric: Metric) -> Option<Vec<f64>> {
        let column = self.metrics.iter().position(|&of| of == metric)?;
        Some(self.rows().map(|row| row[column]).collect())
    }

    /// The means over queries.
    pub fn evaluation(&self) -> Evaluation {
        let mut sums = vec![0.0; self.metrics.len()];
        for row in self.rows() {
            add(&mut sums, row);
        }
        self.means(sums, self.queries.len())
    }

    /// The means over classes of the means over the queries of a class (macro averages), so that a
    /// large class counts as much as a small one. `labels` has one for each query, those that do
    /// not count included. Classes without a query that counts are left out.
    ///
    /// # Errors
    ///
    /// If there is not one label for each query.
    pub fn by_class(&self, labels: &[i64]) -> Result<Evaluation, EvalError> {
        let mut classes: BTreeMap<i64, (Vec<f64>, usize)> = BTreeMap::new();
        for (label, row) in self.labels(labels)?.zip(self.rows()) {
            let (sums, count) = (classes.entry(label)).or_insert_with(|| (vec![0.0; row.len()], 0));
            add(sums, row);
            *count += 1;
        }
        let mut sums = vec![0.0; self.metrics.len()];
        for (class, count) in classes.values() {
            for (sum, of_class) in sums.iter_mut().zip(class) {
                *sum += of_class / *count as f64;
            }
        }
        Ok(self.means(sums, classes.len()))
    }

    /// The labels of the queries that count.
    pub(crate) fn labels(&self, labels: &[i64]) -> Result<impl Iterator<Item = i64>, EvalError> {
        if labels.len() != self.of {
            return Err(EvalError::LabelCount {
                what: "queries",
                labels: labels.len(),
                rows: self.of,
            });
        }
        Ok(self.queries.iter().map(|&q| labels[q]))
    }

    /// The values of each query that counts, in the order of the metrics.
    pub(crate) fn rows(&self) -> impl ExactSizeIterator<Item = &[f64]> {
        self.values.chunks_exact(self.metrics.len())
    }

    fn means(&self, sums: Vec<f64>, count: usize) -> Evaluation {
        let means = sums.into_iter().map(|sum| sum / count as f64);
        Evaluation {
            values: self.metrics.iter().copied().zip(means).collect(),
            queries: self.of,
            without_positives: self.without_positives,
            tied: self.tied,
        }
    }
}

enum Repeated {
    TakenOnce,
    Refused,
}

/// The metrics that can be taken, each once.
fn distinct(metrics: &[Metric], repeated: Repeated) -> Result<Vec<Metric>, EvalError> {
    let mut distinct: Vec<Metric> = Vec::with_capacity(metrics.len());
    for &metric in metrics {
        if metric.cutoff() == Some(0) {
            return Err(EvalError::ZeroCutoff {
                metric: metric.to_string(),
            });
        }
        match (distinct.contains(&metric), &repeated) {
            (false, _) => distinct.push(metric),
            (true, Repeated::TakenOnce) => {}
            (true, Repeated::Refused) => {
                return Err(EvalError::RepeatedMetric {
                    metric: metric.to_string(),
                });
            }
        }
    }
    match distinct.is_empty() {
        true => Err(EvalError::NoMetric),
        false => Ok(distinct),
    }
}

pub(crate) fn add(sums: &mut [f64], values: &[f64]) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_make_no_scores() {
        use Metric::{MapAtR, Mrr, RecallAt};
        let refused = |metrics: &[Metric], values: &[f64]| {
            Scores::from_values(metrics, values.to_vec())
                .unwrap_err()
                .to_string()
        };
        for (metrics, values, says) in [
            (&[][..], &[0.5][..], "no metric"),
            (&[Mrr, MapAtR, Mrr], &[0.5; 3], "`mrr` is named twice"),
            (&[RecallAt(0)], &[0.5], "`recall@0`"),
            (
                &[Mrr, MapAtR],
                &[0.5; 3],
                "3 values do not divide into rows of 2",
            ),
            (&[Mrr], &[], "nothing to average"),
            (
                &[Mrr, MapAtR],
                &[0.5, 1.0, 0.5, 1.5],
                "map@r of query 1 is 1.5",
            ),
            (&[Mrr], &[f64::NAN], "mrr of query 0 is NaN"),
            (&[Mrr], &[-0.1], "mrr of query 0 is -0.1"),
        ] {
            let message = refused(metrics, values);
            assert!(message.contains(says), "{message}");
        }
    }
}
