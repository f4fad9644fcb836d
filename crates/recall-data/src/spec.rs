use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Benchmark, CorruptPolicy, DataError, Dataset, readers};

/// Which data set, as a command line or a configuration names it.
///
/// | written | data set |
/// |---|---|
/// | `emoji` | the embedded one: emoji, each drawn by several vendors, 32 x 32 |
/// | `folder:DIR` | `DIR/class/image`, or `DIR/train/class/image` and the like for `test` and `validation` |
/// | `csv:FILE` | columns `path,label[,split,is_query,is_gallery,x_1,y_1,x_2,y_2]` |
/// | `embeddings:FILE` | rows of features in `.npy` or `.safetensors`, with labels in it or beside it |
/// | `embeddings:FILE,LABELS` | the same with the labels of `.npy`, `.safetensors` or a table in CSV |
/// | `sop:DIR` and the other names of [`Benchmark`] | the benchmark, in the layout in which it is published |
///
/// `Display` writes what `FromStr` reads, for paths that are valid UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
#[non_exhaustive]
pub enum DataSpec {
    /// The embedded emoji. Half of the classes train and the other half test.
    #[default]
    Emoji,
    /// A folder with one folder a class, see [`DataSpec::open`].
    Folder(PathBuf),
    /// A table of images, see [`DataSpec::open`].
    Csv(PathBuf),
    /// Rows of features, see [`DataSpec::open`].
    Embeddings {
        /// The rows.
        file: PathBuf,
        /// What is known of them, if it is not in `file` or beside it.
        labels: Option<PathBuf>,
    },
    /// A benchmark and its folder.
    Benchmark(Benchmark, PathBuf),
    /// A data set that a program builds itself, by its name: nothing else can open it.
    Own(String),
}

impl DataSpec {
    /// Reads the data set: which items there are and that their files are there, not yet their pixels.
    ///
    /// **Folders.** `DIR/class/image.ext` with `png`, `jpg`, `jpeg`, `jfif`, `jpe`, `webp` or `bmp`. If `DIR` has folders
    /// `train`, `test` or `validation` (or `val`, `valid`) that hold class folders, they are the splits,
    /// and a split that is not there has no images. Otherwise classes train or test by
    /// their names, about half of them each, see
    /// [`split_by_name`](crate::split_by_name). Everything comes in the order of
    /// the names. Hidden files are ignored; other files, empty class folders and folders inside class
    /// folders are left aside and told in [`Dataset::notes`].
    ///
    /// **Tables.** Needed columns: `path`, relative to the folder of the CSV file, and `label`.
    /// Optional: `split` (`train`, `validation` or `test`; without the column
    /// as in folders), `is_query` and `is_gallery` (true or false),
    /// the box `x_1,y_1,x_2,y_2` in pixels. Other columns are ignored.
    ///
    /// **Embeddings.** A row of features for each item, f16, f32 or f64. Their labels are those of the
    /// `LABELS` named after a comma: whole numbers in `.npy` or `.safetensors`, or a table with the column
    /// `label` and, if wanted, `path` of a picture to show, `split`, `is_query` and `is_gallery`, a line for
    /// each row. Otherwise they are in `FILE` as the tensor `labels`, or beside it as `NAME.labels.npy`.
    /// A tensor `train` says which rows are trained on (1) and tested (0); without it and without the column `split`,
    /// classes are split as in folders. Without labels, rows can be embedded and searched. Only the rows of a
    /// batch are read.
    ///
    /// **Benchmarks.** The folder as it comes out of the archive, see [`Benchmark`]. Training and
    /// test classes are disjoint, as in the retrieval literature, whatever other splits
    /// for classification lie beside.
    ///
    /// # Errors
    ///
    /// A path that is not there or is not in the layout, a line of a list that cannot be used, an image
    /// that is listed but not there.
    pub fn open(&self) -> Result<Dataset, DataError> {
        let dataset = match self {
            // Names the line, too.
            Self::Csv(file) => readers::csv::read(file, true)?,
            other => other.index()?,
        };
        let mut missing = dataset.missing_files();
        if missing.is_empty() {
            return Ok(dataset);
        }
        Err(DataError::MissingImages {
            dataset: dataset.name().to_owned(),
            count: dataset.items().len(),
            missing: missing.len(),
            first: missing.swap_remove(0).1,
        })
    }

