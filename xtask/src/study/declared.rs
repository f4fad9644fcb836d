//! What is studied: one file declares data, claims, variants, ranges, seeds and budgets.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::select::METRIC;

/// The whole file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Study {
    /// Raised when the same settings come to mean something else, so that nothing old counts.
    pub generation: u64,
    /// Of the random search.
    pub seed: u64,
    /// What there is to train on, by name.
    pub data: BTreeMap<String, Data>,
    /// In the order of the page.
    #[serde(rename = "claim")]
    pub claims: Vec<Claim>,
    /// What `--quick` changes.
    pub quick: Quick,
}

/// Something to train on, and what trains on it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// In words.
    pub title: String,
    pub source: Source,
    /// `KEY=VALUE`, as `recall-train --set` takes them.
    #[serde(default)]
    pub settings: Vec<String>,
    /// For features: fewer rows of some classes.
    #[serde(default)]
    pub thin: Option<Thin>,
}

/// Training classes that lose most of their rows.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thin {
    /// The share of the training classes.
    pub share: f64,
    /// Rows that each of them keeps.
    pub keep: usize,
}

/// Where items come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The embedded set.
    Emoji,
    /// The file of `--features`.
    Features,
    /// The table of `--glyphs`.
    Glyphs,
}

/// A question and the runs that answer it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// In file names.
    pub name: String,
    pub title: String,
    /// What is asked, in a sentence or two.
    pub question: String,
    /// A key of [`Study::data`], for the lines that name no other.
    pub data: String,
    #[serde(default)]
    pub judge: Judge,
    /// For all its runs.
    #[serde(default)]
    pub settings: Vec<String>,
    /// What the search draws for every line, beside the line's own.
    #[serde(default)]
    pub ranges: BTreeMap<String, Range>,
    /// Settings that the search tries for each cell; the first are those declared. 0: no search.
    #[serde(default)]
    pub draws: usize,
    /// Of the runs that are reported.
    pub seeds: Vec<u64>,
    /// What is compared; others are compared with the first.
    #[serde(rename = "line")]
    pub lines: Vec<Line>,
    /// Where each line is measured; none for one place.
    #[serde(default, rename = "point")]
    pub points: Vec<Point>,
    /// What runs along the axis of points.
    #[serde(default)]
    pub axis: String,
    /// Minutes of one run on one core of a common machine, to say how long it will take.
    pub minutes: f64,
    /// Whether checkpoints are looked at, to see what the loss is worth as an estimate.
    #[serde(default)]
    pub estimate: Option<Estimate>,
}

/// By what images the reported runs are judged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Judge {
    /// All training classes train, and the last epoch's model is judged by the test classes.
    #[default]
    Test,
    /// The validation classes judge: for what chooses a default.
    Validation,
    /// As the settings have it: validation classes choose the epoch, and the test classes judge its model.
    Run,
}

/// Something that is compared.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    pub name: String,
    /// A key of [`Study::data`], where it is not the claim's.
    #[serde(default)]
    pub data: Option<String>,
    #[serde(default)]
    pub settings: Vec<String>,
    #[serde(default)]
    pub ranges: BTreeMap<String, Range>,
}

/// A place at which lines are measured.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    pub name: String,
    /// Where it stands on the axis.
    pub x: f64,
    #[serde(default)]
    pub settings: Vec<String>,
    /// More settings for one line.
    #[serde(default)]
    pub of: BTreeMap<String, Vec<String>>,
    /// Lines that are not measured here.
    #[serde(default)]
    pub without: BTreeSet<String>,
}

/// Where the search draws a setting from.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Range {
    /// Evenly in the logarithm.
    Log([f64; 2]),
    /// Evenly.
    Uniform([f64; 2]),
    /// One of these, as they are written.
    OneOf(Vec<String>),
}

/// What a checkpoint is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Estimate {
    /// Temperatures of the rank.
    pub tau_rank: Vec<f64>,
    /// Images in a batch that is estimated from.
    pub batch: usize,
    /// The k of the recall.
    pub k: usize,
}

