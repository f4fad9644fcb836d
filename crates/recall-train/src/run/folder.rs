use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::Builder;

use super::CONFIG;
use crate::RunError;
use crate::records::{METRICS, has_step};

/// The folder that holds everything a run leaves behind. As long as this value lives, no other process
/// gets one for the same folder.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// Whether it was not there before.
    created: bool,
    /// The system lets go of it when the process ends, however it ends. None in a process that writes nothing.
    lock: Option<File>,
}

/// The file that a process holds while it writes to the folder.
const LOCK: &str = ".lock";

/// What the names of files begin with that are being written.
const TEMPORARY: &str = ".unfinished";

impl RunFolder {
    /// Makes the folder `out`, or, without one, the next free `runs/NAME-NNN`.
    ///
    /// # Errors
    ///
    /// [`RunError::Occupied`] if `out` is there and not empty, so that no run overwrites another.
    pub fn create(out: Option<&Path>, name: &str) -> Result<Self, RunError> {
        let (path, created) = match out {
            Some(out) => {
                Self::check_free(out)?;
                let created = !out.exists();
                fs::create_dir_all(out).map_err(RunError::file("create", out))?;
                (out.to_owned(), created)
            }
            None => (next_free(Path::new("runs"), name)?, true),
        };
        Self::locked(path, created)
    }

    /// Looks whether a run could have the folder `out`, and makes nothing.
    ///
    /// # Errors
    ///
    /// Those of [`create`](Self::create).
    pub fn check_free(out: &Path) -> Result<(), RunError> {
        match fs::read_dir(out) {
            // A process that was killed before it wrote anything leaves its lock.
            Ok(mut entries) => match entries
                .all(|entry| entry.is_ok_and(|entry| is_of_a_start(&entry.file_name())))
            {
                true => Ok(()),
                false => Err(RunError::Occupied {
                    path: out.to_owned(),
                }),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(RunError::file("use the folder", out)(error)),
        }
    }

    /// The folder of a run that was begun.
    ///
    /// # Errors
    ///
    /// [`RunError::Resume`] if there is no run in it, [`RunError::Busy`] if a process is at it.
    pub fn reopen(path: &Path) -> Result<Self, RunError> {
        if !path.join(CONFIG).is_file() {
            return Err(RunError::Resume {
                path: path.to_owned(),
                problem: format!("there is no run: {CONFIG} is missing"),
            });
        }
        Self::hold(path)
    }

    /// The folder `path`, which is there, whatever is in it.
    pub(crate) fn hold(path: &Path) -> Result<Self, RunError> {
        Self::locked(path.to_owned(), false)
    }

    /// The folder of a run that another process writes to: here nothing is written.
    pub(crate) fn followed(path: PathBuf) -> Self {
        Self {
            path,
            created: false,
            lock: None,
        }
    }

    /// Whether this process writes to it.
    pub(crate) fn writes(&self) -> bool {
        self.lock.is_some()
    }

    fn locked(path: PathBuf, created: bool) -> Result<Self, RunError> {
        let place = path.join(LOCK);
        let lock = File::options()
            .create(true)
            .append(true)
            .open(&place)
            .map_err(RunError::file("write", &place))?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => Err(RunError::Busy { path }),
            // A file system without locks: better a run without one than none.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Self {
                path,
                created,
                lock: Some(lock),
            }),
        }
    }

    /// Removes what this process wrote to a folder that was free, and the folder if it was made for that.
    pub(crate) fn clear(&self) -> io::Result<()> {
        clear(&self.path, self.created)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file whole or not at all, if it does not hold this already.
    pub(crate) fn update(&self, name: &str, contents: &[u8]) -> Result<(), RunError> {
        match fs::read(self.path.join(name)) {
            Ok(there) if there == contents => Ok(()),
            _ => self.write(name, contents).map(|_| ()),
        }
    }

    /// Writes a file whole or not at all, and returns its path.
    pub(crate) fn write(&self, name: &str, contents: &[u8]) -> Result<PathBuf, RunError> {
        let path = self.path.join(name);
        if !self.writes() {
            return Ok(path);
        }
        unfinished()
            .tempfile_in(&self.path)
            .and_then(|mut file| {
                file.as_file_mut().write_all(contents)?;
                file.as_file().sync_all()?;
                file.persist(&path).map_err(|error| error.error)
            })
            .map_err(RunError::file("write", &path))?;
        Ok(path)
    }
}

/// A run that is not known to have begun. If it comes to no step, what it wrote goes: a start that failed
/// leaves no folder, and the folder that a user named can be named again.
pub(crate) struct Attempt {
    path: PathBuf,
    created: bool,
}

