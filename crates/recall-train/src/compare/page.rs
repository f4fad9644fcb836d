//! A comparison as a page.

use std::path::PathBuf;

use recall_eval::Metric;

use super::text::lines;
use super::{FinishedRun, JudgedSplit, RunComparison, label};
use crate::report::{ComparisonPage, ComparisonRow, Curve, Series};

impl RunComparison {
    /// The page with the table, and with a metric and the loss of all `runs` over time: the metric by
    /// which the first run chose its checkpoint, if all have it, on the validation classes, if all
    /// were judged on some.
    pub fn page(&self, runs: &[FinishedRun]) -> ComparisonPage {
        let count = match runs.len() {
            1 => "One run".to_owned(),
            count => format!("{count} runs"),
        };
        ComparisonPage {
            title: count,
            columns: self.columns(),
            rows: (self.groups.iter())
                .map(|group| ComparisonRow {
                    name: group.label.clone(),
                    cells: std::iter::once(vec![group.runs.len().to_string()])
                        .chain(group.results.iter().map(lines))
                        .collect(),
                })
                .collect(),
            notes: self.sentences(),
            curves: self.curves(runs),
        }
    }

    fn curves(&self, runs: &[FinishedRun]) -> Vec<Curve> {
        let Some(first) = runs.first() else {
            return Vec::new();
        };
        let folders: Vec<PathBuf> = runs.iter().map(|run| run.folder.clone()).collect();
        let names = label::names(&folders);
        let lines = |points: &dyn Fn(&FinishedRun) -> Vec<(f64, f64)>| -> Vec<Series> {
            let series = |(name, run): (&String, &FinishedRun)| Series {
                name: name.clone(),
                points: points(run),
            };
            names.iter().zip(runs).map(series).collect()
        };
        let selecting = first.config.evaluation.selecting();
        let metric = match self.metrics.contains(&selecting) {
            true => selecting,
            false => self.metrics[0],
        };
        let validated =
            |run: &FinishedRun| !points(run, JudgedSplit::Validation, metric).is_empty();
        let (split, images) = match runs.iter().all(validated) {
            true => (JudgedSplit::Validation, "validation"),
            false => (JudgedSplit::Test, "test"),
        };
        let curve = |title: String, x: &str, series| Curve {
            title,
            x: x.to_owned(),
            y: String::new(),
            series,
        };
        vec![
            curve(
                format!("{metric} on the {images} images"),
                "epoch",
                lines(&|run| points(run, split, metric)),
            ),
            curve(
                "Loss (1 − soft recall of the batch)".to_owned(),
                "step",
                lines(&|run| {
                    let losses = run.losses.iter();
                    losses.map(|&(step, loss)| (step as f64, loss)).collect()
                }),
            ),
        ]
    }
}

/// Epoch and value of a metric.
fn points(run: &FinishedRun, split: JudgedSplit, metric: Metric) -> Vec<(f64, f64)> {
    let judged = run.evaluations.iter().filter(|at| at.split == split);
    judged
        .filter_map(|at| {
            let (_, value) = at.values.iter().find(|(of, _)| *of == metric)?;
            Some((at.epoch as f64, *value))
        })
        .collect()
}
