use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::Builder;

use super::CONFIG;
use crate::RunError;

/// The folder that holds everything a run leaves behind. As long as this value lives, no other process
/// gets one for the same folder.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// The system lets go of it when the process ends, however it ends.
    _lock: File,
}

/// The file that a process holds while it writes to the folder.
const LOCK: &str = ".lock";

impl RunFolder {
    /// Makes the folder `out`, or, without one, the next free `runs/NAME-NNN`.
    ///
    /// # Errors
    ///
    /// [`RunError::Occupied`] if `out` is there and not empty, so that no run overwrites another.
    pub fn create(out: Option<&Path>, name: &str) -> Result<Self, RunError> {
        let path = match out {
            Some(out) => {
                Self::check_free(out)?;
                fs::create_dir_all(out).map_err(RunError::file("create", out))?;
                out.to_owned()
            }
            None => next_free(Path::new("runs"), name)?,
        };
        Self::locked(path)
    }

    /// Looks whether a run could have the folder `out`, and makes nothing.
    ///
    /// # Errors
    ///
    /// Those of [`create`](Self::create).
    pub fn check_free(out: &Path) -> Result<(), RunError> {
        match fs::read_dir(out) {
            Ok(mut entries) => match entries.next() {
                None => Ok(()),
                Some(_) => Err(RunError::Occupied {
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
        Self::locked(path.to_owned())
    }

    fn locked(path: PathBuf) -> Result<Self, RunError> {
        let place = path.join(LOCK);
        let lock = File::options()
            .create(true)
            .append(true)
            .open(&place)
            .map_err(RunError::file("write", &place))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(RunError::Busy { path }),
            // A file system without locks: better a run without one than none.
            Err(TryLockError::Error(_)) => Ok(Self { path, _lock: lock }),
        }
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

/// Temporary files are private by default; a report should be as readable as any file of its owner.
fn unfinished() -> Builder<'static, 'static> {
    #[allow(unused_mut)]
    let mut builder = Builder::new();
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
