//! What a folder holds and a reader leaves aside, and what is said about it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::count;
use crate::dataset::Note;
use crate::names;

/// Name endings of images that can be read.
const READ: [&str; 7] = ["png", "jpg", "jpeg", "jfif", "jpe", "webp", "bmp"];

/// Name endings of images that cannot.
const OTHER_IMAGES: [&str; 34] = [
    "3fr", "arw", "avif", "cr2", "cr3", "crw", "dib", "dng", "erf", "exr", "gif", "hdr", "heic",
    "heif", "hif", "ico", "j2k", "jp2", "jxl", "kdc", "nef", "nrw", "orf", "pef", "pgm", "ppm",
    "psd", "raf", "raw", "rw2", "svg", "tga", "tif", "tiff",
];

/// Endings that a sentence names.
const NAMED: usize = 6;

/// Whether a file is named like an image that can be read: PNG, JPEG, WebP or BMP.
pub fn is_image(path: &Path) -> bool {
    READ.contains(&ending(path).as_str())
}

/// What was met and is not used.
#[derive(Default)]
pub(super) struct Aside {
    /// Files that are not named like images that can be read.
    pub files: Vec<PathBuf>,
    /// Images that are in no class folder.
    pub stray: Vec<PathBuf>,
    /// Folders inside class folders.
    pub nested: Vec<PathBuf>,
    /// Class folders without images.
    pub empty: Vec<PathBuf>,
    /// Folders beside those of the splits.
    pub beside_splits: Vec<PathBuf>,
}

impl Aside {
    pub(super) fn notes(mut self) -> Vec<Note> {
        let mut notes = Vec::new();
        self.files.sort();
        let (images, others): (Vec<_>, Vec<_>) = self
            .files
            .into_iter()
            .partition(|path| OTHER_IMAGES.contains(&ending(path).as_str()));
        if !images.is_empty() {
            let (endings, first) = endings(&images);
            let files = count(images.len(), "image is", "images are");
            notes.push(Note::warning(
                format!(
                    "{files} of a kind that is not read, and left aside: {endings}; convert them to JPEG or \
                     PNG, for example by `magick mogrify -format jpg '*{first}'`"
                ),
                images,
            ));
        }
        if !others.is_empty() {
            let (endings, _) = endings(&others);
            let files = count(others.len(), "file is", "files are");
            notes.push(Note::new(
                format!("{files} no image and left aside: {endings}"),
                others,
            ));
        }
        let mut tell = |paths: Vec<PathBuf>, one: &str, many: &str, what: &str| {
            if let Some(first) = paths.first() {
                let first = names::escape_os(first.file_name().unwrap_or(first.as_os_str()));
                let counted = count(paths.len(), one, many);
                notes.push(Note::new(
                    format!("{counted} {what}, the first is {first}"),
                    paths,
                ));
            }
        };
        tell(
            self.stray,
            "image is",
            "images are",
            "in no class folder and left aside",
        );
        tell(
            self.nested,
            "folder inside a class folder is",
            "folders inside class folders are",
            "not read",
        );
        tell(
            self.empty,
            "class folder has",
            "class folders have",
            "no image and left aside",
        );
        tell(
            self.beside_splits,
            "folder",
            "folders",
            "beside those of the splits left aside",
        );
        notes
    }
}

/// `80 .tif, 40 .heic and 16 others`, the most frequent first; and the first ending.
fn endings(files: &[PathBuf]) -> (String, String) {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for file in files {
        *counts.entry(ending(file)).or_default() += 1;
    }
    let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let first = format!(".{}", counts[0].0);
    let rest: usize = counts.iter().skip(NAMED).map(|(_, count)| count).sum();
    let mut named: Vec<String> = counts
        .into_iter()
        .take(NAMED)
        .map(|(ending, count)| match ending.as_str() {
            "" => format!("{count} without an ending"),
            _ => format!("{count} .{ending}"),
        })
        .collect();
    if rest > 0 {
        named.push(count(rest, "other", "others"));
    }
    (named.join(", "), first)
}

/// The ending of a name in small letters, as it can be shown; empty if there is none.
fn ending(path: &Path) -> String {
    let ending = path.extension().unwrap_or_default();
    names::escape_os(ending).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(of_endings: &[(&str, usize)]) -> Vec<PathBuf> {
        let all = of_endings
            .iter()
            .flat_map(|(ending, count)| (0..*count).map(move |file| format!("{file}{ending}")));
        all.map(PathBuf::from).collect()
    }

    #[test]
    fn endings_are_counted_and_known_images_are_a_warning() {
        let aside = Aside {
            files: files(&[
                (".TIF", 80),
                (".heic", 40),
                (".txt", 2),
                (".CSV", 1),
                ("", 1),
            ]),
            ..Aside::default()
        };
        let notes = aside.notes();
        let told: Vec<(&str, bool, usize)> = notes
            .iter()
            .map(|note| (note.message(), note.is_warning(), note.paths().len()))
            .collect();
        let images = "120 images are of a kind that is not read, and left aside: 80 .tif, 40 .heic; \
                      convert them to JPEG or PNG, for example by `magick mogrify -format jpg '*.tif'`";
        let others = "4 files are no image and left aside: 2 .txt, 1 without an ending, 1 .csv";
        assert_eq!(told, [(images, true, 120), (others, false, 4)]);
    }

    #[test]
    fn a_sentence_names_the_most_frequent_endings() {
        let many = ["a", "b", "c", "d", "e", "f", "g", "h"].map(|ending| format!(".{ending}"));
        let mut of: Vec<(&str, usize)> = many.iter().map(|ending| (ending.as_str(), 2)).collect();
        of[7].1 = 3;
        let (told, first) = endings(&files(&of));
        assert_eq!(told, "3 .h, 2 .a, 2 .b, 2 .c, 2 .d, 2 .e, 4 others");
        assert_eq!(first, ".h");
    }

    #[test]
    fn images_are_known_by_their_endings() {
        for name in ["a.png", "b.JPG", "c.jpeg", "d.jfif", "e.WebP", "f.jpe"] {
            assert!(is_image(Path::new(name)), "{name}");
        }
        assert!(READ.iter().all(|ending| !OTHER_IMAGES.contains(ending)));
        for name in ["a.heic", "png", "b.png.txt", ".png"] {
            assert!(!is_image(Path::new(name)), "{name}");
        }
    }
}
