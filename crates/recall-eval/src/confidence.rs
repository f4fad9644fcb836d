//! How far a mean can be trusted, and the difference of two.
//!
//! The queries of a test set are a sample: another one of its size would have given another mean.
//! The bootstrap (Efron, 1979) draws as many queries from those there are, with replacement, again
//! and again; between the percentiles of the means lies the interval. Two sets of embeddings are
//! compared query by query, which takes out what makes a query easy or hard for both: the interval
//! is that of the mean difference, and the p-value is that of the randomisation test which flips
//! the sign of differences at random (Fisher, 1935; for retrieval Smucker, Allan and Carterette,
//! 2007).
//!
//! The queries of a class resemble each other, so intervals from single queries are too narrow
//! where classes are large: [`Units::Classes`] draws whole classes instead.

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::random::below;
use crate::scores::add;
use crate::{EvalError, Metric, Scores};

/// How to resample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bootstrap {
    /// Number of resamples. Default: 2,000.
    pub resamples: usize,
    /// The share of resamples within the interval, between 0 and 1. Default: 0.95.
    pub level: f64,
    /// Default: 0. The same seed gives the same result, whatever the number of threads.
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self {
            resamples: 2_000,
            level: 0.95,
            seed: 0,
        }
    }
}

/// What is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Units<'a> {
    /// Single queries.
    #[default]
    Queries,
    /// Classes with all of their queries. One label for each query, those that do not count
    /// included.
    Classes(&'a [i64]),
}

/// Where a mean lies, with the confidence asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

/// Two sets of embeddings by one metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// The metric.
    pub metric: Metric,
    /// The mean of the first.
    pub first: f64,
    /// The mean of the second.
    pub second: f64,
    /// The second less the first.
    pub difference: f64,
    /// The interval of the difference.
    pub interval: Interval,
    /// How often a difference as great, of either sign, comes about if the two are equally good.
    pub p_value: f64,
}

impl Bootstrap {
    /// The interval of the mean of each metric, in the order of [`Scores::metrics`].
    ///
    /// ```
    /// use recall_eval::{Bootstrap, Metric, Policy, PositiveRanks, Scores, Units};
    ///
    /// // Half of a hundred queries find a positive first.
    /// let lists: Vec<_> = (0..100).map(|q| vec![1 + q % 2]).collect();
    /// let ranks = PositiveRanks::from_lists(&lists, vec![9; 100])?;
    /// let scores = Scores::new(&ranks, &[Metric::RecallAt(1)], Policy::default())?;
    /// let interval = Bootstrap::default().intervals(&scores, Units::Queries)?[0];
    /// assert!((0.38..0.43).contains(&interval.low) && (0.57..0.62).contains(&interval.high));
    /// # Ok::<(), recall_eval::EvalError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If there is no resample, if the level is not between 0 and 1, or if there is not one label
    /// for each query.
    pub fn intervals(&self, scores: &Scores, units: Units<'_>) -> Result<Vec<Interval>, EvalError> {
        let sample = Sample::new(scores, scores.rows().map(<[f64]>::to_vec), units)?;
        Ok(self.percentiles(&sample.means_of_resamples(self.checked()?)))
    }

    /// Compares the second set of scores with the first, metric by metric.
    ///
    /// # Errors
    ///
    /// Those of [`intervals`](Self::intervals), and if the two differ in their metrics or in the
    /// queries that count.
    pub fn compare(
        &self,
        first: &Scores,
        second: &Scores,
        units: Units<'_>,
    ) -> Result<Vec<Comparison>, EvalError> {
        if first.metrics() != second.metrics() || first.queries() != second.queries() {
            return Err(EvalError::NotPaired {
                first: first.queries().len(),
                second: second.queries().len(),
            });
        }
        let differences = first.rows().zip(second.rows()).map(|(first, second)| {
            let difference = second
                .iter()
                .zip(first)
                .map(|(second, first)| second - first);
            difference.collect()
        });
        let sample = Sample::new(first, differences, units)?;
        let bootstrap = self.checked()?;
        let intervals = self.percentiles(&sample.means_of_resamples(bootstrap));
        let p_values = sample.p_values(bootstrap);
        let means = [first, second].map(Scores::evaluation);
        let rows = first
            .metrics()
            .iter()
            .zip(intervals.into_iter().zip(p_values));
        Ok(rows
            .enumerate()
            .map(|(at, (&metric, (interval, p_value)))| {
                let [first, second] = [0, 1].map(|side: usize| means[side].values[at].1);
                Comparison {
                    metric,
                    first,
                    second,
                    difference: second - first,
                    interval,
                    p_value,
                }
            })
            .collect())
    }

