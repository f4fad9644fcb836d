use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::aside::{Aside, is_image};
use super::count;
use crate::{DataError, Dataset, ImageSource, Item, Split, names, split_by_name};

const EXPECTED: &str = "expected are DIR/class/image, or DIR/train/class/image with \
                        DIR/validation/class/image and DIR/test/class/image where there are such \
                        parts, with png, jpg, webp or bmp files";

/// What the folders of splits are called.
const SPLITS: [(Split, &[&str]); 3] = [
    (Split::Train, &["train"]),
    (Split::Validation, &["validation", "val", "valid"]),
    (Split::Test, &["test"]),
];

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
    let splits = split_folders(dir, &top)?;
    let classes: Vec<(ClassFolder, Split)> = if !splits.is_empty() {
        aside.beside_splits = top
            .folders
            .iter()
            .filter(|path| splits.iter().all(|(_, split)| split != path))
            .cloned()
            .collect();
        let mut classes = Vec::new();
        for (split, folder) in splits {
            let found = class_folders(list(folder)?, &mut aside)?;
            if found.is_empty() {
                let problem = format!("has no class folder with images: {EXPECTED}");
                return Err(DataError::layout(folder, problem));
            }
            classes.extend(found.into_iter().map(|class| (class, split)));
        }
        aside.stray.extend(top.images);
        aside.files.extend(top.others);
        classes
    } else {
        let classes = class_folders(top, &mut aside)?;
        if classes.is_empty() && !aside.stray.is_empty() {
            return unlabelled(dir, aside);
        }
        if classes.len() < 2 {
            let found = count(classes.len(), "class folder", "class folders");
            let problem = format!(
                "has {found} with images, and two are the fewest that can be split into train and \
                 test: {EXPECTED}"
            );
            return Err(DataError::layout(dir, problem));
        }
        let names: Vec<_> = classes.iter().map(|class| class.name.as_str()).collect();
        let splits = split_by_name(&names);
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
    Ok(Dataset::from_items(name_of(dir), items, class_names)?.with_notes(aside.notes()))
}

/// A folder of pictures and nothing that says which belong together.
fn unlabelled(dir: &Path, mut aside: Aside) -> Result<Dataset, DataError> {
    let images = std::mem::take(&mut aside.stray)
        .into_iter()
        .map(|path| (name_of(&path), ImageSource::File(path)));
    Ok(Dataset::unlabelled(name_of(dir), images)?.with_notes(aside.notes()))
}

/// The folders of the splits, in their order. None where a name of a split is that of a class.
fn split_folders<'a>(dir: &Path, top: &'a Listing) -> Result<Vec<(Split, &'a PathBuf)>, DataError> {
    let mut found = Vec::new();
    for (split, names) in SPLITS {
        let is_named = |path: &&PathBuf| {
            names
                .iter()
                .any(|name| path.file_name() == Some(name.as_ref()))
        };
        let named: Vec<&PathBuf> = top.folders.iter().filter(is_named).collect();
        if let [first, second, ..] = named[..] {
            let problem = format!(
                "has folders {} and {}, two names of one split: keep one of them",
                name_of(first),
                name_of(second)
            );
            return Err(DataError::layout(dir, problem));
        }
        found.extend(named.into_iter().map(|path| (split, path)));
    }
    // Nobody has two classes `train` and `test`. Any other set of these names are splits only if they
    // hold class folders.
    let has = |wanted| found.iter().any(|&(split, _)| split == wanted);
    let both = has(Split::Train) && has(Split::Test);
    let mut splits = Vec::new();
    for (split, path) in found {
        let is_split = match split {
            Split::Train | Split::Test if both => true,
            _ => {
                let listing = list(path)?;
                listing.images.is_empty() && !listing.folders.is_empty()
            }
        };
        if is_split {
            splits.push((split, path));
        }
    }
    Ok(splits)
}

/// The entries of a folder, in the order of their names, hidden ones left out.
struct Listing {
    folders: Vec<PathBuf>,
    images: Vec<PathBuf>,
    /// The files besides the images.
    others: Vec<PathBuf>,
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
        others: Vec::new(),
    };
    for path in paths {
        // Follows links: data sets are often trees of them. One that leads nowhere is an image that is
        // not there, if it is named like one.
        if std::fs::metadata(&path).is_ok_and(|found| found.is_dir()) {
            listing.folders.push(path);
        } else if is_image(&path) {
            listing.images.push(path);
        } else {
            listing.others.push(path);
        }
    }
    Ok(listing)
}

