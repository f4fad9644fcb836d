//! Fills the report of a finished run.

use recall_data::{Dataset, ItemId, Split};
use recall_eval::{Comparison, Evaluation, Interval};
use recall_report::{
    Column, Curve, Distribution, Metric, MetricTable, Neighbour, Picture, QueryRow, Report, Series,
};

use super::peers::Groups;
use super::records::Records;
use super::selection::Selection;
use super::{Best, TrainingRun, left_out};
use crate::judge::{Hit, Similarities};
use crate::loss_title::loss_title;
use crate::records::{EvaluationRecord, Judged};
use crate::{Bytes, RunConfig, RunError};

/// What a run came to.
pub(super) struct Outcome<'a> {
    pub run: &'a TrainingRun,
    pub dataset: &'a Dataset,
    /// Epochs that the model was trained for that was judged.
    pub epoch: u64,
    /// How it came to be chosen; none if nothing chose.
    pub best: Option<&'a Best>,
    pub backend: String,
    pub parameters: usize,
    pub training_seconds: f64,
    /// In bytes, where it is known.
    pub peak_memory: Option<u64>,
    pub records: &'a Records,
    /// 95 % intervals of the metrics of the last evaluation, in their order; empty for none.
    pub intervals: Vec<Interval>,
    /// What it is judged by, if there is anything.
    pub result: Option<&'a EvaluationRecord>,
    /// The metrics of the same model on the validation classes, where it is judged by others.
    pub validation: Option<&'a Evaluation>,
    /// The test images among as many classes as validation has.
    pub peers: Option<(Groups, Evaluation)>,
    /// Of the test images.
    pub similarities: Option<Similarities>,
    pub hits: Vec<Hit>,
    /// Of a head, the features as they came beside it.
    pub comparison: Option<&'a [Comparison]>,
}

pub(super) fn fill(outcome: &Outcome<'_>) -> Result<Report, RunError> {
    let time = duration(outcome.training_seconds);
    let config = &outcome.run.config;
    Ok(Report {
        title: format!("{} · {} · {time}", outcome.dataset.name(), outcome.backend),
        facts: facts(outcome, config, &time),
        metrics: metrics(outcome),
        columns: columns(outcome),
        about_before: match outcome.comparison {
            Some(_) => "the features as they came".to_owned(),
            None => "the network before its first step".to_owned(),
        },
        judged: judged(outcome),
        other_table: (outcome.peers.as_ref())
            .map(|(groups, among_as_many)| peers(outcome, groups, among_as_many)),
        curves: curves(outcome.records, config),
        similarities: outcome.similarities.clone().map(distribution),
        queries: rows(outcome.dataset, &outcome.hits)?,
        about_queries: about_queries(outcome),
        config: config.to_toml(),
    })
}

/// What identifies the run, in the order of the page.
fn facts(outcome: &Outcome<'_>, config: &RunConfig, time: &str) -> Vec<(String, String)> {
    let records = outcome.records;
    let images: usize = records.steps.iter().map(|step| step.images).sum();
    let facts = [
        ("data set", Some(config.data.to_string())),
        ("backend", Some(outcome.backend.clone())),
        ("parameters", Some(outcome.parameters.to_string())),
        (
            "batch",
            Some(format!(
                "{} images in chunks of {}",
                config.batch.size, config.batch.chunk
            )),
        ),
        (
            "training",
            Some(format!(
                "{} steps, {images} images, {time}",
                records.steps.len()
            )),
        ),
        ("skipped", skipped(records)),
        (
            "peak memory",
            outcome.peak_memory.map(|peak| Bytes(peak).rounded()),
        ),
        ("judged by", Some(judged_by(outcome.result))),
        (
            "started from",
            Some(match &config.model.weights {
                Some(weights) => weights.display().to_string(),
                None => "random weights".to_owned(),
            }),
        ),
        ("seed", Some(config.seed.to_string())),
        ("command", Some(outcome.run.command_line.clone())),
        ("version", Some(env!("CARGO_PKG_VERSION").to_owned())),
    ];
    facts
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
}

/// Which images could not be read, if there are any.
fn skipped(records: &Records) -> Option<String> {
    let (count, named) = left_out::count(records.unread())?;
    let images = match count {
        1 => "1 image".to_owned(),
        many => format!("{many} images"),
    };
    Some(format!("{images} that could not be read: {named}"))
}

