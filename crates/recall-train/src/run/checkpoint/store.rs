//! The checkpoints of a run: written whole, kept while they are needed.
//!
//! Each is a folder of its own, `step-NNNNNNNN`, made complete under another name, flushed to the
//! disk and then renamed: at any moment a checkpoint is there whole or not at all, and none is ever
//! overwritten. One that was taken within an epoch has `-mid` behind its name: at the last step of an
//! epoch there can be one from before its evaluation and one from after. `last` and `best` point to two of
//! them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use recall_engine::Engine;

use super::description::ModelDescription;
use super::manifest::{Manifest, sync_folder, write_json};
use super::name::Name;
use super::pointer::{self, BEST, LAST};
use super::{
    CHECKPOINTS, CONFIG, Checkpoint, CheckpointState, DESCRIPTION, STATE, UNFINISHED, model_files,
};
use crate::run::RunFolder;
use crate::run::data::DATA;
use crate::{RunConfig, RunError};

/// The folder of a run's checkpoints.
#[derive(Debug)]
pub(in crate::run) struct Checkpoints {
    folder: PathBuf,
    keep: usize,
    /// Whether this process is the one that writes them.
    writes: bool,
}

/// What goes into a checkpoint.
pub(in crate::run) struct Contents<'a> {
    pub engine: &'a dyn Engine,
    pub config: &'a RunConfig,
    pub state: &'a CheckpointState,
    /// What the run is trained and judged on.
    pub data: &'a [u8],
}

impl Checkpoints {
    /// Those of a run; the latest `keep` are kept.
    pub fn new(folder: &RunFolder, keep: usize) -> Self {
        Self {
            folder: folder.path().join(CHECKPOINTS),
            keep,
            writes: folder.writes(),
        }
    }

    /// Writes one, and removes those that are no longer wanted.
    pub fn save(&self, contents: &Contents<'_>) -> Result<(), RunError> {
        if !self.writes {
            return Ok(());
        }
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

    fn write(&self, contents: &Contents<'_>, to: &Path) -> Result<(), RunError> {
        if to.exists() {
            fs::remove_dir_all(to).map_err(RunError::file("remove", to))?;
        }
        fs::create_dir(to).map_err(RunError::file("create", to))?;
        contents.engine.save(&model_files(to))?;
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
        if !self.writes {
            return Ok(());
        }
        pointer::write(&self.folder, LAST, Some(Name::of(state)))?;
        pointer::write(&self.folder, BEST, Name::of_best(state))
    }

    /// Where the checkpoint is that is the result at `state`: the best one, or, where none is chosen, the
    /// last.
    pub fn chosen(&self, state: &CheckpointState) -> PathBuf {
        let name = Name::of_best(state).unwrap_or(Name::of(state));
        self.folder.join(name.to_string())
    }

    /// Takes the best checkpoint out of `state` if it is not there, as in a copy of parts of a run, and says
    /// whether that was so.
    pub fn forget_lost_best(&self, state: &mut CheckpointState) -> bool {
        let lost = state.best.is_some() && !pointer::is_checkpoint(&self.chosen(state));
        if lost {
            state.best = None;
        }
        lost
    }

    /// Makes pointers of the folders that `last` and `best` become where a run is copied with links
    /// followed. Each is a checkpoint: it gets its name by its state, unless it is there under this name
    /// already.
    ///
    /// # Errors
    ///
    /// [`RunError::DamagedCheckpoint`] if it is not whole, or not what is there under its name.
    pub fn adopt_copies(&self) -> Result<(), RunError> {
        for which in [LAST, BEST] {
            let copy = self.folder.join(which);
            if !copy.symlink_metadata().is_ok_and(|found| found.is_dir()) {
                continue;
            }
            let name = match Checkpoint::read(copy.clone()) {
                Ok(checkpoint) => Name::of(&checkpoint.state),
                Err(RunError::DamagedCheckpoint { path, problem }) => {
                    let others = !names(&self.folder)?.is_empty();
                    let way_out = "; without this folder the run goes on from another one";
                    let way_out = if others { way_out } else { "" };
                    return Err(RunError::DamagedCheckpoint {
                        path,
                        problem: problem + way_out,
                    });
                }
                Err(error) => return Err(error),
            };
            let place = self.folder.join(name.to_string());
            match Manifest::problem(&place) {
                Some(_) => {
                    self.discard(&place)?;
                    fs::rename(&copy, &place).map_err(RunError::file("write", &place))?;
                }
                None if Manifest::same(&copy, &place) => self.discard(&copy)?,
                None => {
                    return Err(RunError::DamagedCheckpoint {
                        path: copy,
                        problem: format!("it is not the same as {name} beside it"),
                    });
                }
            }
            pointer::write(&self.folder, which, Some(name))?;
        }
        Ok(())
    }

    /// Removes what was never finished, what is later than `state`, as after a run was resumed from an
    /// earlier checkpoint, and all but the latest and the best of the others.
    pub fn tidy(&self, state: &CheckpointState) -> Result<(), RunError> {
        if !self.writes {
            return Ok(());
        }
        let best = Name::of_best(state);
        let names = names(&self.folder)?;
        let reached = names.partition_point(|name| *name <= Name::of(state));
        let (names, later) = names.split_at(reached);
        let old = names.len().saturating_sub(self.keep);
        let old = names[..old].iter().filter(|name| Some(**name) != best);
        for name in old.chain(later) {
            self.discard(&self.folder.join(name.to_string()))?;
        }
        for entry in entries(&self.folder)? {
            let path = entry.path();
            if path.to_string_lossy().ends_with(UNFINISHED) {
                let removed = match entry.file_type() {
                    Ok(kind) if kind.is_dir() => fs::remove_dir_all(&path),
                    _ => fs::remove_file(&path),
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

    /// The latest one, or none if nothing was written yet.
    ///
    /// # Errors
    ///
    /// [`RunError::DamagedCheckpoint`], which names the latest one before it that is whole.
    pub fn latest(&self) -> Result<Option<Checkpoint>, RunError> {
        let mut names = names(&self.folder)?;
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

/// The checkpoint in `folder` that the pointer `which` should lead to, by the state of the latest one that
/// is whole; that one itself, where what its state names is not there.
pub(super) fn by_state(folder: &Path, which: &str) -> Result<Option<PathBuf>, RunError> {
    let whole = |place: &PathBuf| Manifest::problem(place).is_none();
    let places = names(folder)?.into_iter().rev();
    let mut places = places.map(|name| folder.join(name.to_string()));
    let Some(latest) = places.find(whole) else {
        return Ok(None);
    };
    let state = Checkpoint::read(latest.clone())?.state;
    let best = Name::of_best(&state).filter(|_| which == BEST);
    let best = best.map(|name| folder.join(name.to_string()));
    Ok(best.filter(whole).or(Some(latest)))
}

/// The checkpoints in `folder`, the earliest first.
fn names(folder: &Path) -> Result<Vec<Name>, RunError> {
    let entries = entries(folder)?.into_iter();
    let mut names: Vec<Name> = entries
        .filter_map(|entry| Name::of_folder(&entry.path()))
        .collect();
    names.sort_unstable();
    Ok(names)
}

fn entries(folder: &Path) -> Result<Vec<fs::DirEntry>, RunError> {
    match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        entries => entries
            .and_then(Iterator::collect)
            .map_err(RunError::file("read", folder)),
    }
}
