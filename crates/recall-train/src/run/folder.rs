use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::Builder;

use crate::RunError;

/// The folder that holds everything a run leaves behind.
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
}

impl RunFolder {
    /// Makes the folder `out`, or, without one, the next free `runs/NAME-NNN`.
    ///
    /// # Errors
    ///
    /// [`RunError::Occupied`] if `out` is there and not empty, so that no run overwrites another.
    pub fn create(out: Option<&Path>, name: &str) -> Result<Self, RunError> {
        let path = match out {
            Some(out) => {
                let occupied = match fs::read_dir(out) {
                    Ok(mut entries) => entries.next().is_some(),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
                    Err(error) => return Err(RunError::file("use the folder", out)(error)),
                };
                if occupied {
                    return Err(RunError::Occupied {
                        path: out.to_owned(),
                    });
                }
                fs::create_dir_all(out).map_err(RunError::file("create", out))?;
                out.to_owned()
            }
            None => next_free(Path::new("runs"), name)?,
        };
        Ok(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file whole or not at all, and returns its path.
    pub(crate) fn write(&self, name: &str, contents: &[u8]) -> Result<PathBuf, RunError> {
        let path = self.path.join(name);
        unfinished()
            .tempfile_in(&self.path)
            .and_then(|mut file| {
                file.write_all(contents)?;
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
    fn runs_are_numbered() {
        let dir = tempfile::tempdir().unwrap();
        let names = [0, 1].map(|_| next_free(dir.path(), "emoji").unwrap());
        assert!(names[0].ends_with("emoji-001") && names[1].ends_with("emoji-002"));
    }
}
