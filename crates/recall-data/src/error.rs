use std::path::PathBuf;

/// What can be wrong with a data set, a sampler, a transform or an image. Each message is one
/// sentence that names the thing and, where there is one, the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The data set is one that a program builds itself.
    #[error(
        "the data set own:{name} is one that a program builds itself, and only that program can open it: name \
         another one"
    )]
    Own {
        /// Its name.
        name: String,
    },
    /// A data set specification whose kind does not exist.
    #[error(
        "`{given}` is no data set: write `emoji`, `folder:DIR` (DIR/class/image), `csv:FILE` \
         (columns path,label), `embeddings:FILE` (.npy or .safetensors, a row for each item) or one of {} with `:DIR`",
        crate::Benchmark::ALL.map(crate::Benchmark::name).join(", ")
    )]
    UnknownSpec {
        /// The specification as it was given.
        given: String,
    },

    /// A data set specification of a kind that needs a path, or takes none.
    #[error("`{given}` {problem}")]
    SpecPath {
        /// The specification as it was given.
        given: String,
        /// What is wrong with its path, and how to write it.
        problem: String,
    },

    /// The operating system refused a file or folder.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },

    /// Files are there, but not in the layout that was asked for.
    #[error("{} {problem}", path.display())]
    Layout {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it, and what is expected.
        problem: String,
    },

    /// A line of a table or a list cannot be used.
    #[error("line {line} of {}: {problem}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1; a header counts.
        line: u64,
        /// What is wrong with it, and what is expected.
        problem: String,
    },

    /// A binary file (MATLAB, pickle) that is damaged, or holds something else than is expected.
    #[error("{} at byte {offset}: {problem}", path.display())]
    Binary {
        /// The file.
        path: PathBuf,
        /// The byte, from 0; in what was unpacked where the file is compressed.
        offset: usize,
        /// What is wrong with it.
        problem: String,
    },

    /// Images that a data set lists are not there.
    #[error(
        "{missing} of the {count} images of {dataset} are not there, the first is {}: \
         `recall-train check` lists them, --skip-corrupt leaves them out",
        first.display()
    )]
    MissingImages {
        /// The name of the data set.
        dataset: String,
        /// How many images it lists.
        count: usize,
        /// How many of them are not there.
        missing: usize,
        /// The first of those.
        first: PathBuf,
    },

    /// The embedded emoji asset is damaged.
    #[error("the embedded emoji asset is damaged ({problem}): rebuild it with `cargo xtask emoji`")]
    Asset {
        /// What is wrong with it.
        problem: String,
    },

    /// Items that do not make a data set.
    #[error("the data set {dataset} cannot be used: {problem}")]
    Items {
        /// The name of the data set.
        dataset: String,
        /// What is wrong with it.
        problem: String,
    },

    /// An item id that the data set does not have.
    #[error("there is no item {id}: the data set {dataset} has {count} items, numbered from 0")]
    UnknownItem {
        /// The id that was asked for.
        id: usize,
        /// The name of the data set.
        dataset: String,
        /// How many items there are.
        count: usize,
    },

    /// A bounding box without area.
    #[error(
        "the box from ({left}, {top}) to ({right}, {bottom}) has no area: right and bottom are \
         exclusive and must be larger than left and top"
    )]
    EmptyBox {
        /// First column, in pixels.
        left: u32,
        /// First row, in pixels.
        top: u32,
        /// One past the last column, in pixels.
        right: u32,
        /// One past the last row, in pixels.
        bottom: u32,
    },

    /// Settings with which no batch can be drawn.
    #[error("no batches with these settings: {problem}")]
    Sampler {
        /// The setting, its value and what would do.
        problem: String,
    },

    /// Too few classes for even one batch.
    #[error(
        "no batch can be drawn: {problem}; {}",
        match largest {
            Some(images) => format!("the largest that works has {images} images"),
            None => "no batch works with fewer than two such classes".to_owned(),
        }
    )]
    TooFewClasses {
        /// What a batch takes, and what there is.
        problem: String,
        /// Images in the largest batch that these classes give, if they give one.
        largest: Option<usize>,
    },

    /// A transform that cannot be applied.
    #[error("{field} of the image transform is {value}: {expected}")]
    Transform {
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
        /// What would do.
        expected: &'static str,
    },

    /// The loader's settings make no loader.
    #[error("no image loader with these settings: {problem}")]
    Loader {
        /// The setting, its value and what would do.
        problem: String,
    },

    /// A file of features or of their labels.
    #[error(transparent)]
    Features(#[from] recall_eval::EvalError),

    /// A row of features that no head can use.
    #[error(
        "row {row} of {} {problem}: mend the file, or leave such rows out with --skip-corrupt",
        path.display()
    )]
    Row {
        /// The file.
        path: PathBuf,
        /// The row, from 0.
        row: usize,
        /// What is wrong with it.
        problem: String,
    },

    /// An image that is not one, or is cut short.
    #[error("cannot decode the image {image}: {problem}")]
    Decode {
        /// The file, or the item's name where it is no file.
        image: String,
        /// What the decoder says.
        problem: String,
    },
}

impl DataError {
    pub(crate) fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io {
            path: path.into(),
            source,
        }
    }

    pub(crate) fn layout(path: impl Into<PathBuf>, problem: impl Into<String>) -> Self {
        Self::Layout {
            path: path.into(),
            problem: problem.into(),
        }
    }
}