    /// Its folder or file; none where it lies in the program.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Emoji | Self::Own(_) => None,
            Self::Folder(path)
            | Self::Csv(path)
            | Self::Embeddings { file: path, .. }
            | Self::Benchmark(_, path) => Some(path),
        }
    }

    /// The same data set by a path that holds wherever the process is. Links stay links.
    ///
    /// # Errors
    ///
    /// A path that is empty, or a process whose folder is not there any more.
    pub fn absolute(&self) -> io::Result<Self> {
        let mut spec = self.clone();
        match &mut spec {
            Self::Emoji | Self::Own(_) => {}
            Self::Folder(path) | Self::Csv(path) | Self::Benchmark(_, path) => {
                *path = std::path::absolute(&*path)?;
            }
            Self::Embeddings { file, labels } => {
                for path in std::iter::once(file).chain(labels) {
                    *path = std::path::absolute(&*path)?;
                }
            }
        }
        Ok(spec)
    }

    /// As [`open`](Self::open), but what is to be done about images that are not there is left to
    /// `corrupt`: a loader that skips what cannot be read skips them as well.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open).
    pub fn open_for(&self, corrupt: CorruptPolicy) -> Result<Dataset, DataError> {
        match corrupt {
            CorruptPolicy::Error => self.open(),
            CorruptPolicy::Skip => self.index(),
        }
    }

    /// Reads what the lists of the data set say, without a look at whether the images are there.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), but for images that are not there.
    pub fn index(&self) -> Result<Dataset, DataError> {
        match self {
            Self::Emoji => readers::emoji::read(),
            Self::Folder(dir) => readers::folder::read(dir),
            Self::Csv(file) => readers::csv::read(file, false),
            Self::Embeddings { file, labels } => readers::embeddings::read(file, labels.as_deref()),
            Self::Benchmark(benchmark, dir) => index_benchmark(*benchmark, dir),
            Self::Own(name) => Err(DataError::Own { name: name.clone() }),
        }
    }
}

impl DataSpec {
    /// `FILE` or `FILE,LABELS`. A comma in a name is a part of it unless what stands on both sides ends as
    /// such files do.
    fn embeddings(text: &str) -> Self {
        let ends = |path: &str, endings: &[&str]| {
            let path = path.to_ascii_lowercase();
            endings.iter().any(|ending| path.ends_with(ending))
        };
        let parts = text
            .match_indices(',')
            .map(|(at, _)| (&text[..at], &text[at + 1..]));
        let mut parts = parts.filter(|(file, labels)| {
            ends(file, &[".npy", ".safetensors"]) && ends(labels, &[".npy", ".safetensors", ".csv"])
        });
        match parts.next() {
            Some((file, labels)) => Self::Embeddings {
                file: file.into(),
                labels: Some(labels.into()),
            },
            None => Self::Embeddings {
                file: text.into(),
                labels: None,
            },
        }
    }
}

/// Reads the lists of a benchmark.
fn index_benchmark(benchmark: Benchmark, dir: &Path) -> Result<Dataset, DataError> {
    let read = match benchmark {
        Benchmark::Sop => readers::sop::read,
        Benchmark::Cub => readers::cub::read,
        Benchmark::Cars196 => readers::cars196::read,
        Benchmark::Inat2018 => readers::inat2018::read,
        Benchmark::InShop => readers::inshop::read,
        Benchmark::VehicleId => readers::vehicle_id::read,
        Benchmark::Roxford5k => readers::revisited::read_oxford,
        Benchmark::Rparis6k => readers::revisited::read_paris,
        Benchmark::Revisitop1m => readers::revisitop1m::read,
        Benchmark::Gldv1 => readers::gldv1::read,
        Benchmark::Gldv2 => readers::gldv2::read,
        Benchmark::Gldv2Retrieval => readers::gldv2_retrieval::read,
        Benchmark::Sfm120k => readers::sfm120k::read,
        // The one that publishes images to be turned upright, and names from the disk.
        Benchmark::Ilias => return readers::ilias::read(dir),
    };
    // Figures are published of the pixels as they are stored.
    Ok(read(dir)?.with_turns_upright(false).with_escaped_names())
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
        let needs_path = |what: &str, write: &str| {
            path.filter(|path| !path.is_empty()).ok_or_else(|| {
                path_problem(&format!(
                    "needs a {what} after the colon: write `{kind}:{write}`"
                ))
            })
        };
        match kind {
            "emoji" if path.is_some() => Err(path_problem("takes no path: write `emoji`")),
            "emoji" => Ok(Self::Emoji),
            "folder" => Ok(Self::Folder(needs_path("folder", "DIR")?.into())),
            "csv" => Ok(Self::Csv(needs_path("file", "FILE")?.into())),
            "embeddings" => Ok(Self::embeddings(needs_path("file", "FILE")?)),
            // Only a program writes this; whoever types half of it means something else.
            "own" => match path.filter(|name| !name.is_empty()) {
                Some(name) => Ok(Self::Own(name.to_owned())),
                None => Err(DataError::UnknownSpec { given: text.into() }),
            },
            _ => match Benchmark::named(kind) {
                Some(benchmark) => Ok(Self::Benchmark(
                    benchmark,
                    needs_path("folder", "DIR")?.into(),
                )),
                None => Err(DataError::UnknownSpec { given: text.into() }),
            },
        }
    }
}

