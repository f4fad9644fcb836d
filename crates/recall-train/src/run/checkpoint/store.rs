//! The checkpoints of a run: written whole, kept while they are needed.
//!
//! Each is a folder of its own, `step-NNNNNNNN`, made complete under another name, flushed to the
//! disk and then renamed: at any moment a checkpoint is there whole or not at all, and none is ever
//! overwritten. One that was taken within an epoch has `-mid` behind its name: at the last step of an
//! epoch there can be one from before its evaluation and one from after. `last` and `best` are links.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use burn::tensor::backend::AutodiffBackend;

use super::description::ModelDescription;
use super::manifest::{Manifest, sync_folder, write_json};
use super::{CONFIG, Checkpoint, CheckpointState, DESCRIPTION, MODEL, OPTIMISER, STATE, TRAINED};
use crate::run::RunFolder;
use crate::run::data::DATA;
use crate::{Network, Optimiser, RunConfig, RunError, save_weights};

const PREFIX: &str = "step-";
const UNFINISHED: &str = ".unfinished";

/// Behind the names of checkpoints from within an epoch.
const MID: &str = "-mid";

/// What names a checkpoint; the later one is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    step: u64,
    /// Whether it is from the end of an epoch, its evaluation done.
    over: bool,
}

/// The folder of a run's checkpoints.
#[derive(Debug)]
pub(in crate::run) struct Checkpoints {
    folder: PathBuf,
    keep: usize,
}

/// What goes into a checkpoint.
pub(in crate::run) struct Contents<'a, B: AutodiffBackend> {
    pub model: &'a Network<B>,
    /// The moving average of the model's weights, if there is one.
    pub average: Option<&'a Network<B::InnerBackend>>,
    pub optimiser: &'a Optimiser<B>,
    pub config: &'a RunConfig,
    pub state: &'a CheckpointState,
    /// What the run is trained and judged on.
    pub data: &'a [u8],
}

impl Checkpoints {
    /// Those of a run; the latest `keep` are kept.
    pub fn new(folder: &RunFolder, keep: usize) -> Self {
        Self {
            folder: folder.path().join("checkpoints"),
            keep,
        }
    }

    /// Writes one, and removes those that are no longer wanted.
    pub fn save<B: AutodiffBackend>(&self, contents: &Contents<'_, B>) -> Result<(), RunError> {
        fs::create_dir_all(&self.folder).map_err(RunError::file("create", &self.folder))?;
        let name = Name::of(contents.state).to_string();
        let unfinished = self.folder.join(format!("{name}{UNFINISHED}"));
        let written = self.write(contents, &unfinished);
        if written.is_err() {
            // On a full disk, what is there of it is in the way. The error is the one that counts.
            let _ = fs::remove_dir_all(&unfinished);
        }
        written?;
        let target = self.folder.join(&name);
        // A run that was resumed here and stopped before another step; or what is left of a damaged one.
        self.discard(&target)?;
        fs::rename(&unfinished, &target).map_err(RunError::file("write", &target))?;
        sync_folder(&self.folder)?;
        self.point(contents.state)?;
        self.tidy(contents.state)
    }

    fn write<B: AutodiffBackend>(
        &self,
        contents: &Contents<'_, B>,
        to: &Path,
    ) -> Result<(), RunError> {
        if to.exists() {
            fs::remove_dir_all(to).map_err(RunError::file("remove", to))?;
        }
        fs::create_dir(to).map_err(RunError::file("create", to))?;
        match contents.average {
            Some(average) => {
                save_weights(average, &to.join(MODEL))?;
                save_weights(contents.model, &to.join(TRAINED))?;
            }
            None => save_weights(contents.model, &to.join(MODEL))?,
        }
        contents
            .optimiser
            .save(contents.model, &to.join(OPTIMISER))?;
        let config = to.join(CONFIG);
        fs::write(&config, contents.config.to_toml()).map_err(RunError::file("write", &config))?;
        write_json(
            &to.join(DESCRIPTION),
            &ModelDescription::new(contents.config),
        )?;
        write_json(&to.join(STATE), contents.state)?;
        let data = to.join(DATA);
        fs::write(&data, contents.data).map_err(RunError::file("write", &data))?;
        Manifest::seal(to)
    }

    /// Makes `last` and `best` what `state` says.
    pub fn point(&self, state: &CheckpointState) -> Result<(), RunError> {
        let best = state.best.as_ref();
        self.link("last", Some(Name::of(state)))?;
        self.link("best", best.map(|best| Name::after_epoch(best.step)))
    }

