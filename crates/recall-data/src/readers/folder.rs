use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::{count, split_classes_in_half};
use crate::{DataError, Dataset, ImageSource, Item, Split};

const EXTENSIONS: [&str; 6] = ["png", "jpg", "jpeg", "jfif", "webp", "bmp"];

const EXPECTED: &str = "expected are DIR/class/image or DIR/train/class/image and \
                        DIR/test/class/image, with png, jpg, jpeg, jfif, webp or bmp files";

/// What was met and is not used.
#[derive(Default)]
struct Aside {
    files: usize,
    nested: usize,
    empty: Vec<String>,
    beside_splits: Vec<String>,
}

/// A class folder: its name and its images, both in order.
struct ClassFolder {
    name: String,
    images: Vec<PathBuf>,
}

pub(crate) fn read(dir: &Path) -> Result<Dataset, DataError> {
    match std::fs::metadata(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(DataError::layout(dir, format!("is not there: {EXPECTED}")));
        }
        Err(error) => return Err(DataError::io(dir, error)),
        Ok(found) if !found.is_dir() => {
            return Err(DataError::layout(dir, format!("is no folder: {EXPECTED}")));
        }
        Ok(_) => {}
    }

    let mut aside = Aside::default();
    let top = list(dir)?;
    let named = |name: &str| {
        top.folders
            .iter()
            .find(|path| path.file_name() == Some(name.as_ref()))
    };
    let classes: Vec<(ClassFolder, Split)> = if let (Some(train), Some(test)) =
        (named("train"), named("test"))
    {
        aside.files += top.images.len() + top.others;
        aside.beside_splits = top
            .folders
            .iter()
            .filter(|path| *path != train && *path != test)
            .map(|path| name_of(path))
            .collect();
        let mut classes = Vec::new();
        for (folder, split) in [(train, Split::Train), (test, Split::Test)] {
            let found = class_folders(list(folder)?, &mut aside)?;
            if found.is_empty() {
                let problem = format!("has no class folder with images: {EXPECTED}");
                return Err(DataError::layout(folder, problem));
            }
            classes.extend(found.into_iter().map(|class| (class, split)));
        }
        classes
    } else {
        let classes = class_folders(top, &mut aside)?;
        if classes.len() < 2 {
            let found = count(classes.len(), "class folder", "class folders");
            let problem = format!(
                "has {found} with images, and two are the fewest that can be split into train and \
                 test: {EXPECTED}"
            );
            return Err(DataError::layout(dir, problem));
        }
        let names: Vec<_> = classes.iter().map(|class| class.name.as_str()).collect();
        let splits = split_classes_in_half(&names);
        classes.into_iter().zip(splits).collect()
    };

    // A class may be in both splits; it is one class, by its name.
    let mut class_ids: BTreeMap<&str, u32> = BTreeMap::new();
    for (class, _) in &classes {
        class_ids.insert(&class.name, 0);
    }
    let class_names: Vec<String> = class_ids.keys().map(|&name| name.to_owned()).collect();
    for (id, class) in (0..).zip(class_ids.values_mut()) {
        *class = id;
    }
    let mut items = Vec::new();
    for (class, split) in &classes {
        for path in &class.images {
            let name = format!("{}/{}", class.name, name_of(path));
            let source = ImageSource::File(path.clone());
            items.push(Item::new(
                name,
                source,
                class_ids[class.name.as_str()],
                *split,
            ));
        }
    }
    let name = dir
        .file_name()
        .map_or_else(|| dir.display().to_string(), |_| name_of(dir));
    Ok(Dataset::from_items(name, items, class_names)?.with_notes(aside.notes()))
}

/// The entries of a folder, in the order of their names, hidden ones left out.
struct Listing {
    folders: Vec<PathBuf>,
    images: Vec<PathBuf>,
    /// How many files there are besides the images.
    others: usize,
}

fn list(dir: &Path) -> Result<Listing, DataError> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|error| DataError::io(dir, error))? {
        let path = entry.map_err(|error| DataError::io(dir, error))?.path();
        if !path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
        {
            paths.push(path);
        }
    }
    paths.sort();

    let mut listing = Listing {
        folders: Vec::new(),
        images: Vec::new(),
        others: 0,
    };
    for path in paths {
        // Follows links: data sets are often trees of them.
        let found = std::fs::metadata(&path).map_err(|error| DataError::io(&path, error))?;
        if found.is_dir() {
            listing.folders.push(path);
        } else if is_image(&path) {
            listing.images.push(path);
        } else {
            listing.others += 1;
        }
    }
    Ok(listing)
}

fn is_image(path: &Path) -> bool {
    let extension = path.extension().and_then(OsStr::to_str);
    extension.is_some_and(|found| {
        EXTENSIONS
            .iter()
            .any(|known| found.eq_ignore_ascii_case(known))
    })
}

