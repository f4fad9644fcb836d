//! Which of many files are not there.
//!
//! Asking for each takes longer than everything else about a list of millions, on a disk that is far away by
//! hours. So where a folder holds many of them it is listed once, and only what is not in the list is asked for.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use rayon::prelude::*;

/// From how many files on a folder is listed.
const MANY: usize = 32;

/// Of `files`, the places of those that are no files, ascending. Looks on all cores.
pub(super) fn missing<'a>(files: impl Iterator<Item = (usize, &'a Path)>) -> Vec<usize> {
    let mut folders: HashMap<&OsStr, Vec<(usize, &Path)>> = HashMap::new();
    for (place, path) in files {
        let folder = path.parent().unwrap_or(Path::new("")).as_os_str();
        folders.entry(folder).or_default().push((place, path));
    }
    let folders: Vec<(&OsStr, Vec<(usize, &Path)>)> = folders.into_iter().collect();
    let mut missing: Vec<usize> = folders
        .par_iter()
        .flat_map(|(folder, files)| {
            if files.len() < MANY {
                return ask(files, |_| false);
            }
            match list(Path::new(folder)) {
                Listing::Names(names) => ask(files, |name| names.contains(name)),
                Listing::NoFolder => files.iter().map(|&(place, _)| place).collect(),
                Listing::Unknown => ask(files, |_| false),
            }
        })
        .collect();
    missing.sort_unstable();
    missing
}

/// The places of those that are no files; `is_known` has the names of files that need no question.
fn ask(files: &[(usize, &Path)], is_known: impl Fn(&OsStr) -> bool + Sync) -> Vec<usize> {
    let is_missing = |&&(_, path): &&(usize, &Path)| {
        let known = path.file_name().is_some_and(&is_known);
        // A list does not say how the disk compares names, so it is no proof that something is missing.
        !known && !path.is_file()
    };
    let missing = files.par_iter().filter(is_missing);
    missing.map(|&(place, _)| place).collect()
}

enum Listing {
    /// The names of the files in it; links may lead anywhere and are left out.
    Names(HashSet<OsString>),
    NoFolder,
    /// It cannot be listed: its files may still be read.
    Unknown,
}

fn list(folder: &Path) -> Listing {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            return match error.kind() {
                ErrorKind::NotFound | ErrorKind::NotADirectory => Listing::NoFolder,
                _ => Listing::Unknown,
            };
        }
    };
    let file = |entry: fs::DirEntry| {
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        is_file.then(|| entry.file_name())
    };
    // Of what cannot be listed, the files are asked for.
    let files = entries.filter_map(|entry| file(entry.ok()?));
    Listing::Names(files.collect())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn in_folders_of_many_and_of_few_the_same_are_missing() {
        let dir = tempfile::tempdir().unwrap();
        let mut files: Vec<PathBuf> = Vec::new();
        for (folder, count) in [("few", 3), ("many", 2 * MANY), ("gone", 2 * MANY)] {
            let folder = dir.path().join(folder);
            files.extend((0..count).map(|file| folder.join(format!("{file}.jpg"))));
        }
        fs::create_dir(dir.path().join("few")).unwrap();
        fs::create_dir(dir.path().join("many")).unwrap();
        let mut expected = Vec::new();
        for (place, file) in files.iter().enumerate() {
            match place % 3 == 1 || file.starts_with(dir.path().join("gone")) {
                true => expected.push(place),
                false => fs::write(file, "").unwrap(),
            }
        }
        // A folder is no file, whatever its name.
        let folder = dir.path().join("many/0.jpg");
        fs::remove_file(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
        expected.push(3);
        expected.sort_unstable();
        let places = files.iter().map(PathBuf::as_path).enumerate();
        assert_eq!(missing(places), expected);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed() {
        let dir = tempfile::tempdir().unwrap();
        let files: Vec<PathBuf> = (0..2 * MANY)
            .map(|file| dir.path().join(file.to_string()))
            .collect();
        fs::write(dir.path().join("image"), "").unwrap();
        for (place, file) in files.iter().enumerate() {
            let to = if place == 5 { "nowhere" } else { "image" };
            std::os::unix::fs::symlink(dir.path().join(to), file).unwrap();
        }
        assert_eq!(missing(files.iter().map(PathBuf::as_path).enumerate()), [5]);
    }
}
