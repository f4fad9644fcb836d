//! A comparison as a page.

use recall_eval::Metric;

use super::{FinishedRun, RunComparison, RunGroup};
use crate::Judged;
use crate::loss_title::loss_title;
use recall_report::{ComparisonPage, ComparisonRow, Curve, Series};

impl RunComparison {
    /// The page with the table, and with a metric and the loss of each of its rows over time, from the
    /// `runs` that were compared: the metric by which the first run chose its checkpoint, if all have
    /// it, on the validation classes, if all were judged on some.
    pub fn page(&self, runs: &[FinishedRun]) -> ComparisonPage {
        let count = match self.groups.iter().map(|group| group.runs.len()).sum() {
            1_usize => "One run".to_owned(),
            count => format!("{count} runs"),
        };
        ComparisonPage {
            title: count,
            columns: self.columns(),
            rows: (self.groups.iter())
                .map(|group| ComparisonRow {
                    name: group.label.clone(),
                    cells: group.cells(),
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
        let selecting = first.config.evaluation.selecting();
        let metric = match self.metrics.contains(&selecting) {
            true => selecting,
            false => self.metrics[0],
        };
        let validated = |run: &FinishedRun| !points(run, Judged::Validation, metric).is_empty();
        let (split, images) = match runs.iter().all(validated) {
            true => (Judged::Validation, "validation"),
            false => (Judged::Test, "test"),
        };
        let curve =
            |title: String, x: &str, shares, points: &dyn Fn(&FinishedRun) -> Points| Curve {
                title,
                x: x.to_owned(),
                y: String::new(),
                series: (self.groups.iter())
                    .map(|group| line(group, runs, points))
                    .collect(),
                shares,
                marks: Vec::new(),
            };
        vec![
            curve(
                format!("{metric} on the {images} images"),
                "epoch",
                true,
                &|run| points(run, split, metric),
            ),
            curve(
                loss_title(runs.iter().map(|run| run.config.loss.kind)),
                "step",
                false,
                &|run| {
                    let steps = run.steps.iter();
                    steps
                        .map(|at| (at.step as f64, at.loss.unwrap_or(f64::NAN)))
                        .collect()
                },
            ),
        ]
    }
}

type Points = Vec<(f64, f64)>;

/// The line of a row of the table, by the row's name: that of its run, or the mean of those of its runs.
fn line(group: &RunGroup, runs: &[FinishedRun], points: &dyn Fn(&FinishedRun) -> Points) -> Series {
    let of_group = runs.iter().filter(|run| group.runs.contains(&run.folder));
    let mut parts: Vec<Points> = of_group.map(points).collect();
    let points = match &parts[..] {
        [_] => parts.pop().unwrap_or_default(),
        several => mean(several),
    };
    Series {
        name: group.label.clone(),
        points,
        parts,
    }
}

/// Point by point, over the lines that have one there.
fn mean(lines: &[Points]) -> Points {
    let mut points: Points = lines.concat();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mean = |of: &[(f64, f64)]| {
        let sum: f64 = of.iter().map(|point| point.1).sum();
        (of[0].0, sum / of.len() as f64)
    };
    points.chunk_by(|a, b| a.0 == b.0).map(mean).collect()
}

/// Epoch and value of a metric.
fn points(run: &FinishedRun, split: Judged, metric: Metric) -> Points {
    let judged = run.evaluations.iter().filter(|at| at.split == split);
    judged
        .filter_map(|at| Some((at.epoch as f64, at.evaluation.get(metric)?)))
        .collect()
}