/// The folders of `parent` that have images.
fn class_folders(parent: Listing, aside: &mut Aside) -> Result<Vec<ClassFolder>, DataError> {
    aside.files += parent.images.len() + parent.others;
    let mut classes = Vec::new();
    for folder in parent.folders {
        let name = name_of(&folder);
        let listing = list(&folder)?;
        aside.files += listing.others;
        aside.nested += listing.folders.len();
        if listing.images.is_empty() {
            aside.empty.push(name);
        } else {
            classes.push(ClassFolder {
                name,
                images: listing.images,
            });
        }
    }
    Ok(classes)
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}

impl Aside {
    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.files > 0 {
            let files = count(self.files, "file is", "files are");
            notes.push(format!("{files} no image in a class folder and left aside"));
        }
        if self.nested > 0 {
            let folders = count(
                self.nested,
                "folder inside a class folder is",
                "folders inside class folders are",
            );
            notes.push(format!("{folders} not read"));
        }
        if let Some(first) = self.empty.first() {
            let folders = count(self.empty.len(), "class folder has", "class folders have");
            notes.push(format!(
                "{folders} no image and left aside, the first is {first}"
            ));
        }
        if let Some(first) = self.beside_splits.first() {
            let folders = count(self.beside_splits.len(), "folder", "folders");
            notes.push(format!(
                "{folders} beside train and test left aside, the first is {first}"
            ));
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes files of one byte; a path that ends in `/` makes a folder.
    fn tree(paths: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for path in paths {
            let full = dir.path().join(path);
            if path.ends_with('/') {
                std::fs::create_dir_all(full).unwrap();
            } else {
                std::fs::create_dir_all(full.parent().unwrap()).unwrap();
                std::fs::write(full, "x").unwrap();
            }
        }
        dir
    }

    fn names(dataset: &Dataset, split: Split) -> Vec<&str> {
        dataset
            .split(split)
            .iter()
            .map(|&id| dataset.items()[id].name.as_str())
            .collect()
    }

    #[test]
    fn classes_are_split_in_half_where_nothing_else_is_said() {
        let dir = tree(&["b/2.JPG", "b/1.png", "a/1.webp", "c/1.jpeg", "d/1.png"]);
        let dataset = read(dir.path()).unwrap();
        assert_eq!(dataset.class_names(), ["a", "b", "c", "d"]);
        let all: Vec<_> = dataset
            .items()
            .iter()
            .map(|item| item.name.as_str())
            .collect();
        assert_eq!(
            all,
            ["a/1.webp", "b/1.png", "b/2.JPG", "c/1.jpeg", "d/1.png"]
        );
        assert_eq!(dataset.labels(&[0, 1, 2, 3, 4]), [0, 1, 1, 2, 3]);
        let expected = split_classes_in_half(&["a", "b", "c", "d"]);
        for item in dataset.items() {
            assert_eq!(item.split, expected[item.class as usize]);
        }
        assert!(dataset.notes().is_empty());
        assert_eq!(*dataset.read(0).unwrap(), *b"x");
    }

    #[test]
    fn train_and_test_folders_are_the_splits_if_both_are_there() {
        let dir = tree(&[
            "train/a/1.png",
            "train/b/1.png",
            "test/b/2.png",
            "test/c/1.png",
            "val/a/1.png",
        ]);
        let dataset = read(dir.path()).unwrap();
        assert_eq!(names(&dataset, Split::Train), ["a/1.png", "b/1.png"]);
        assert_eq!(names(&dataset, Split::Test), ["b/2.png", "c/1.png"]);
        assert_eq!(dataset.class_names(), ["a", "b", "c"]);
        assert_eq!(dataset.labels(dataset.split(Split::Test)), [1, 2]);
        assert!(dataset.notes()[0].contains("val"), "{:?}", dataset.notes());

        // Two classes whose names happen to be such.
        let dir = tree(&["train/1.png", "bus/1.png"]);
        assert_eq!(read(dir.path()).unwrap().class_names(), ["bus", "train"]);
    }

    #[test]
    fn what_is_left_aside_is_told() {
        let dir = tree(&[
            "a/1.png",
            "a/notes.txt",
            "a/.hidden.png",
            "a/more/1.png",
            "b/1.png",
            "empty/",
            ".git/1.png",
            "readme.md",
        ]);
        let dataset = read(dir.path()).unwrap();
        assert_eq!(dataset.items().len(), 2);
        let notes = dataset.notes().join("; ");
        for word in [
            "2 files are",
            "1 folder inside",
            "1 class folder has no image",
            "empty",
        ] {
            assert!(notes.contains(word), "{word}: {notes}");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_used_is_named_with_the_way_out() {
        let missing = Path::new("nowhere/at/all");
        let flat = tree(&["1.png", "2.png"]);
        let single = tree(&["only/1.png"]);
        let half = tree(&["train/a/1.png", "test/a/"]);
        let file = flat.path().join("1.png");
        for (dir, word) in [
            (missing, "is not there"),
            (file.as_path(), "is no folder"),
            (flat.path(), "has 0 class folders"),
            (single.path(), "has 1 class folder with images"),
            (half.path(), "has no class folder with images"),
        ] {
            let message = read(dir).unwrap_err().to_string();
            assert!(message.contains(word), "{message}");
            assert!(message.contains("DIR/class/image"), "{message}");
            assert!(message.contains(&dir.display().to_string()), "{message}");
        }
    }
}