/// A study that takes minutes: the same road with less of everything.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quick {
    /// As of a claim.
    pub minutes: f64,
    pub draws: usize,
    pub seeds: usize,
    /// At most as many lines of a claim.
    pub lines: usize,
    /// At most as many points of a claim.
    pub points: usize,
    /// For all runs, after all others.
    pub settings: Vec<String>,
}

impl Study {
    /// Reads the file and refuses what makes no sense in it.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("cannot read the study {}", path.display()))?;
        let study: Self =
            toml::from_str(&text).with_context(|| format!("{} is no study", path.display()))?;
        study.check()?;
        Ok(study)
    }

    fn check(&self) -> Result<()> {
        for (name, data) in &self.data {
            ensure!(
                data.thin.is_none() || data.source == Source::Features,
                "data {name}: only features are thinned"
            );
        }
        let mut names = BTreeSet::new();
        for claim in &self.claims {
            let name = &claim.name;
            ensure!(names.insert(name), "there are two claims named {name}");
            for data in claim.data() {
                ensure!(
                    self.data.contains_key(data),
                    "claim {name}: there is no data named {data}"
                );
            }
            ensure!(!claim.lines.is_empty(), "claim {name} compares nothing");
            ensure!(!claim.seeds.is_empty(), "claim {name} has no seeds");
            let lines: BTreeSet<&String> = claim.lines.iter().map(|line| &line.name).collect();
            ensure!(
                lines.len() == claim.lines.len(),
                "claim {name} has two lines of one name"
            );
            for point in &claim.points {
                for line in point.of.keys().chain(&point.without) {
                    ensure!(
                        lines.contains(line),
                        "claim {name}, point {}: there is no line named {line}",
                        point.name
                    );
                }
            }
            for (key, range) in
                (claim.ranges.iter()).chain(claim.lines.iter().flat_map(|line| &line.ranges))
            {
                match range {
                    Range::Log([low, high]) if 0.0 < *low && low <= high => {}
                    Range::Uniform([low, high]) if low <= high => {}
                    Range::OneOf(values) if !values.is_empty() => {}
                    _ => bail!("claim {name}: the range of {key} is empty"),
                }
            }
        }
        Ok(())
    }

    /// With less of everything.
    pub fn quick(mut self) -> Self {
        let quick = self.quick.clone();
        for claim in &mut self.claims {
            claim.minutes = quick.minutes;
            claim.draws = claim.draws.min(quick.draws);
            claim.seeds.truncate(quick.seeds);
            claim.lines.truncate(quick.lines);
            claim.points.truncate(quick.points);
            for point in &mut claim.points {
                let lines = &claim.lines;
                point
                    .of
                    .retain(|name, _| lines.iter().any(|line| line.name == *name));
            }
        }
        self
    }

    /// The claims named, or all.
    pub fn only(mut self, names: &[String]) -> Result<Self> {
        for name in names {
            ensure!(
                self.claims.iter().any(|claim| claim.name == *name),
                "there is no claim {name}; there are {}",
                self.claims
                    .iter()
                    .map(|claim| claim.name.as_str())
                    .collect::<Vec<_>>()
                    .join(", ")
            );
        }
        if !names.is_empty() {
            self.claims.retain(|claim| names.contains(&claim.name));
        }
        Ok(self)
    }
}

impl Claim {
    /// What its lines are ordered by: what chooses, where it is there to choose.
    pub fn metric(&self) -> &'static str {
        match self.judge {
            Judge::Validation => METRIC,
            Judge::Test | Judge::Run => "recall@1",
        }
    }

    /// What a line trains on.
    pub fn data_of<'a>(&'a self, line: &'a Line) -> &'a str {
        line.data.as_ref().unwrap_or(&self.data)
    }

    /// All that its lines train on.
    pub fn data(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(|line| self.data_of(line))
    }

    /// Each line at each place.
    pub fn cells(&self) -> impl Iterator<Item = (&Line, Option<&Point>)> {
        self.lines.iter().flat_map(|line| {
            let places: Vec<Option<&Point>> = match self.points.is_empty() {
                true => vec![None],
                false => (self.points.iter())
                    .filter(|point| !point.without.contains(&line.name))
                    .map(Some)
                    .collect(),
            };
            places.into_iter().map(move |point| (line, point))
        })
    }
}
