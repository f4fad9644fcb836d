use std::path::PathBuf;

/// What can be wrong with the input of an evaluation.
///
/// Every message is one sentence that names the item at fault and, where there is one, the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// There is no row, or rows have no column.
    #[error("there are no embeddings ({values} values of dimension {dim})")]
    Empty {
        /// Number of values given.
        values: usize,
        /// Columns of a row.
        dim: usize,
    },

    /// The values do not fill whole rows.
    #[error("{values} values do not divide into rows of {dim}")]
    Ragged {
        /// Number of values given.
        values: usize,
        /// Columns of a row.
        dim: usize,
    },

    /// A value is NaN or infinite in f32.
    #[error(
        "row {row} of the embeddings has {value} in column {column}: \
         an evaluation needs finite values"
    )]
    NotFinite {
        /// The first row with such a value, counted from 0.
        row: usize,
        /// Its first such column, counted from 0.
        column: usize,
        /// The value.
        value: f32,
    },

    /// A row has no direction.
    #[error("row {row} of the embeddings is zero and cannot be brought to unit length")]
    ZeroRow {
        /// The first such row, counted from 0.
        row: usize,
    },

    /// Labels and embeddings differ in number.
    #[error("{labels} labels for {rows} {what}: each row needs one label")]
    LabelCount {
        /// `embeddings`, `queries` or `gallery items`.
        what: &'static str,
        /// Number of labels.
        labels: usize,
        /// Number of rows.
        rows: usize,
    },

    /// Groups and embeddings differ in number.
    #[error("{groups} groups for {rows} {what}: each row needs one group")]
    GroupCount {
        /// `queries` or `gallery items`.
        what: &'static str,
        /// Number of groups.
        groups: usize,
        /// Number of rows.
        rows: usize,
    },

    /// Classes are needed and there are only lists of positives.
    #[error(
        "what to find is given as lists, so there are no classes: means over classes, resamples of \
         classes, and ignoring items of a group and class need labels"
    )]
    NoClasses,

    /// Queries and gallery come from different spaces.
    #[error("queries have {queries} dimensions and gallery items {gallery}: they must agree")]
    DimensionMismatch {
        /// Columns of a query.
        queries: usize,
        /// Columns of a gallery item.
        gallery: usize,
    },

    /// More items than an id (u32) can name.
    #[error(
        "a set of {rows} items is too large: at most {} can be ranked",
        u32::MAX
    )]
    TooManyItems {
        /// Number of rows.
        rows: usize,
    },

    /// The result of ranking does not fit in memory.
    #[error("there is no memory for the ranks of {pairs} pairs of query and positive")]
    TooManyPairs {
        /// Number of such pairs.
        pairs: usize,
    },

    /// One list of ids is needed for each query.
    #[error("{lists} lists of {what} for {queries} queries: each query needs one, empty or not")]
    ListCount {
        /// `positives` or `junk`.
        what: &'static str,
        /// Number of lists.
        lists: usize,
        /// Number of queries.
        queries: usize,
    },

    /// An id names no item of the gallery.
    #[error("{what} of query {query} name item {id}, but the gallery ends at {}", .gallery - 1)]
    UnknownItem {
        /// `positives` or `junk`.
        what: &'static str,
        /// The query, counted from 0.
        query: usize,
        /// The id.
        id: u32,
        /// Number of gallery items.
        gallery: usize,
    },

    /// A query number is not one of the queries.
    #[error("there is no query {query}: the last one is {}", .queries - 1)]
    UnknownQuery {
        /// The number asked for, counted from 0.
        query: usize,
        /// Number of queries.
        queries: usize,
    },

    /// An item is in two of the lists easy, hard and junk of a query.
    #[error("item {id} is listed twice in the ground truth of query {query}")]
    AmbiguousTruth {
        /// The query, counted from 0.
        query: usize,
        /// The item.
        id: u32,
    },

    /// A problem that is judged without what comes after the network.
    #[error("{what} is judged without these steps after the network")]
    NotRefined {
        /// What it is, and which steps.
        what: &'static str,
    },

    /// A setting outside its range.
    #[error("{setting} is {value}: it must be {range}")]
    InvalidSetting {
        /// Which setting.
        setting: &'static str,
        /// What it was given.
        value: f64,
        /// What it takes.
        range: String,
    },

    /// A method that compares by the cosine, and rows of other lengths.
    #[error("{method} needs rows of length 1: bring queries and gallery to unit length before")]
    NotUnit {
        /// Which method.
        method: &'static str,
    },

    /// A whitening that was learned from rows of another dimension.
    #[error("the whitening takes rows of {whitening} dimensions, and the embeddings have {rows}")]
    WhiteningDimension {
        /// Columns of the embeddings.
        rows: usize,
        /// Columns that it was learned from.
        whitening: usize,
    },

    /// A row that a whitening leaves without a direction.
    #[error(
        "row {row} of the embeddings is projected onto zero, or beyond the range of f32, by the whitening"
    )]
    Unprojected {
        /// The first such row, counted from 0.
        row: usize,
    },

    /// Rows that do not vary in as many directions as are asked for.
    #[error(
        "the rows vary in {found} directions and {wanted} are asked for: ask for fewer, give more rows, or shrink \
         the covariance"
    )]
    TooFewDirections {
        /// Directions of any variance.
        found: usize,
        /// Directions asked for.
        wanted: usize,
    },

    /// Whitening from pairs, and no pair.
    #[error("no two rows match, and this whitening is learned from pairs that do")]
    NoMatchingPair,

    /// Pairs whose differences leave out a direction.
    #[error(
        "the differences of matching rows leave out some of the {dim} directions, so they cannot be whitened: give \
         more pairs, or shrink their covariance"
    )]
    DegeneratePairs {
        /// Columns of a row.
        dim: usize,
    },

    /// A pair of rows of which one does not exist, or of a row with itself.
    #[error("pair {pair} is of rows {} and {}: rows are two different ones of {count}", .rows[0], .rows[1])]
    InvalidPair {
        /// The pair, counted from 0.
        pair: usize,
        /// Its rows.
        rows: [u32; 2],
        /// Number of rows.
        count: usize,
    },

    /// Eigenvectors that were not found.
    #[error("the principal directions of the rows were not found")]
    NoDirections,

    /// A device whose products cannot be trusted.
    #[error(
        "the products of the device are less exact than f32, also in two parts: \
         rank on the CPU instead"
    )]
    CoarseProducts,

    /// Work cannot be divided into blocks of nothing.
    #[error("a block must hold at least one query")]
    EmptyBlock,

    /// Ranks that no ranking can have.
    #[error(
        "the ranks of query {query} are not ascending numbers between 1 and {candidates}, \
         the number of items ranked"
    )]
    InvalidRanks {
        /// The query, counted from 0.
        query: usize,
        /// Items in its ranking.
        candidates: u32,
    },

    /// Not the name of a metric.
    #[error(
        "unknown metric `{name}`: the metrics are recall@K, ir_recall@K, precision@K, mp@K, map@K (K = 1, 2, ...), \
         r_precision, map@r, map, map_trapezoid and mrr"
    )]
    UnknownMetric {
        /// The name given.
        name: String,
    },

    /// A metric within the first 0 ranks.
    #[error("`{metric}` looks at no rank: k starts at 1")]
    ZeroCutoff {
        /// The metric.
        metric: String,
    },

    /// No metric was asked for.
    #[error("no metric was asked for: name at least one, such as recall@1")]
    NoMetric,

    /// A metric has two columns of values.
    #[error("`{metric}` is named twice, and which of its values are meant cannot be told")]
    RepeatedMetric {
        /// The metric.
        metric: String,
    },

    /// A value that no metric can have.
    #[error("{metric} of query {query} is {value}: a metric lies between 0 and 1")]
    InvalidValue {
        /// The metric.
        metric: String,
        /// The query, counted from 0.
        query: usize,
        /// The value.
        value: f64,
    },

    /// A bootstrap that draws nothing, or an interval of nothing or everything.
    #[error(
        "{resamples} resamples and a level of {level}: \
         an interval needs at least one resample and a level between 0 and 1"
    )]
    InvalidBootstrap {
        /// Number of resamples.
        resamples: usize,
        /// Level.
        level: f64,
    },

    /// Scores that do not belong together query by query.
    #[error(
        "the two to compare do not judge the same queries by the same metrics \
         ({first} and {second} queries count): give both the same labels or ground truth"
    )]
    NotPaired {
        /// Queries that count in the first.
        first: usize,
        /// Queries that count in the second.
        second: usize,
    },

    /// A random gallery that is never drawn.
    #[error("a random gallery needs at least one draw")]
    NoDraw,

    /// Not the name of a set-up of the revisited benchmarks.
    #[error("unknown set-up `{name}`: it is easy, medium or hard")]
    UnknownSetup {
        /// The name given.
        name: String,
    },

    /// Queries without positives, where the policy is to refuse them.
    #[error(
        "{count} of {queries} queries have no positive, the first is query {first}: \
         skip them, count them as misses, or leave them out of the data"
    )]
    WithoutPositives {
        /// Number of such queries.
        count: usize,
        /// Number of queries.
        queries: usize,
        /// The first of them, counted from 0.
        first: usize,
    },

    /// No query is left to take a mean over.
    #[error(
        "none of the {queries} queries has a positive, so there is nothing to average: \
         each class has one item, the labels belong to other embeddings, or what is ignored (groups, \
         junk) leaves nothing to find"
    )]
    NothingToAverage {
        /// Number of queries.
        queries: usize,
    },

    /// A file that cannot be opened, read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },

    /// A file whose content is not what it should be.
    #[error("{}: {problem}; {way_out}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
        /// What to do.
        way_out: String,
    },

    /// A file that was read but whose embeddings cannot be judged.
    #[error("{}: {source}", .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with its values.
        source: Box<EvalError>,
    },
}
