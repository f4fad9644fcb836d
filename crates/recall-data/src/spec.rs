use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::{DataError, Dataset, readers};

/// Which data set, as a command line or a configuration names it.
///
/// | written | data set |
/// |---|---|
/// | `emoji` | the embedded one: emoji, each drawn by several vendors, 32 x 32 |
/// | `folder:DIR` | `DIR/class/image`, or `DIR/train/class/image` and `DIR/test/class/image` |
/// | `csv:FILE` | columns `path,label[,split,is_query,is_gallery,x_1,y_1,x_2,y_2]` |
///
/// `Display` writes what `FromStr` reads, for paths that are valid UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DataSpec {
    /// The embedded emoji. Half of the classes train and the other half test.
    Emoji,
    /// A folder with one folder a class, see [`DataSpec::open`].
    Folder(PathBuf),
    /// A table of images, see [`DataSpec::open`].
    Csv(PathBuf),
}

impl DataSpec {
    /// Reads the data set: which items there are, not yet their pixels.
    ///
    /// **Folders.** `DIR/class/image.ext` with `png`, `jpg`, `jpeg` or `webp`. If `DIR` has folders
    /// `train` and `test`, each of them holds class folders, and they are the splits. Otherwise half
    /// of the classes train and the others test, see
    /// [`split_classes_in_half`](crate::split_classes_in_half). Everything comes in the order of
    /// the names. Hidden files are ignored; other files, empty class folders and folders inside class
    /// folders are left aside and told in [`Dataset::notes`].
    ///
    /// **Tables.** Needed columns: `path`, relative to the folder of the CSV file, and `label`.
    /// Optional: `split` (`train`, `test` or `validation`, which counts as test; without the column
    /// half of the classes train and the others test), `is_query` and `is_gallery` (true or false),
    /// the box `x_1,y_1,x_2,y_2` in pixels. Other columns are ignored.
    ///
    /// # Errors
    ///
    /// A path that is not there or is not in the layout, a line of a table that cannot be used.
    pub fn open(&self) -> Result<Dataset, DataError> {
        match self {
            Self::Emoji => readers::emoji::read(),
            Self::Folder(dir) => readers::folder::read(dir),
            Self::Csv(file) => readers::csv::read(file),
        }
    }
}

impl FromStr for DataSpec {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path_problem = |problem: &str| DataError::SpecPath {
            given: text.into(),
            problem: problem.into(),
        };
        let (kind, path) = match text.split_once(':') {
            Some((kind, path)) => (kind, Some(path)),
            None => (text, None),
        };
        match (kind, path) {
            ("emoji", None) => Ok(Self::Emoji),
            ("emoji", Some(_)) => Err(path_problem("takes no path: write `emoji`")),
            ("folder", None | Some("")) => Err(path_problem(
                "needs a folder after the colon: write `folder:DIR`",
            )),
            ("folder", Some(path)) => Ok(Self::Folder(path.into())),
            ("csv", None | Some("")) => Err(path_problem(
                "needs a file after the colon: write `csv:FILE`",
            )),
            ("csv", Some(path)) => Ok(Self::Csv(path.into())),
            _ => Err(DataError::UnknownSpec { given: text.into() }),
        }
    }
}

impl fmt::Display for DataSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Emoji => f.write_str("emoji"),
            Self::Folder(dir) => write!(f, "folder:{}", dir.display()),
            Self::Csv(file) => write!(f, "csv:{}", file.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_unknown_kind_is_answered_with_the_kinds() {
        for given in ["imagenet", "sop:/data", "", ":x", "Emoji"] {
            let message = given.parse::<DataSpec>().unwrap_err().to_string();
            for kind in ["emoji", "folder:DIR", "csv:FILE"] {
                assert!(message.contains(kind), "{message}");
            }
        }
    }

    #[test]
    fn a_path_is_asked_for_and_only_where_it_means_something() {
        for (given, hint) in [
            ("folder", "folder:DIR"),
            ("folder:", "folder:DIR"),
            ("csv", "csv:FILE"),
            ("csv:", "csv:FILE"),
            ("emoji:/tmp", "takes no path"),
        ] {
            let message = given.parse::<DataSpec>().unwrap_err().to_string();
            assert!(message.contains(hint), "{message}");
        }
    }

    proptest! {
        #[test]
        fn display_round_trips(path in "[^\u{0}]{1,20}") {
            for spec in [
                DataSpec::Emoji,
                DataSpec::Folder(path.clone().into()),
                DataSpec::Csv(path.into()),
            ] {
                prop_assert_eq!(spec.to_string().parse::<DataSpec>().unwrap(), spec);
            }
        }
    }
}