fn judged_by(result: Option<&EvaluationRecord>) -> String {
    let Some(result) = result else {
        return "nothing: there were neither test nor validation images".to_owned();
    };
    let queries = result.evaluation.queries;
    match result.split {
        Judged::Test => format!("{queries} queries"),
        Judged::Validation => format!(
            "{queries} queries of the validation images, which chose the epoch: there were no test images"
        ),
    }
}

fn about_queries(outcome: &Outcome<'_>) -> String {
    format!(
        "Queries {}: {}.",
        match outcome.result.map(|result| result.split) {
            Some(Judged::Validation) => "from the validation images",
            _ if has_seen_classes(outcome.dataset) => "from the test images",
            _ => "from classes never seen in training",
        },
        choice(outcome.hits.len()),
    )
}

/// How [`LabelledSet::sample`](crate::judge::LabelledSet::sample) came to so many queries.
pub(crate) fn choice(queries: usize) -> String {
    let worst = match queries.div_ceil(2) {
        1 => "the one whose first right answer comes last".to_owned(),
        many => format!("the {many} whose first right answer comes last"),
    };
    match queries / 2 {
        0 => worst,
        others => format!("{worst}, then {others} spread evenly over the others"),
    }
}

/// Whether a class has both training and test images.
fn has_seen_classes(dataset: &Dataset) -> bool {
    let mut trained = vec![false; dataset.class_names().len()];
    for label in dataset.labels(dataset.split(Split::Train)) {
        trained[label as usize] = true;
    }
    let test = dataset.labels(dataset.split(Split::Test));
    test.into_iter().any(|label| trained[label as usize])
}

/// Which model the figures are of, and why of that one.
fn judged(outcome: &Outcome<'_>) -> Vec<String> {
    let config = &outcome.run.config;
    let (epoch, epochs) = (outcome.epoch, config.epochs);
    let Some(result) = outcome.result else {
        return Vec::new();
    };
    let beside = match result.split {
        Judged::Test => "The test images chose nothing.",
        Judged::Validation => {
            "There were no test images: the figures are those of the images that chose, and rather too good."
        }
    };
    let chosen = match outcome.best {
        Some(best) => format!(
            "The model judged is that after epoch {epoch} of {epochs}: {}. {beside}",
            Selection::new(&config.evaluation).reason(outcome.records, best)
        ),
        None => format!(
            "The model judged is that after the last epoch, {epoch}: there were no validation classes to \
             choose another one by."
        ),
    };
    std::iter::once(chosen)
        .chain(outcome.comparison.and_then(gain))
        .collect()
}

/// What a head adds to the features that it was given, by the first metric.
fn gain(comparison: &[Comparison]) -> Option<String> {
    let of = comparison.first()?;
    let points = |share: f64| format!("{:+.1}", 100.0 * share);
    Some(format!(
        "Query by query, the head changes the {} of the features as they came by {} points, with a 95 % \
         interval from {} to {} (p = {:.4}).",
        of.metric,
        points(of.difference),
        points(of.interval.low),
        points(of.interval.high),
        of.p_value
    ))
}

/// Test and validation among as many classes, and how they come to be judged so.
fn peers(outcome: &Outcome<'_>, groups: &Groups, among_as_many: &Evaluation) -> MetricTable {
    let Groups {
        validation,
        test,
        count,
        ..
    } = groups;
    let of_validation = outcome.validation.into_iter();
    MetricTable {
        title: "Validation and test among as many classes".to_owned(),
        columns: of_validation
            .map(|of| column("validation", outcome, of))
            .chain([column("test", outcome, among_as_many)])
            .collect(),
        about: format!(
            "The more classes, the more there is to confuse an image with: validation has {validation} and \
             the test {test}. Here the test classes are dealt into {count} groups by a hash of their names, \
             about {} to a group, and each test image searches its own group alone.",
            (test + count / 2) / count
        ),
    }
}

fn metrics(outcome: &Outcome<'_>) -> Vec<Metric> {
    let Some(last) = outcome.result else {
        return Vec::new();
    };
    let before = outcome.records.before(last);
    let before = |at: usize, metric| match outcome.comparison {
        Some(comparison) => comparison.get(at).map(|of| of.first),
        None => before.and_then(|before| before.get(metric)),
    };
    last.evaluation
        .values
        .iter()
        .enumerate()
        .map(|(at, &(metric, value))| Metric {
            name: metric.to_string(),
            value,
            interval: (outcome.intervals.get(at)).map(|&Interval { low, high }| (low, high)),
            before: before(at, metric),
        })
        .collect()
}

