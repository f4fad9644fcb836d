//! Images to search with, from files and folders.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::bail;
use recall_data::is_image;

use crate::RunError;

/// The files among `paths`, whatever their names, and the images in the folders among them, however
/// deep, in the order of their names. Hidden ones are left aside.
///
/// # Errors
///
/// A path that cannot be read, or no image at all.
pub(super) fn find(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = HashSet::new();
    for path in paths {
        // Follows links, and says what is not there.
        match fs::metadata(path)
            .map_err(RunError::file("read", path))?
            .is_dir()
        {
            true => walk(path, &mut folders, &mut found)?,
            false => found.push(path.clone()),
        }
    }
    if found.is_empty() {
        let paths: Vec<String> = paths
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        bail!(
            "there is no PNG, JPEG, WebP or BMP image in {}: give --images others",
            paths.join(", ")
        );
    }
    Ok(found)
}

fn walk(
    folder: &Path,
    visited: &mut HashSet<PathBuf>,
    found: &mut Vec<PathBuf>,
) -> Result<(), RunError> {
    // Links can lead in circles.
    let place = fs::canonicalize(folder).map_err(RunError::file("read", folder))?;
    if !visited.insert(place) {
        return Ok(());
    }
    let mut entries = fs::read_dir(folder)
        .and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<Result<Vec<PathBuf>, _>>()
        })
        .map_err(RunError::file("read", folder))?;
    entries.sort();
    for path in entries {
        let hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden {
            continue;
        }
        if path.is_dir() {
            walk(&path, visited, found)?;
        } else if is_image(&path) {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_searched_to_the_bottom() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "b/2.JPG",
            "b/deep/er/1.webp",
            "a.png",
            "notes.txt",
            ".git/x.png",
            "odd",
        ] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink(dir.path(), dir.path().join("b/circle")).unwrap();
        let names = |paths: &[&str]| -> Vec<String> {
            let paths: Vec<PathBuf> = paths.iter().map(|path| dir.path().join(path)).collect();
            let found = find(&paths).unwrap();
            let name =
                |path: &PathBuf| path.strip_prefix(dir.path()).unwrap().display().to_string();
            found.iter().map(name).collect()
        };
        assert_eq!(names(&[""]), ["a.png", "b/2.JPG", "b/deep/er/1.webp"]);
        // A file that is asked for is taken at its word.
        assert_eq!(names(&["odd", "b/deep"]), ["odd", "b/deep/er/1.webp"]);

        let message = find(&[dir.path().join("none")]).unwrap_err().to_string();
        assert!(message.starts_with("cannot read ") && message.contains("none"));
        let empty = dir.path().join("empty");
        fs::create_dir(&empty).unwrap();
        let message = find(&[empty]).unwrap_err().to_string();
        assert!(
            message.contains("no PNG, JPEG, WebP or BMP image in"),
            "{message}"
        );
    }
}