impl TryFrom<String> for DataSpec {
    type Error = DataError;

    fn try_from(text: String) -> Result<Self, DataError> {
        text.parse()
    }
}

impl From<DataSpec> for String {
    fn from(spec: DataSpec) -> Self {
        spec.to_string()
    }
}

impl fmt::Display for DataSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Emoji => f.write_str("emoji"),
            Self::Folder(dir) => write!(f, "folder:{}", dir.display()),
            Self::Csv(file) => write!(f, "csv:{}", file.display()),
            Self::Embeddings { file, labels: None } => write!(f, "embeddings:{}", file.display()),
            Self::Embeddings {
                file,
                labels: Some(labels),
            } => write!(f, "embeddings:{},{}", file.display(), labels.display()),
            Self::Benchmark(benchmark, dir) => write!(f, "{benchmark}:{}", dir.display()),
            Self::Own(name) => write!(f, "own:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_unknown_kind_is_answered_with_the_kinds() {
        for given in ["imagenet", "SOP:/data", "", ":x", "Emoji"] {
            let message = given.parse::<DataSpec>().unwrap_err().to_string();
            for kind in ["emoji", "folder:DIR", "csv:FILE", "sop", "rparis6k"] {
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
            ("embeddings:", "embeddings:FILE"),
            ("sop", "sop:DIR"),
            ("cub:", "cub:DIR"),
            ("emoji:/tmp", "takes no path"),
        ] {
            let message = given.parse::<DataSpec>().unwrap_err().to_string();
            assert!(message.contains(hint), "{message}");
        }
    }

    #[test]
    fn every_benchmark_is_found_by_its_name() {
        for benchmark in Benchmark::ALL {
            let spec: DataSpec = format!("{benchmark}:a:b").parse().unwrap();
            assert_eq!(spec, DataSpec::Benchmark(benchmark, "a:b".into()));
        }
    }

    #[test]
    fn labels_stand_behind_a_comma() {
        let split = |text: &str| match text.parse().unwrap() {
            DataSpec::Embeddings { file, labels } => (
                file.display().to_string(),
                labels.map(|labels| labels.display().to_string()),
            ),
            other => panic!("{other:?}"),
        };
        for (text, file, labels) in [
            ("embeddings:a.npy", "a.npy", None),
            ("embeddings:a.npy,b.csv", "a.npy", Some("b.csv")),
            (
                "embeddings:x/a.SafeTensors,/b.npy",
                "x/a.SafeTensors",
                Some("/b.npy"),
            ),
            ("embeddings:a,b.npy", "a,b.npy", None),
            ("embeddings:a,b.npy,c,d.npy", "a,b.npy", Some("c,d.npy")),
            ("embeddings:a.npy,b.txt", "a.npy,b.txt", None),
        ] {
            assert_eq!(split(text), (file.to_owned(), labels.map(str::to_owned)));
        }
    }

    proptest! {
        #[test]
        fn display_round_trips(path in "[^\u{0}]{1,20}") {
            for spec in [
                DataSpec::Emoji,
                DataSpec::Folder(path.clone().into()),
                DataSpec::Csv(path.clone().into()),
                DataSpec::Own(path.clone()),
                DataSpec::Embeddings { file: format!("{path}.npy").into(), labels: None },
                DataSpec::Embeddings {
                    file: "a.npy".into(),
                    labels: Some(format!("{path}.csv").into()),
                },
                DataSpec::Benchmark(Benchmark::InShop, path.into()),
            ] {
                prop_assert_eq!(spec.to_string().parse::<DataSpec>().unwrap(), spec);
            }
        }
    }
}