    fn link(&self, link: &str, name: Option<Name>) -> Result<(), RunError> {
        let place = self.folder.join(link);
        let Some(name) = name else {
            return match fs::remove_file(&place) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(RunError::file("remove", &place)(error))
                }
                _ => Ok(()),
            };
        };
        let next = self.folder.join(format!("{link}{UNFINISHED}"));
        let _ = fs::remove_file(&next);
        symbolic_link(&name.to_string(), &next)
            .and_then(|()| fs::rename(&next, &place))
            .map_err(RunError::file("write", &place))
    }

    /// Removes what was never finished, what is later than `state`, as after a run was resumed from an
    /// earlier checkpoint, and all but the latest and the best of the others.
    pub fn tidy(&self, state: &CheckpointState) -> Result<(), RunError> {
        let best = state.best.as_ref();
        let best = best.map(|best| Name::after_epoch(best.step));
        let names = self.names()?;
        let reached = names.partition_point(|name| *name <= Name::of(state));
        let (names, later) = names.split_at(reached);
        let old = names.len().saturating_sub(self.keep);
        let old = names[..old].iter().filter(|name| Some(**name) != best);
        for name in old.chain(later) {
            self.discard(&self.folder.join(name.to_string()))?;
        }
        for entry in self.entries()? {
            let path = entry.path();
            if path.to_string_lossy().ends_with(UNFINISHED) {
                let removed = match path.is_symlink() {
                    true => fs::remove_file(&path),
                    false => fs::remove_dir_all(&path),
                };
                removed.map_err(RunError::file("remove", &path))?;
            }
        }
        Ok(())
    }

    /// Removes a checkpoint, if it is there; renamed first, so that no half of it passes for a whole.
    fn discard(&self, place: &Path) -> Result<(), RunError> {
        if !place.exists() {
            return Ok(());
        }
        let doomed = place.with_extension(format!("discarded{UNFINISHED}"));
        let _ = fs::remove_dir_all(&doomed);
        fs::rename(place, &doomed)
            .and_then(|()| fs::remove_dir_all(&doomed))
            .map_err(RunError::file("remove", place))
    }

    /// The checkpoints there are, the earliest first.
    fn names(&self) -> Result<Vec<Name>, RunError> {
        let entries = self.entries()?.into_iter();
        let mut names: Vec<Name> = entries
            .filter_map(|entry| Name::parse(&entry.path()))
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    fn entries(&self) -> Result<Vec<fs::DirEntry>, RunError> {
        match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            entries => entries
                .and_then(Iterator::collect)
                .map_err(RunError::file("read", &self.folder)),
        }
    }

    /// The latest one, or none if nothing was written yet.
    ///
    /// # Errors
    ///
    /// [`RunError::DamagedCheckpoint`], which names the latest one before it that is whole.
    pub fn latest(&self) -> Result<Option<Checkpoint>, RunError> {
        let mut names = self.names()?;
        let Some(last) = names.pop() else {
            return Ok(None);
        };
        let place = |name: Name| self.folder.join(name.to_string());
        match Checkpoint::read(place(last)) {
            Err(RunError::DamagedCheckpoint { path, problem }) => {
                let mut whole = names.into_iter().rev().map(place);
                let whole = whole.find(|place| Manifest::problem(place).is_none());
                Err(RunError::DamagedLast {
                    path,
                    problem,
                    way_out: match whole {
                        Some(place) => {
                            format!("--resume {} goes on from the one before", place.display())
                        }
                        None => "no other one is whole, so the run has to begin anew".to_owned(),
                    },
                })
            }
            other => other.map(Some),
        }
    }
}

impl Name {
    fn of(state: &CheckpointState) -> Self {
        Self {
            step: state.step,
            over: state.step_in_epoch == 0,
        }
    }

    fn after_epoch(step: u64) -> Self {
        Self { step, over: true }
    }

    fn parse(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        let number = name.strip_prefix(PREFIX)?;
        let step = number.strip_suffix(MID).unwrap_or(number).parse().ok()?;
        let parsed = Self {
            step,
            over: !number.ends_with(MID),
        };
        (path.is_dir() && parsed.to_string() == name).then_some(parsed)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.over { "" } else { MID };
        write!(f, "{PREFIX}{:08}{end}", self.step)
    }
}

#[cfg(unix)]
fn symbolic_link(target: &str, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn symbolic_link(target: &str, link: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_dir(target, link)
}