    fn checked(&self) -> Result<&Self, EvalError> {
        let valid = self.resamples > 0 && self.level > 0.0 && self.level < 1.0;
        valid.then_some(self).ok_or(EvalError::InvalidBootstrap {
            resamples: self.resamples,
            level: self.level,
        })
    }

    /// `means`: `[resamples][metrics]`.
    fn percentiles(&self, means: &[Vec<f64>]) -> Vec<Interval> {
        let tail = (1.0 - self.level) / 2.0;
        let columns = means.first().map_or(0, Vec::len);
        (0..columns)
            .map(|column| {
                let mut sorted: Vec<f64> = means.iter().map(|means| means[column]).collect();
                sorted.sort_unstable_by(f64::total_cmp);
                // As many resamples are cut off below as above.
                let cut = (tail * sorted.len() as f64).floor() as usize;
                Interval {
                    low: sorted[cut],
                    high: sorted[sorted.len() - 1 - cut],
                }
            })
            .collect()
    }

    /// The generator of one resample. ChaCha has a stream for each.
    fn generator(&self, use_for: Use, resample: usize) -> ChaCha8Rng {
        let mut generator = ChaCha8Rng::seed_from_u64(self.seed);
        generator.set_stream(2 * resample as u64 + use_for as u64);
        generator
    }
}

#[derive(Clone, Copy)]
enum Use {
    Drawing = 0,
    Signs = 1,
}

/// Sums over the queries of each unit.
struct Sample {
    columns: usize,
    /// `[units, columns]`
    sums: Vec<f64>,
    /// Queries of each unit.
    counts: Vec<f64>,
}

impl Sample {
    fn new(
        scores: &Scores,
        rows: impl ExactSizeIterator<Item = Vec<f64>>,
        units: Units<'_>,
    ) -> Result<Self, EvalError> {
        let columns = scores.metrics().len();
        let Units::Classes(labels) = units else {
            return Ok(Self {
                columns,
                counts: vec![1.0; rows.len()],
                sums: rows.flatten().collect(),
            });
        };
        let mut classes: BTreeMap<i64, (Vec<f64>, f64)> = BTreeMap::new();
        for (label, row) in scores.labels(labels)?.zip(rows) {
            let (sums, count) = classes
                .entry(label)
                .or_insert_with(|| (vec![0.0; columns], 0.0));
            add(sums, &row);
            *count += 1.0;
        }
        Ok(Self {
            columns,
            counts: classes.values().map(|(_, count)| *count).collect(),
            sums: classes.into_values().flat_map(|(sums, _)| sums).collect(),
        })
    }

    fn units(&self) -> usize {
        self.counts.len()
    }

    /// `[resamples][columns]`
    fn means_of_resamples(&self, bootstrap: &Bootstrap) -> Vec<Vec<f64>> {
        let resamples = (0..bootstrap.resamples).into_par_iter();
        resamples
            .map(|resample| {
                let mut generator = bootstrap.generator(Use::Drawing, resample);
                let (mut sums, mut count) = (vec![0.0; self.columns], 0.0);
                for _ in 0..self.units() {
                    let unit = below(&mut generator, self.units());
                    add(&mut sums, &self.sums[unit * self.columns..][..self.columns]);
                    count += self.counts[unit];
                }
                sums.into_iter().map(|sum| sum / count).collect()
            })
            .collect()
    }

    /// The share of random signs that give sums as far from 0, those found counted as one of them.
    fn p_values(&self, bootstrap: &Bootstrap) -> Vec<f64> {
        let mut found = vec![0.0; self.columns];
        self.sums
            .chunks_exact(self.columns)
            .for_each(|row| add(&mut found, row));
        let as_far: Vec<Vec<bool>> = (0..bootstrap.resamples)
            .into_par_iter()
            .map(|resample| {
                let mut generator = bootstrap.generator(Use::Signs, resample);
                let mut sums = vec![0.0; self.columns];
                let (mut bits, mut left) = (0, 0);
                for row in self.sums.chunks_exact(self.columns) {
                    if left == 0 {
                        (bits, left) = (generator.next_u64(), 64);
                    }
                    let sign = if bits & 1 == 0 { 1.0 } else { -1.0 };
                    (bits, left) = (bits >> 1, left - 1);
                    for (sum, value) in sums.iter_mut().zip(row) {
                        *sum += sign * value;
                    }
                }
                // What is equal but for rounding is as far.
                (sums.iter().zip(&found))
                    .map(|(sum, found)| sum.abs() >= found.abs() - 1e-9 * found.abs().max(1.0))
                    .collect()
            })
            .collect();
        (0..self.columns)
            .map(|column| {
                let count = as_far.iter().filter(|of| of[column]).count();
                (count + 1) as f64 / (bootstrap.resamples + 1) as f64
            })
            .collect()
    }
}
