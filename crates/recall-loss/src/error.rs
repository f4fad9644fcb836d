use std::ops::Range;

use thiserror::Error;

/// Why a loss could not be made or computed. Each message names the setting or the item at fault.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum LossError {
    /// `ks` is empty, holds a zero or holds a value twice.
    #[error("ks = {ks:?}: {reason}; give distinct values of at least 1, for example [1, 2, 4]")]
    Ks {
        /// The values as given.
        ks: Vec<usize>,
        /// What is wrong with them.
        reason: &'static str,
    },
    /// The number of temperatures in `tau_k` fits neither one for all nor one for each k.
    #[error(
        "tau_k has {temperatures} values for {ks} values of k; give one for all or one for each"
    )]
    TauKLength {
        /// How many temperatures were given.
        temperatures: usize,
        /// How many values of k there are.
        ks: usize,
    },
    /// A temperature is zero, negative or not a number.
    #[error("{name} = {value}: a temperature must be a positive finite number")]
    Temperature {
        /// `tau_k`, `tau_rank` or `tau`.
        name: &'static str,
        /// The value as given.
        value: f64,
    },
    /// `block_size` is zero.
    #[error("block_size = 0: at least one query must fit in a block; 256 is the default")]
    BlockSize,
    /// Embeddings and labels do not describe the same batch.
    #[error("{labels} labels for {embeddings} embeddings; give one label for each row")]
    LabelCount {
        /// Number of labels.
        labels: usize,
        /// Number of embedding rows.
        embeddings: usize,
    },
    /// No class of the batch has two items, so no query has a positive.
    #[error(
        "no class has two items in this batch of {items}, so no query has anything to find; \
         sample at least two items of a class"
    )]
    NoPositives {
        /// Number of items in the batch.
        items: usize,
    },
    /// The rows of a share are not rows of the batch.
    #[error(
        "rows {}..{} are no share of a batch of {items} rows; give a range from 0 to {items}, \
         its start not after its end", .rows.start, .rows.end
    )]
    ShareRows {
        /// The range as given.
        rows: Range<usize>,
        /// Number of rows in the batch.
        items: usize,
    },
    /// An embedding holds NaN, an infinite value, or values whose products overflow.
    #[error(
        "embedding {row} is not finite, or so long that similarities overflow; the model has \
         diverged or its input is broken"
    )]
    NonFinite {
        /// The first row at fault.
        row: usize,
    },
    /// The parts of a mixup disagree in length.
    #[error(
        "a mixup needs one first, one second and one alpha for each pair, not {0}, {1} and {2}"
    )]
    MixupLengths(usize, usize, usize),
    /// A mixing weight lies outside of 0 to 1.
    #[error("mixup pair {pair} has alpha = {alpha}; it must be from 0 to 1")]
    MixupAlpha {
        /// Index of the pair.
        pair: usize,
        /// The weight as given.
        alpha: f64,
    },
    /// A mixup names a row that the batch does not have.
    #[error("mixup pair {pair} names row {row}, but the batch has {items} rows")]
    MixupRow {
        /// Index of the pair.
        pair: usize,
        /// The row as given.
        row: usize,
        /// Number of rows in the batch.
        items: usize,
    },
    /// A mixup joins items of two classes, whose mixture would have no class.
    #[error("mixup pair {pair} joins rows {first} and {second} of different classes")]
    MixupClasses {
        /// Index of the pair.
        pair: usize,
        /// First row.
        first: usize,
        /// Second row.
        second: usize,
    },
}
