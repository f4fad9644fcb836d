//! From ranks to means in one call.

use crate::{EvalError, Evaluation, Metric, Policy, PositiveRanks, Scores};

/// Takes the mean of each metric over queries. A metric that is asked for twice is reported once.
///
/// ```
/// use recall_eval::{EmptyQueries, Metric, PositiveRanks, evaluate};
///
/// let ranks = PositiveRanks::from_lists(&[vec![1, 4], vec![3], vec![]], vec![9, 9, 9])?;
/// let evaluation = evaluate(&ranks, &[Metric::RecallAt(1)], EmptyQueries::Skip)?;
/// assert_eq!(evaluation.to_string(), "recall@1  0.5000");
/// assert_eq!(evaluation.without_positives, 1);
/// # Ok::<(), recall_eval::EvalError>(())
/// ```
///
/// # Errors
///
/// Those of [`Scores::new`].
pub fn evaluate(
    ranks: &PositiveRanks,
    metrics: &[Metric],
    policy: impl Into<Policy>,
) -> Result<Evaluation, EvalError> {
    Ok(Scores::new(ranks, metrics, policy.into())?.evaluation())
}