/// The folders of `parent` that have images.
fn class_folders(parent: Listing, aside: &mut Aside) -> Result<Vec<ClassFolder>, DataError> {
    aside.stray.extend(parent.images);
    aside.files.extend(parent.others);
    let mut classes = Vec::new();
    for folder in parent.folders {
        let name = name_of(&folder);
        let listing = list(&folder)?;
        aside.files.extend(listing.others);
        aside.nested.extend(listing.folders);
        if listing.images.is_empty() {
            aside.empty.push(folder);
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
    names::escape_os(path.file_name().unwrap_or(path.as_os_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Note;

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
    fn classes_are_split_by_name_where_nothing_else_is_said() {
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
        let expected = split_by_name(&["a", "b", "c", "d"]);
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
            "notes/a/1.png",
        ]);
        let dataset = read(dir.path()).unwrap();
        assert_eq!(names(&dataset, Split::Train), ["a/1.png", "b/1.png"]);
        assert_eq!(names(&dataset, Split::Test), ["b/2.png", "c/1.png"]);
        assert_eq!(dataset.class_names(), ["a", "b", "c"]);
        assert_eq!(dataset.labels(dataset.split(Split::Test)), [1, 2]);
        assert!(
            dataset.notes()[0].message().contains("notes"),
            "{:?}",
            dataset.notes()
        );

        // Two classes whose names happen to be such.
        let dir = tree(&["train/1.png", "bus/1.png"]);
        assert_eq!(read(dir.path()).unwrap().class_names(), ["bus", "train"]);
    }

    #[test]
    fn validation_is_a_split_of_its_own_and_any_split_may_be_missing() {
        for name in ["val", "valid", "validation"] {
            let own = format!("{name}/c/1.png");
            let dir = tree(&["train/a/1.png", "test/b/2.png", &own]);
            let dataset = read(dir.path()).unwrap();
            assert_eq!(names(&dataset, Split::Train), ["a/1.png"]);
            assert_eq!(names(&dataset, Split::Validation), ["c/1.png"]);
            assert_eq!(names(&dataset, Split::Test), ["b/2.png"]);
            assert!(dataset.notes().is_empty());
        }
        for (name, split) in [
            ("train", Split::Train),
            ("val", Split::Validation),
            ("test", Split::Test),
        ] {
            let dir = tree(&[&format!("{name}/a/1.png"), &format!("{name}/b/1.png")]);
            let dataset = read(dir.path()).unwrap();
            assert_eq!(names(&dataset, split), ["a/1.png", "b/1.png"]);
            assert_eq!(dataset.items().len(), 2, "the other splits are empty");
        }
        // Images without classes are no split.
        let dir = tree(&["train/a/1.png", "train/b/1.png", "val/1.png"]);
        let dataset = read(dir.path()).unwrap();
        assert!(dataset.split(Split::Validation).is_empty());
        assert!(
            dataset.notes()[0].message().contains("val"),
            "{:?}",
            dataset.notes()
        );

        let dir = tree(&["train/a/1.png", "val/a/1.png", "validation/a/1.png"]);
        let message = read(dir.path()).unwrap_err().to_string();
        assert!(message.contains("two names of one split"), "{message}");
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
        let notes: Vec<&str> = dataset.notes().iter().map(Note::message).collect();
        let notes = notes.join("; ");
        for word in [
            "2 files are no image and left aside: 1 .md, 1 .txt",
            "1 folder inside",
            "1 class folder has no image",
            "empty",
        ] {
            assert!(notes.contains(word), "{word}: {notes}");
        }
    }

    #[test]
    fn pictures_without_class_folders_are_an_unlabelled_set() {
        let dir = tree(&["2.jfif", "1.PNG", "notes.txt", "film.heic", "empty/"]);
        let dataset = read(dir.path()).unwrap();
        assert!(!dataset.is_labelled());
        assert_eq!(names(&dataset, Split::Test), ["1.PNG", "2.jfif"]);
        assert!(dataset.split(Split::Train).is_empty());
        assert_eq!(dataset.notes().len(), 3);
        assert!(dataset.notes()[0].is_warning());
        // A class folder is enough for labels.
        let dir = tree(&["1.png", "a/1.png", "b/1.png"]);
        let dataset = read(dir.path()).unwrap();
        assert!(dataset.is_labelled());
        assert!(
            dataset.notes()[0]
                .message()
                .contains("1 image is in no class folder")
        );
    }

    #[test]
    fn a_folder_that_cannot_be_used_is_named_with_the_way_out() {
        let missing = Path::new("nowhere/at/all");
        let empty = tree(&["readme.md", "a/"]);
        let single = tree(&["only/1.png"]);
        let half = tree(&["train/a/1.png", "test/a/"]);
        let file = empty.path().join("readme.md");
        for (dir, word) in [
            (missing, "is not there"),
            (file.as_path(), "is no folder"),
            (empty.path(), "has 0 class folders"),
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