/// Columns beside those: validation, unless a table of its own sets it beside the test among as many
/// classes.
fn columns(outcome: &Outcome<'_>) -> Vec<Column> {
    match (outcome.validation, &outcome.peers) {
        (Some(validation), None) => vec![column("validation", outcome, validation)],
        _ => Vec::new(),
    }
}

/// A column with what `of` has for each of the metrics.
fn column(name: &str, outcome: &Outcome<'_>, of: &Evaluation) -> Column {
    let metrics = outcome.result.map(|result| &result.evaluation.values);
    let metrics = metrics.into_iter().flatten();
    Column {
        name: name.to_owned(),
        shares: metrics.map(|&(metric, _)| of.get(metric)).collect(),
    }
}

fn distribution(of: Similarities) -> Distribution {
    let Similarities {
        low,
        high,
        positive,
        negative,
        positive_mean,
        negative_mean,
    } = of;
    Distribution {
        low,
        high,
        positive,
        negative,
        positive_mean,
        negative_mean,
    }
}

fn curves(records: &Records, config: &RunConfig) -> Vec<Curve> {
    let by_step = |value: fn(&super::StepRecord) -> Option<f64>| {
        let steps = records.steps.iter();
        steps
            .filter_map(|step| Some((step.step as f64, value(step)?)))
            .collect::<Vec<_>>()
    };
    let curve = |title: &str, x: &str, series: Vec<Series>| Curve {
        title: title.to_owned(),
        x: x.to_owned(),
        y: String::new(),
        series,
        shares: false,
        marks: Vec::new(),
    };
    let line = |name: &str, points| Series {
        name: name.to_owned(),
        points,
        parts: Vec::new(),
    };
    let judged = |split: Judged| {
        let first = records.of(split).next();
        let names = first.map(|first| &first.evaluation.values);
        let series = names.into_iter().flatten().map(|&(metric, _)| {
            let points = records
                .of(split)
                .filter_map(|at| Some((at.epoch as f64, at.evaluation.get(metric)?)))
                .collect();
            line(&metric.to_string(), points)
        });
        series.collect::<Vec<_>>()
    };
    let mut curves = Vec::new();
    for (split, title) in [
        (Judged::Validation, "On the validation classes"),
        (Judged::Test, "On the test images"),
    ] {
        // A single judgement is in the table, and no curve.
        if records.of(split).nth(1).is_some() {
            curves.push(Curve {
                shares: true,
                marks: Vec::new(),
                ..curve(title, "epoch", judged(split))
            });
        }
    }
    curves.extend([
        curve(
            &loss_title([config.loss.kind]),
            "step",
            vec![line("loss", by_step(|s| s.loss))],
        ),
        curve(
            "Length of the gradient",
            "step",
            vec![line("length", by_step(|s| s.gradient_norm))],
        ),
        curve(
            "Learning rate",
            "step",
            vec![line("rate", by_step(|s| Some(s.learning_rate)))],
        ),
    ]);
    curves
}

fn rows(dataset: &Dataset, hits: &[Hit]) -> Result<Vec<QueryRow>, RunError> {
    hits.iter()
        .map(|hit| {
            let neighbours = hit
                .neighbours
                .iter()
                .map(|&(id, neighbour)| {
                    Ok(Neighbour {
                        picture: picture(dataset, id)?,
                        similarity: neighbour.similarity,
                        relevant: Some(neighbour.relevant),
                    })
                })
                .collect::<Result<_, RunError>>()?;
            Ok(QueryRow {
                query: picture(dataset, hit.query)?,
                neighbours,
                first_hit_rank: hit.first_hit_rank,
            })
        })
        .collect()
}

fn picture(dataset: &Dataset, id: ItemId) -> Result<Picture, RunError> {
    let class = dataset.item(id)?.class as usize;
    let caption = dataset.class_names()[class].clone();
    // Of features the pictures are only shown: where there are none, names are.
    let pixels = match (dataset.features(), dataset.pixels(id)) {
        (Some(_), Err(_)) => {
            let name = &dataset.items()[id].name;
            return Ok(Picture {
                bytes: Vec::new(),
                caption: format!("{name} · {caption}"),
            });
        }
        (_, pixels) => pixels?,
    };
    Ok(Picture::of(pixels, caption))
}

/// Seconds as a person would say them.
pub(crate) fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, _) => format!("{seconds:.1} s"),
        (0, minutes, rest) => format!("{minutes} min {rest} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}
