//! Fills the report of a finished run.

use std::io::Cursor;

use image::ImageFormat;
use recall_data::{Dataset, ItemId, Split, decode_rgb};

use super::TrainingRun;
use super::records::Records;
use crate::judge::Hit;
use crate::report::{Curve, GALLERY_FACT, GalleryRow, Metric, Neighbour, Picture, Report, Series};
use crate::{RunConfig, RunError};

/// Files above this size are shown as thumbnails, to keep the page light.
const INLINE_BYTES: usize = 16 << 10;

/// Longest side of a thumbnail, in pixels: twice what is shown, for dense screens.
const THUMBNAIL: u32 = 200;

/// What a run came to.
pub(super) struct Outcome<'a> {
    pub run: &'a TrainingRun,
    pub dataset: &'a Dataset,
    pub backend: String,
    pub parameters: usize,
    pub training_seconds: f64,
    pub records: &'a Records,
    pub hits: Vec<Hit>,
}

pub(super) fn report(outcome: &Outcome<'_>) -> Result<Report, RunError> {
    let time = duration(outcome.training_seconds);
    let config = &outcome.run.config;
    Ok(Report {
        title: format!("{} · {} · {time}", outcome.dataset.name(), outcome.backend),
        facts: facts(outcome, config, &time),
        metrics: metrics(outcome.records),
        curves: curves(outcome.records),
        gallery: rows(outcome.dataset, &outcome.hits)?,
        config: config.to_toml(),
    })
}

fn facts(outcome: &Outcome<'_>, config: &RunConfig, time: &str) -> Vec<(String, String)> {
    let records = outcome.records;
    let images: usize = records.steps.iter().map(|step| step.images).sum();
    let queries = records
        .evaluations
        .last()
        .map_or(0, |last| last.evaluation.queries);
    let skipped: usize = records.steps.iter().map(|step| step.skipped).sum();
    let mut facts = vec![
        ("data set", config.data.to_string()),
        ("backend", outcome.backend.clone()),
        ("parameters", outcome.parameters.to_string()),
        (
            "batch",
            format!(
                "{} images in chunks of {}",
                config.batch.size, config.batch.chunk
            ),
        ),
        (
            "training",
            format!("{} steps, {images} images, {time}", records.steps.len()),
        ),
        ("judged by", format!("{queries} queries")),
        ("seed", config.seed.to_string()),
        ("command", outcome.run.command_line.clone()),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        (
            GALLERY_FACT,
            format!(
                "Queries {}, spread evenly over the test images, the hardest first.",
                match has_seen_classes(outcome.dataset) {
                    true => "from the test images",
                    false => "from classes never seen in training",
                }
            ),
        ),
    ];
    if skipped > 0 {
        facts.insert(
            5,
            (
                "skipped",
                format!("{skipped} images that could not be read"),
            ),
        );
    }
    facts
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
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

fn metrics(records: &Records) -> Vec<Metric> {
    let before = records.evaluations.first().filter(|first| first.step == 0);
    let Some(last) = records.evaluations.last() else {
        return Vec::new();
    };
    last.evaluation
        .values
        .iter()
        .map(|&(metric, value)| Metric {
            name: metric.to_string(),
            value,
            before: before.and_then(|before| before.evaluation.get(metric)),
        })
        .collect()
}

fn curves(records: &Records) -> Vec<Curve> {
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
    };
    let line = |name: &str, points| Series {
        name: name.to_owned(),
        points,
    };
    let names = records
        .evaluations
        .first()
        .map(|first| &first.evaluation.values);
    let recall = names
        .into_iter()
        .flatten()
        .map(|&(metric, _)| {
            let points = records
                .evaluations
                .iter()
                .filter_map(|at| Some((at.epoch as f64, at.evaluation.get(metric)?)))
                .collect();
            line(&metric.to_string(), points)
        })
        .collect();
    vec![
        curve("On the test images", "epoch", recall),
        curve(
            "Loss (1 − soft recall of the batch)",
            "step",
            vec![line("loss", by_step(|s| s.loss))],
        ),
        curve(
            "Learning rate",
            "step",
            vec![line("rate", by_step(|s| Some(s.learning_rate)))],
        ),
    ]
}

fn rows(dataset: &Dataset, hits: &[Hit]) -> Result<Vec<GalleryRow>, RunError> {
    let mut hits: Vec<&Hit> = hits.iter().collect();
    hits.sort_by_key(|hit| std::cmp::Reverse(hit.first_hit_rank));
    hits.into_iter()
        .map(|hit| {
            let neighbours = hit
                .neighbours
                .iter()
                .map(|&(id, neighbour)| {
                    Ok(Neighbour {
                        picture: picture(dataset, id)?,
                        similarity: neighbour.similarity,
                        relevant: neighbour.relevant,
                    })
                })
                .collect::<Result<_, RunError>>()?;
            Ok(GalleryRow {
                query: picture(dataset, hit.query)?,
                neighbours,
                first_hit_rank: hit.first_hit_rank,
            })
        })
        .collect()
}

fn picture(dataset: &Dataset, id: ItemId) -> Result<Picture, RunError> {
    let item = &dataset.items()[id];
    let mut bytes = dataset.read(id)?.into_owned();
    if bytes.len() > INLINE_BYTES {
        let full = decode_rgb(&bytes, &item.name)?;
        let small = image::DynamicImage::ImageRgb8(full).thumbnail(THUMBNAIL, THUMBNAIL);
        let mut encoded = Cursor::new(Vec::new());
        // An image that cannot be encoded again is shown as it is.
        if small.write_to(&mut encoded, ImageFormat::Jpeg).is_ok() {
            bytes = encoded.into_inner();
        }
    }
    Ok(Picture {
        bytes,
        caption: dataset.class_names()[item.class as usize].clone(),
    })
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