impl Attempt {
    /// That of the run in `folder`, in which nothing is that this process did not write.
    pub(crate) fn new(folder: &RunFolder) -> Self {
        Self {
            path: folder.path.clone(),
            created: folder.created,
        }
    }

    /// Whether there is a run to go on with, or one that `stays` all the same; if not, its files are
    /// removed.
    pub(crate) fn leaves_a_run(self, stays: bool) -> bool {
        let leaves = stays || self.has_begun();
        if stays {
            std::mem::forget(self);
        }
        leaves
    }

    fn has_begun(&self) -> bool {
        let records = fs::read_to_string(self.path.join(METRICS)).unwrap_or_default();
        has_step(&records) || self.path.join("checkpoints").exists()
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.has_begun() {
            return;
        }
        // There is an error to tell already, and it is the one that counts.
        let _ = clear(&self.path, self.created);
    }
}

/// Removes what is in a folder, and the folder itself if it was `created` for that.
fn clear(folder: &Path, created: bool) -> io::Result<()> {
    if created {
        return fs::remove_dir_all(folder);
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path())?,
            false => fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

/// Whether a file is one that a process has made before the first one that counts.
fn is_of_a_start(name: &OsStr) -> bool {
    name == LOCK || name.to_string_lossy().starts_with(TEMPORARY)
}

/// Temporary files are private by default; a report should be as readable as any file of its owner.
fn unfinished() -> Builder<'static, 'static> {
    #[allow(unused_mut)]
    let mut builder = Builder::new();
    builder.prefix(TEMPORARY);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder
}

/// `create_dir` fails on a folder that is there, so two runs that start together get two folders.
fn next_free(parent: &Path, name: &str) -> Result<PathBuf, RunError> {
    fs::create_dir_all(parent).map_err(RunError::file("create", parent))?;
    let mut number = 1;
    loop {
        let path = parent.join(format!("{name}-{number:03}"));
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(RunError::file("create", path)(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_occupied_folder_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("a/b");
        let folder = RunFolder::create(Some(&out), "x").unwrap();
        folder.write("file", b"contents").unwrap();
        let error = RunFolder::create(Some(&out), "x").unwrap_err();
        assert!(matches!(error, RunError::Occupied { .. }), "{error}");
        assert_eq!(fs::read(out.join("file")).unwrap(), b"contents");
    }

    #[test]
    fn a_start_that_fails_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (new, mine) = (dir.path().join("new"), dir.path().join("mine"));
        fs::create_dir(&mine).unwrap();
        let start = |out: &Path| {
            let folder = RunFolder::create(Some(out), "x").unwrap();
            let attempt = Attempt::new(&folder);
            folder.write(CONFIG, b"").unwrap();
            folder.write(METRICS, br#"{"kind":"evaluation"}"#).unwrap();
            attempt
        };
        assert!(!start(&new).leaves_a_run(false));
        assert!(!new.exists());
        assert!(!start(&mine).leaves_a_run(false));
        assert_eq!(fs::read_dir(&mine).unwrap().count(), 0);
        // One that was stopped can be gone on with, and one that took a step, too.
        assert!(start(&new).leaves_a_run(true));
        assert!(new.join(CONFIG).exists());
        let attempt = start(&mine);
        fs::write(mine.join(METRICS), "{\"kind\":\"step\"}\n").unwrap();
        assert!(attempt.leaves_a_run(false));
        assert!(mine.join(CONFIG).exists());
    }

    #[test]
    fn the_lock_of_a_killed_start_takes_no_folder() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("run");
        drop(RunFolder::create(Some(&out), "x").unwrap());
        assert!(out.join(LOCK).exists());
        let again = RunFolder::create(Some(&out), "x").unwrap();
        let refusal = RunFolder::create(Some(&out), "x").unwrap_err();
        assert!(matches!(refusal, RunError::Busy { .. }), "{refusal}");
        drop(again);
    }

    #[test]
    fn one_process_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("run");
        let folder = RunFolder::create(Some(&out), "x").unwrap();
        let refusal = RunFolder::reopen(&out).unwrap_err();
        assert!(matches!(refusal, RunError::Resume { .. }), "{refusal}");
        folder.write(CONFIG, b"").unwrap();
        let refusal = RunFolder::reopen(&out).unwrap_err();
        assert!(matches!(refusal, RunError::Busy { .. }), "{refusal}");
        drop(folder);
        RunFolder::reopen(&out).unwrap();
    }

    #[test]
    fn runs_are_numbered() {
        let dir = tempfile::tempdir().unwrap();
        let names = [0, 1].map(|_| next_free(dir.path(), "emoji").unwrap());
        assert!(names[0].ends_with("emoji-001") && names[1].ends_with("emoji-002"));
    }
}
