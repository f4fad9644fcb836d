//! What runs came to, kept by what they are.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::job::Job;

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    #[serde(flatten)]
    pub job: Job,
    /// Why there are no figures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// The metrics of the classes that judged, the last epoch's.
    #[serde(default)]
    pub metrics: BTreeMap<String, f64>,
    /// Those of the test before the first step: of features, as they came.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub baseline: BTreeMap<String, f64>,
    /// Of a run that the test judges, whether the first neighbour of each query is right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hits: Option<Hits>,
    /// What checkpoints were asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub estimates: Vec<Estimated>,
    pub steps: u64,
    /// Images that the steps had, all together.
    pub images: u64,
    /// Seconds of steps.
    pub seconds: f64,
    /// Bytes.
    pub peak_memory: Option<u64>,
    pub made: Made,
}

/// Where and with what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Made {
    pub version: String,
    pub processor: String,
    pub threads: usize,
    /// Runs at once.
    pub jobs: usize,
    pub date: String,
}

/// What the loss says of a checkpoint, beside what is so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Estimated {
    pub epoch: u64,
    pub tau_rank: f64,
    /// The soft recall of batches of training images.
    pub soft: f64,
    /// Their exact recall.
    pub exact: f64,
    /// The exact recall of the test.
    pub test: f64,
}

/// A bit for each query, in the order of the data set, eight of them as two hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hits {
    queries: usize,
    bits: String,
}

impl Hits {
    pub fn new(hits: &[bool]) -> Self {
        let byte = |bits: &[bool]| {
            (bits.iter().enumerate()).fold(0, |byte, (at, &bit)| byte | u8::from(bit) << at)
        };
        let bits = hits.chunks(8).map(|bits| format!("{:02x}", byte(bits)));
        Self {
            queries: hits.len(),
            bits: bits.collect(),
        }
    }

    /// 1 for each hit, 0 for others.
    pub fn values(&self) -> Result<Vec<f64>> {
        let digits = self.bits.as_bytes().chunks(2);
        let bytes = digits
            .map(|digits| Ok(u8::from_str_radix(std::str::from_utf8(digits)?, 16)?))
            .collect::<Result<Vec<u8>>>()
            .context("hits are no hexadecimal digits")?;
        ensure!(
            bytes.len() == self.queries.div_ceil(8),
            "hits of {} queries in {} bytes",
            self.queries,
            bytes.len()
        );
        Ok((0..self.queries)
            .map(|at| f64::from(bytes[at / 8] >> (at % 8) & 1))
            .collect())
    }
}

/// The folder of all outcomes: a file for each data set, a line for each run.
#[derive(Debug)]
pub struct Results {
    folder: PathBuf,
    outcomes: BTreeMap<String, Outcome>,
}

#[derive(Serialize, Deserialize)]
struct File {
    runs: Vec<Outcome>,
}

impl Results {
    /// Those of a folder; none if it is not there.
    pub fn open(folder: &Path) -> Result<Self> {
        let mut outcomes = BTreeMap::new();
        for path in files(folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let text = fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let file: File = serde_json::from_str(&text)
                .with_context(|| format!("{} holds no results", path.display()))?;
            outcomes.extend(file.runs.into_iter().map(|run| (run.job.id.clone(), run)));
        }
        Ok(Self {
            folder: folder.to_owned(),
            outcomes,
        })
    }

    pub fn get(&self, id: &str) -> Option<&Outcome> {
        self.outcomes.get(id)
    }

    /// All of them, by their ids.
    pub fn all(&self) -> impl Iterator<Item = &Outcome> {
        self.outcomes.values()
    }

    /// Adds one, and writes those of its data set: a study that is stopped loses what was running.
    pub fn add(&mut self, outcome: Outcome) -> Result<()> {
        let data = outcome.job.data.clone();
        self.outcomes.insert(outcome.job.id.clone(), outcome);
        self.write(&data)
    }

    fn write(&self, data: &str) -> Result<()> {
        let lines = (self.outcomes.values())
            .filter(|outcome| outcome.job.data == data)
            .map(serde_json::to_string)
            .collect::<Result<Vec<_>, _>>()?;
        let text = format!("{{\"runs\": [\n{}\n]}}\n", lines.join(",\n"));
        let path = self.folder.join(format!("{data}.json"));
        let written = || {
            fs::create_dir_all(&self.folder)?;
            let file = tempfile::NamedTempFile::new_in(&self.folder)?;
            fs::write(file.path(), text)?;
            file.persist(&path)?;
            std::io::Result::Ok(())
        };
        written().with_context(|| format!("cannot write {}", path.display()))
    }
}

/// The files of a folder of results.
fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let all: Vec<PathBuf> = entries.collect::<std::io::Result<_>>()?;
    let json = |path: &PathBuf| path.extension().is_some_and(|of| of == "json");
    Ok(all.into_iter().filter(json).collect())
}
