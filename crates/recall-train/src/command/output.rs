//! What a command writes. One rule for every file and for what is written beside it: nothing that is
//! there already, unless `--force` is given; never what the command reads, not even then; and each
//! file whole or not at all.

use std::cell::LazyCell;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{bail, ensure};
use clap::Args;
use recall_data::{DataSpec, Dataset, ImageSource};
use tempfile::TempPath;

use crate::RunError;

/// Whether what is there may be overwritten.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct ForceArg {
    /// Overwrite output files that are there already. What the command reads is never overwritten.
    #[arg(long)]
    force: bool,
}

/// What a command reads, each with the option that names it.
#[derive(Debug, Default)]
pub(super) struct Inputs {
    places: Vec<(&'static str, PathBuf)>,
}

impl Inputs {
    /// A file, or a folder with all that is in it.
    pub fn add(&mut self, option: &'static str, path: &Path) {
        self.places.push((option, path.to_owned()));
    }

    /// The lists of a data set.
    pub fn add_spec(&mut self, option: &'static str, spec: &DataSpec) {
        // Of a folder of images nothing else is read: other files in it may well be earlier outputs.
        match spec {
            DataSpec::Csv(path) | DataSpec::Benchmark(_, path) => self.add(option, path),
            DataSpec::Embeddings { file, labels } => {
                for path in std::iter::once(file).chain(labels) {
                    self.add(option, path);
                }
            }
            _ => {}
        }
    }

    /// The lists of a data set, and its images.
    pub fn add_data(&mut self, option: &'static str, spec: &DataSpec, dataset: &Dataset) {
        self.add_spec(option, spec);
        for item in dataset.items() {
            if let ImageSource::File(path) = &item.source {
                self.add(option, path);
            }
        }
    }

    /// Where they are, links resolved; what is not there cannot be overwritten.
    fn resolved(&self) -> Vec<(&'static str, PathBuf)> {
        let resolve = |(option, path): &(&'static str, PathBuf)| {
            Some((*option, fs::canonicalize(path).ok()?))
        };
        self.places.iter().filter_map(resolve).collect()
    }
}

impl ForceArg {
    /// Says whether all of `files` may be written, before anything is computed: that they cannot
    /// should not be a surprise at the end. The first one is what `--output` names.
    ///
    /// # Errors
    ///
    /// One that is read, one that is there already, unless it may be overwritten, and places where
    /// nothing can be written.
    pub fn check(self, files: &[PathBuf], inputs: &Inputs) -> anyhow::Result<()> {
        let mut there = Vec::new();
        // There may be very many, and most of the time no file is there that could be one of them.
        let read = LazyCell::new(|| inputs.resolved());
        for file in files {
            let shown = file.display();
            let folder = folder_of(file);
            ensure!(
                folder.is_dir(),
                "there is no folder {} for {shown}: create it first",
                folder.display()
            );
            // Of a link, what it leads to; one that leads nowhere is there all the same.
            if let Ok(place) = fs::canonicalize(file) {
                ensure!(
                    !place.is_dir(),
                    "{shown} is a folder: choose another --output"
                );
                ensure!(
                    place.is_file(),
                    "{shown} is not a regular file: choose another --output"
                );
                if let Some((option, _)) = read.iter().find(|(_, read)| place.starts_with(read)) {
                    bail!(
                        "{shown} is read by this command ({option}), and what is read is never overwritten: \
                         choose another --output"
                    );
                }
            }
            if fs::symlink_metadata(file).is_ok() {
                there.push(shown.to_string());
            }
        }
        let (are, them) = match there.len() {
            1 => ("is", "it"),
            _ => ("are", "them"),
        };
        ensure!(
            self.force || there.is_empty(),
            "{} {are} there already: choose another --output, or --force to overwrite {them}",
            there.join(", ")
        );
        for file in files {
            tempfile::tempfile_in(folder_of(file)).map_err(RunError::file("write", file))?;
        }
        Ok(())
    }
}

/// Files that are complete under other names, to be given their own all at once.
#[derive(Debug, Default)]
pub(super) struct Staged {
    files: Vec<(TempPath, PathBuf)>,
}

impl Staged {
    /// Makes a file that is to be `path`: `write` writes it where it is told to.
    ///
    /// # Errors
    ///
    /// Those of `write`, or that nothing can be written there.
    pub fn add<E>(
        &mut self,
        path: &Path,
        write: impl FnOnce(&Path) -> Result<(), E>,
    ) -> anyhow::Result<()>
    where
        E: Into<anyhow::Error>,
    {
        let mut builder = tempfile::Builder::new();
        // What writes it may go by the ending.
        let ending = path.extension().unwrap_or_default().to_string_lossy();
        let ending = format!(".{ending}");
        builder.prefix(".").suffix(&ending);
        // As any other new file: by default temporary ones are for their owner only.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file = builder
            .tempfile_in(folder_of(path))
            .map_err(RunError::file("write", path))?
            .into_temp_path();
        write(&file).map_err(Into::into)?;
        self.files.push((file, path.to_owned()));
        Ok(())
    }

