//! Runs that differ in their seed alone, one after the other, which go on as a whole.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{anyhow, ensure};

use crate::compare::FinishedRun;
use crate::{RunConfig, RunError, RunFolder};

/// What is trained with each seed, in the folder of the series.
const SETTINGS: &str = "settings.toml";

/// The seeds; written last, so that a folder that has it is a series.
const SEEDS: &str = "seeds.json";

/// Some runs, each in the folder `seed-N` of the series.
pub(super) struct Series {
    folder: RunFolder,
    pub seeds: Vec<u64>,
    /// The settings of each, but for the seed.
    pub config: RunConfig,
    /// Whether this process began it.
    new: bool,
}

/// How far the run of a seed is.
pub(super) enum Stage {
    NotBegun(PathBuf),
    Begun(PathBuf),
    /// With what is compared, unless there were no images to judge it by.
    Done(Option<Box<FinishedRun>>),
}

impl Series {
    /// Makes a folder for the runs of `seeds`: `out`, which has to be new or empty, or the next free one in
    /// `runs/`.
    pub fn create(out: Option<&Path>, config: RunConfig, seeds: Vec<u64>) -> anyhow::Result<Self> {
        for (index, seed) in seeds.iter().enumerate() {
            ensure!(
                !seeds[..index].contains(seed),
                "--seeds names {seed} twice, and a seed makes the same run each time"
            );
        }
        out.map(RunFolder::check_free).transpose()?;
        let data = config.data.index()?;
        let folder = RunFolder::create(out, data.name())?;
        let series = Self {
            folder,
            seeds,
            config,
            new: true,
        };
        series.write().inspect_err(|_| series.abandon())?;
        Ok(series)
    }

    fn write(&self) -> anyhow::Result<()> {
        let settings = self.config.to_toml();
        self.folder.write(SETTINGS, settings.as_bytes())?;
        let seeds = serde_json::to_vec(&self.seeds)?;
        self.folder.write(SEEDS, &seeds)?;
        Ok(())
    }

    /// Whether there is a series in the folder `path`.
    pub fn is_one(path: &Path) -> bool {
        path.join(SEEDS).is_file()
    }

    /// The series in the folder `path`, if there is one.
    pub fn reopen(path: &Path) -> anyhow::Result<Option<Self>> {
        let file = path.join(SEEDS);
        if !Self::is_one(path) {
            return Ok(None);
        }
        let folder = RunFolder::hold(path)?;
        let read = |file: &Path| fs::read_to_string(file).map_err(RunError::file("read", file));
        let seeds = serde_json::from_str(&read(&file)?)
            .map_err(|_| anyhow!("{} is no list of seeds", file.display()))?;
        let settings = path.join(SETTINGS);
        let origin = settings.display().to_string();
        Ok(Some(Self {
            folder,
            seeds,
            config: RunConfig::read(Some((&origin, &read(&settings)?)), &[])?,
            new: false,
        }))
    }

    /// How far the run of `seed` is.
    pub fn stage(&self, seed: u64) -> anyhow::Result<Stage> {
        let place = self.folder.path().join(format!("seed-{seed}"));
        Ok(
            match (
                place.join("config.toml").is_file(),
                // The last thing that a run writes.
                place.join("report.html").is_file(),
            ) {
                (true, true) => Stage::Done(match place.join("queries.csv").is_file() {
                    true => Some(Box::new(FinishedRun::open(place)?)),
                    false => None,
                }),
                (true, false) => Stage::Begun(place),
                (false, _) => Stage::NotBegun(place),
            },
        )
    }

    /// What is said of an error that ended one of the runs: it is the series that goes on. One that came to
    /// no run is removed.
    pub fn ended(&self, error: anyhow::Error) -> anyhow::Error {
        let place = self.folder.path().to_owned();
        let error = match error.downcast::<RunError>() {
            Ok(RunError::Interrupted { step, .. }) => {
                RunError::Interrupted { path: place, step }.into()
            }
            Ok(RunError::Broken { source, .. }) => RunError::Broken {
                path: place,
                source,
            }
            .into(),
            Ok(other) => other.into(),
            Err(other) => other,
        };
        let begun = |seed: &u64| !matches!(self.stage(*seed), Ok(Stage::NotBegun(_)));
        if self.new && !self.seeds.iter().any(begun) {
            self.abandon();
        }
        error
    }

    /// There is an error to tell already, and it is the one that counts.
    fn abandon(&self) {
        let _ = self.folder.clear();
    }
}
