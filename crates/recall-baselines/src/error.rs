use thiserror::Error;

/// Why a loss could not be made or computed. Each message names the setting or the item at fault.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum LossError {
    /// A setting makes no sense.
    #[error("{name} = {value}: {problem}")]
    Setting {
        /// Its name, as in the configuration of the loss.
        name: &'static str,
        /// The value as given.
        value: String,
        /// What is wrong with it, and what would be right.
        problem: &'static str,
    },
    /// Embeddings and labels do not describe the same batch.
    #[error("{labels} labels for {embeddings} embeddings; give one label for each row")]
    LabelCount {
        /// Number of labels.
        labels: usize,
        /// Number of embedding rows.
        embeddings: usize,
    },
    /// The batch lacks what the loss compares.
    #[error("{loss} needs {needs}, and this batch of {items} has none; {remedy}")]
    Lacking {
        /// Which loss.
        loss: &'static str,
        /// What it needs, such as "two items of a class".
        needs: &'static str,
        /// Number of items in the batch.
        items: usize,
        /// What to do about it.
        remedy: &'static str,
    },
    /// A label is not the number of a proxy.
    #[error(
        "row {row} has label {label}, and there are proxies for the classes 0 to {last}; number the \
         classes of the training set from 0",
        last = .classes.saturating_sub(1)
    )]
    Label {
        /// The row.
        row: usize,
        /// Its label.
        label: i64,
        /// Number of classes that have proxies.
        classes: usize,
    },
    /// The trained parameters are missing or have another shape.
    #[error(
        "the parameters of {loss} should be {expected:?} and are {got:?}; `Trained::init` makes them"
    )]
    Parameters {
        /// Which loss.
        loss: &'static str,
        /// The shape for this batch.
        expected: [usize; 2],
        /// The shape that came; empty for none.
        got: Vec<usize>,
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
    /// What is mixed does not belong to the batch.
    #[error("{0}")]
    Mixture(String),
    /// The Recall@k surrogate or Smooth-AP refuses the batch or a setting.
    #[error(transparent)]
    Ranking(#[from] recall_loss::LossError),
}

/// Refuses a number that is not above zero.
pub(crate) fn positive(name: &'static str, value: f64) -> Result<(), LossError> {
    require(
        value.is_finite() && value > 0.0,
        name,
        value,
        "it must be a positive finite number",
    )
}

/// Refuses a number that is negative.
pub(crate) fn not_negative(name: &'static str, value: f64) -> Result<(), LossError> {
    require(
        value.is_finite() && value >= 0.0,
        name,
        value,
        "it must be a finite number of at least 0",
    )
}

/// Refuses a number that is infinite or none.
pub(crate) fn finite(name: &'static str, value: f64) -> Result<(), LossError> {
    require(value.is_finite(), name, value, "it must be a finite number")
}

/// Refuses a setting unless `holds`.
pub(crate) fn require(
    holds: bool,
    name: &'static str,
    value: impl ToString,
    problem: &'static str,
) -> Result<(), LossError> {
    match holds {
        true => Ok(()),
        false => Err(LossError::Setting {
            name,
            value: value.to_string(),
            problem,
        }),
    }
}
