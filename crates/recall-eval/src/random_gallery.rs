//! A gallery of one random item for each class, drawn several times: the protocol of VehicleID (Liu,
//! Tian, Yang, Pang, Huang, "Deep Relative Distance Learning", 2016).
//!
//! The items that were not drawn are the queries. Means over draws are reported, usually of ten.

use std::collections::BTreeMap;
use std::fmt;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::random::below;
use crate::{Embeddings, EvalError, Evaluation, Metric, Policy, Retrieval, Scores};

/// How to draw galleries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RandomGallery {
    /// Number of draws. Default: 10.
    pub draws: usize,
    /// Default: 0. The same seed gives the same galleries, whatever the embeddings.
    pub seed: u64,
}

impl Default for RandomGallery {
    fn default() -> Self {
        Self { draws: 10, seed: 0 }
    }
}

/// The means of some metrics over draws.
///
/// `Display` writes a metric a line, `recall@1  0.9432 ± 0.0021`. `Serialize` writes one object: the
/// names of the metrics with their means, those names with `_std` behind them with the standard
/// deviations, `draws`, and then what an [`Evaluation`] has of one draw.
#[derive(Clone, Debug, PartialEq)]
pub struct Draws {
    /// Each metric, its mean and the sample standard deviation (that divides by one less than the
    /// number of draws; 0 for a single draw).
    pub values: Vec<(Metric, f64, f64)>,
    /// One for each draw.
    pub evaluations: Vec<Evaluation>,
}

impl RandomGallery {
    /// The gallery of a draw: one row of each class, in the order of the labels' values.
    pub fn gallery(&self, labels: &[i64], draw: usize) -> Vec<usize> {
        let mut classes: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
        for (row, &label) in labels.iter().enumerate() {
            classes.entry(label).or_default().push(row);
        }
        let mut generator = ChaCha8Rng::seed_from_u64(self.seed);
        generator.set_stream(draw as u64);
        (classes.values())
            .map(|rows| rows[below(&mut generator, rows.len())])
            .collect()
    }

    /// Judges embeddings by all draws.
    ///
    /// ```
    /// use recall_eval::{Embeddings, Metric, Policy, RandomGallery};
    ///
    /// // Two classes far apart: whatever is drawn, the others find it.
    /// let embeddings = Embeddings::new(vec![1.0, 0.1, 1.0, 0.2, 0.1, 1.0, 0.2, 1.0, 0.0, 1.0], 2)?;
    /// let metrics = [Metric::RecallAt(1)];
    /// let draws = RandomGallery::default();
    /// let judged = draws.evaluate(&embeddings, &[3, 3, 4, 4, 4], &metrics, Policy::default())?;
    /// assert_eq!(judged.to_string(), "recall@1  1.0000 ± 0.0000");
    /// # Ok::<(), recall_eval::EvalError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If there is no draw, if there is not one label for each row, if every class has one item, so
    /// that there are no queries, and those of [`Retrieval::ranks`] and [`Scores::new`].
    pub fn evaluate(
        &self,
        embeddings: &Embeddings,
        labels: &[i64],
        metrics: &[Metric],
        policy: Policy,
    ) -> Result<Draws, EvalError> {
        if self.draws == 0 {
            return Err(EvalError::NoDraw);
        }
        if labels.len() != embeddings.rows() {
            return Err(EvalError::LabelCount {
                what: "embeddings",
                labels: labels.len(),
                rows: embeddings.rows(),
            });
        }
        let evaluations = (0..self.draws)
            .map(|draw| self.draw(draw, embeddings, labels, metrics, policy))
            .collect::<Result<Vec<_>, _>>()?;
        let metrics = evaluations[0].values.iter().map(|(metric, _)| *metric);
        let values = metrics.enumerate().map(|(at, metric)| {
            let values = || evaluations.iter().map(|evaluation| evaluation.values[at].1);
            let mean = values().sum::<f64>() / self.draws as f64;
            let squares: f64 = values().map(|value| (value - mean).powi(2)).sum();
            let others = self.draws.saturating_sub(1).max(1);
            (metric, mean, (squares / others as f64).sqrt())
        });
        Ok(Draws {
            values: values.collect(),
            evaluations,
        })
    }

    fn draw(
        &self,
        draw: usize,
        embeddings: &Embeddings,
        labels: &[i64],
        metrics: &[Metric],
        policy: Policy,
    ) -> Result<Evaluation, EvalError> {
        let gallery = self.gallery(labels, draw);
        let mut is_query = vec![true; labels.len()];
        gallery.iter().for_each(|&row| is_query[row] = false);
        let queries: Vec<usize> = (0..labels.len()).filter(|&row| is_query[row]).collect();
        if queries.is_empty() {
            return Err(EvalError::NothingToAverage { queries: 0 });
        }
        let labels_of =
            |rows: &[usize]| -> Vec<i64> { rows.iter().map(|&row| labels[row]).collect() };
        let (query_labels, gallery_labels) = (labels_of(&queries), labels_of(&gallery));
        let (queries, gallery) = (embeddings.select(&queries)?, embeddings.select(&gallery)?);
        let ranks =
            Retrieval::query_against_gallery(&queries, &query_labels, &gallery, &gallery_labels)?
                .ranks()?;
        Ok(Scores::new(&ranks, metrics, policy)?.evaluation())
    }
}

impl fmt::Display for Draws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.values.iter().map(|(metric, ..)| metric.to_string());
        let names: Vec<String> = names.collect();
        let width = names.iter().map(String::len).max().unwrap_or(0);
        for (line, (name, (_, mean, std))) in names.iter().zip(&self.values).enumerate() {
            let end_of_last = if line == 0 { "" } else { "\n" };
            write!(f, "{end_of_last}{name:width$}  {mean:.4} ± {std:.4}")?;
        }
        Ok(())
    }
}

impl Serialize for Draws {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (metric, mean, std) in &self.values {
            map.serialize_entry(metric, mean)?;
            map.serialize_entry(&format!("{metric}_std"), std)?;
        }
        map.serialize_entry("draws", &self.evaluations.len())?;
        if let Some(first) = self.evaluations.first() {
            map.serialize_entry("queries", &first.queries)?;
            map.serialize_entry("without_positives", &first.without_positives)?;
        }
        // Of all draws: where one depends on ties, so does the mean.
        let tied: usize = self
            .evaluations
            .iter()
            .map(|evaluation| evaluation.tied)
            .sum();
        map.serialize_entry("tied", &tied)?;
        map.end()
    }
}
