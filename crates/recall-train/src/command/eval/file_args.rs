//! Which files are judged.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// What to judge, made by whatever program.
#[derive(Debug, Args)]
pub(super) struct FileArgs {
    /// Embeddings, a row for each item: .npy (f16, f32, f64) or .safetensors. With
    /// --query-embeddings they are the gallery, otherwise each item is searched for among the rest.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["data", "skip_corrupt"])]
    pub embeddings: Option<PathBuf>,
    /// The class of each row; none for the labels in the file of the embeddings. The option is one of all
    /// commands.
    #[arg(skip)]
    pub labels: Option<PathBuf>,
    /// Embeddings of the queries, if these are a set of their own.
    #[arg(long, value_name = "FILE", requires = "embeddings")]
    pub query_embeddings: Option<PathBuf>,
    /// The class of each query.
    #[arg(long, value_name = "FILE", requires = "query_embeddings")]
    pub query_labels: Option<PathBuf>,
    /// Lists of what each query should find, in JSON, instead of labels:
    /// [{"positives": [3, 5], "junk": [1]}, ...], or easy and hard instead of positives.
    #[arg(long, value_name = "FILE", requires = "query_embeddings",
          conflicts_with_all = ["labels", "query_labels", "groups"])]
    pub ground_truth: Option<PathBuf>,
    /// Embeddings of images that no query is looking for, such as the million of the revisited benchmarks: they
    /// are searched with those of --embeddings, and come after them in the numbers of the ground truth.
    #[arg(
        long,
        value_name = "FILE",
        requires = "ground_truth",
        conflicts_with = "compare"
    )]
    pub distractor_embeddings: Option<PathBuf>,
    /// A whole number for each row, such as its camera or sequence: items of the query's group
    /// leave its ranking, see --ignore.
    #[arg(long, value_name = "FILE", requires = "embeddings")]
    pub groups: Option<PathBuf>,
    /// The groups of the queries.
    #[arg(
        long,
        value_name = "FILE",
        requires = "groups",
        requires = "query_embeddings"
    )]
    pub query_groups: Option<PathBuf>,
    /// Which items of a query's group leave its ranking: same-class (camera) or all (sequence).
    #[arg(long, value_name = "WHICH", value_enum, requires = "groups",
          default_value_t = Ignore::SameClass, hide_possible_values = true)]
    pub ignore: Ignore,
    /// Take dot products of rows as they are. Otherwise rows are brought to length 1, so that the
    /// similarity is the cosine.
    #[arg(long, requires = "embeddings", conflicts_with = "whiten")]
    pub no_normalise: bool,
    /// Other embeddings of the same rows, to be compared query by query with the first.
    #[arg(long, value_name = "FILE", requires = "embeddings")]
    pub compare: Option<PathBuf>,
    /// Other embeddings of the same queries.
    #[arg(
        long,
        value_name = "FILE",
        requires = "compare",
        requires = "query_embeddings"
    )]
    pub compare_query_embeddings: Option<PathBuf>,
}

/// Which items of a query's group leave its ranking.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Ignore {
    SameClass,
    All,
}