    /// Makes a file of text.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn add_text(&mut self, path: &Path, text: &str) -> anyhow::Result<()> {
        self.add(path, |place| {
            fs::write(place, text)
                .and_then(|()| fs::File::options().append(true).open(place)?.sync_all())
                .map_err(RunError::file("write", path))
        })
    }

    /// Gives all of them their names.
    ///
    /// # Errors
    ///
    /// If one cannot be given its name.
    pub fn publish(self) -> Result<(), RunError> {
        for (file, path) in self.files {
            file.persist(&path)
                .map_err(|error| RunError::file("write", path)(error.error))?;
        }
        Ok(())
    }
}

/// Writes one file of text, whole or not at all.
///
/// # Errors
///
/// If it cannot be written.
pub(super) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut staged = Staged::default();
    staged.add_text(path, text)?;
    Ok(staged.publish()?)
}

fn folder_of(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(force: bool, files: &[&Path], inputs: &Inputs) -> Result<(), String> {
        let files: Vec<PathBuf> = files.iter().map(|file| file.to_path_buf()).collect();
        let checked = ForceArg { force }.check(&files, inputs);
        checked.map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_there_is_refused_by_name_and_what_is_read_in_spite_of_force() {
        let dir = tempfile::tempdir().unwrap();
        let [new, there, read] = ["new", "there", "read"].map(|name| dir.path().join(name));
        fs::write(&there, "mine").unwrap();
        fs::write(&read, "data").unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        let mut inputs = Inputs::default();
        inputs.add("--data", &dir.path().join("sub/../read"));

        assert_eq!(check(false, &[&new], &inputs), Ok(()));
        let message = check(false, &[&new, &there], &inputs).unwrap_err();
        assert!(message.contains("there is there already"), "{message}");
        assert!(!message.contains("new"), "{message}");
        assert_eq!(check(true, &[&new, &there], &inputs), Ok(()));
        for force in [false, true] {
            let message = check(force, &[&new, &read], &inputs).unwrap_err();
            assert!(
                message.contains("read by this command (--data)"),
                "{message}"
            );
        }
        // All that is in a folder that is read.
        let mut inputs = Inputs::default();
        inputs.add("--checkpoint", dir.path());
        assert!(check(true, &[&there], &inputs).is_err());
        assert_eq!(check(true, &[&new], &inputs), Ok(()));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_what_they_lead_to() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let [read, link, nowhere] = ["read", "link", "nowhere"].map(|name| dir.path().join(name));
        fs::write(&read, "data").unwrap();
        symlink(&read, &link).unwrap();
        symlink(dir.path().join("none"), &nowhere).unwrap();
        for (input, output) in [(&read, &link), (&link, &read), (&link, &link)] {
            let mut inputs = Inputs::default();
            inputs.add("--data", input);
            assert!(check(true, &[output], &inputs).is_err());
        }
        let none = Inputs::default();
        assert!(check(false, &[&nowhere], &none).is_err());
        assert_eq!(check(true, &[&nowhere], &none), Ok(()));
    }

    #[test]
    fn nothing_has_its_name_before_all_are_whole() {
        let dir = tempfile::tempdir().unwrap();
        let [first, second] = ["first.txt", "second.txt"].map(|name| dir.path().join(name));
        let names = || fs::read_dir(dir.path()).unwrap().count();
        let mut staged = Staged::default();
        staged.add_text(&first, "one").unwrap();
        let failing = staged.add(&second, |_| bail!("the disk is full"));
        assert!(failing.is_err() && !first.exists());
        drop(staged);
        assert_eq!(names(), 0, "nothing is left over");

        fs::write(&first, "old").unwrap();
        write(&first, "new").unwrap();
        assert_eq!(fs::read_to_string(&first).unwrap(), "new");
        assert_eq!(names(), 1);
    }

    #[test]
    fn places_where_nothing_can_be_written() {
        let dir = tempfile::tempdir().unwrap();
        let none = Inputs::default();
        let message = check(true, &[dir.path()], &none).unwrap_err();
        assert!(message.contains("is a folder"), "{message}");
        let message = check(true, &[&dir.path().join("no/file")], &none).unwrap_err();
        assert!(message.contains("there is no folder"), "{message}");
        #[cfg(unix)]
        assert!(
            check(true, &[Path::new("/dev/null")], &none)
                .unwrap_err()
                .contains("not a regular file")
        );
    }
}
