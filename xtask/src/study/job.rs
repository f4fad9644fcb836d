//! One training run of a study, and what tells it from all others.

use recall_train::RunConfig;
use sha2::{Digest, Sha256};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::declared::{Claim, Estimate, Judge, Line, Point, Source, Study};
use super::draw;

/// The share of the training classes that judge while settings are searched.
const HELD_OUT: f64 = 0.25;

/// Of the runs of a search: reported runs have others.
const SEARCH_SEED: u64 = 1_000_000;

/// A run: what it trains on, how, and what may judge it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The hash of all below.
    pub id: String,
    /// A key of the study's data.
    pub data: String,
    /// `KEY=VALUE`, each key once.
    pub settings: Vec<String>,
    pub seed: u64,
    /// Whether the test classes judge it. A run of a search never sees them.
    pub sees_test: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate: Option<Estimate>,
}

/// Each line at each place: what is searched and reported together.
#[derive(Debug, Clone)]
pub struct Cell<'a> {
    pub claim: &'a Claim,
    pub line: &'a Line,
    pub point: Option<&'a Point>,
    settings: Vec<String>,
    study: &'a Study,
    quick: bool,
}

impl Study {
    /// All cells of a claim.
    pub fn cells<'a>(&'a self, claim: &'a Claim, quick: bool) -> Vec<Cell<'a>> {
        claim
            .cells()
            .map(|(line, point)| {
                let mut settings = Vec::new();
                let mut put = |more: &[String]| {
                    more.iter()
                        .for_each(|setting| assign(&mut settings, setting))
                };
                let data = &self.data[claim.data_of(line)];
                put(&data.settings);
                put(&claim.settings);
                put(&line.settings);
                if let Some(point) = point {
                    put(&point.settings);
                    put(point.of.get(&line.name).map_or(&[], Vec::as_slice));
                }
                if quick {
                    let learns_rows = data.source == Source::Features;
                    let of_images = |setting: &&String| {
                        setting.starts_with("model.") || setting.starts_with("image.")
                    };
                    for setting in &self.quick.settings {
                        if !(learns_rows && of_images(&setting)) {
                            put(std::slice::from_ref(setting));
                        }
                    }
                }
                Cell {
                    claim,
                    line,
                    point,
                    settings,
                    study: self,
                    quick,
                }
            })
            .collect()
    }
}

impl Cell<'_> {
    /// Line and place.
    pub fn name(&self) -> String {
        match self.point {
            Some(point) => format!("{} at {}", self.line.name, point.name),
            None => self.line.name.clone(),
        }
    }

    /// The runs of the search, which see validation classes alone.
    pub fn draws(&self) -> Vec<Job> {
        (0..self.claim.draws)
            .map(|number| {
                let mut settings = self.settings.clone();
                for (key, value) in self.drawn(number) {
                    assign(&mut settings, &format!("{key}={value}"));
                }
                self.job(settings, SEARCH_SEED, false)
            })
            .collect()
    }

    /// What a draw changes: the first one nothing.
    fn drawn(&self, number: usize) -> Vec<(String, String)> {
        if number == 0 {
            return Vec::new();
        }
        // A draw belongs to its cell and number, so that more draws or lines change none of those before.
        let place = self.point.map_or("", |point| &point.name);
        let of = format!("{} {} {place} {number}", self.claim.name, self.line.name);
        let ranges = self.claim.ranges.iter().chain(&self.line.ranges);
        draw::draw(self.study.seed, &of, ranges)
    }

    /// The runs that are reported, with these settings: those of the cell, or what a search found best.
    pub fn finals(&self, best: Option<&[String]>) -> Vec<Job> {
        let settings = best.unwrap_or(&self.settings);
        (self.claim.seeds.iter())
            .map(|&seed| match self.claim.judge {
                Judge::Test => self.job(settings.to_vec(), seed, true),
                Judge::Validation => self.job(settings.to_vec(), seed, false),
                Judge::Run => self.hashed(settings.to_vec(), seed, true),
            })
            .collect()
    }

    /// The settings in which the best ones differ from those declared.
    pub fn changed<'a>(&self, best: &'a [String]) -> Vec<&'a String> {
        best.iter()
            .filter(|setting| !self.settings.contains(setting))
            .filter(|setting| {
                key(setting) != "evaluation.validation" && key(setting) != "evaluation.test"
            })
            .collect()
    }

    fn job(&self, mut settings: Vec<String>, seed: u64, sees_test: bool) -> Job {
        let share = if sees_test { 0.0 } else { HELD_OUT };
        for setting in [
            format!("evaluation.validation={share}"),
            format!("evaluation.test={sees_test}"),
        ] {
            assign(&mut settings, &setting);
        }
        self.hashed(settings, seed, sees_test)
    }

    fn hashed(&self, settings: Vec<String>, seed: u64, sees_test: bool) -> Job {
        let mut job = Job {
            id: String::new(),
            data: self.claim.data_of(self.line).to_owned(),
            settings,
            seed,
            sees_test,
            estimate: self.claim.estimate.clone(),
        };
        job.id = job.hash(self.study.generation, self.quick);
        job
    }
}

impl Job {
    fn hash(&self, generation: u64, quick: bool) -> String {
        let mut hash = Sha256::new();
        let mut add = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        };
        add(&format!("{generation} {quick} {} {}", self.data, self.seed));
        if let Some(estimate) = &self.estimate {
            add(&format!("{estimate:?}"));
        }
        let mut settings = self.settings.clone();
        settings.sort();
        settings.iter().for_each(|setting| add(setting));
        let digest = hash.finalize();
        digest[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    /// The configuration of the run, but for the place of its data.
    pub fn config(&self, source: Source) -> Result<RunConfig> {
        let preset = match source {
            Source::Features => Some(recall_train::Preset::FEATURES),
            Source::Emoji | Source::Glyphs => None,
        };
        let mut config = RunConfig::layered(preset, None, &self.settings)
            .with_context(|| format!("the settings {}", self.settings.join(" ")))?;
        config.seed = self.seed;
        Ok(config)
    }
}

/// Puts `KEY=VALUE` in the place of what the key had, or behind the others.
fn assign(settings: &mut Vec<String>, setting: &str) {
    match settings.iter_mut().find(|other| key(other) == key(setting)) {
        Some(other) => setting.clone_into(other),
        None => settings.push(setting.to_owned()),
    }
}

fn key(setting: &str) -> &str {
    setting.split('=').next().unwrap_or_default()
}
