//! The best of a search, by validation classes alone.

use anyhow::{Result, ensure};

use super::results::Outcome;

/// What chooses: of the validation classes, after the last epoch. It looks at all ranks up to the number of positives, so
/// few classes tell more by it than by the first neighbour.
pub const METRIC: &str = "map@r";

/// The draw with the greatest [`METRIC`], the earlier one of equals; none if all failed.
///
/// # Errors
///
/// A draw that the test classes judged: they choose nothing.
pub fn best<'a>(draws: &[&'a Outcome]) -> Result<Option<&'a Outcome>> {
    let mut best: Option<(f64, &Outcome)> = None;
    for &draw in draws {
        ensure!(
            !draw.job.sees_test && draw.hits.is_none(),
            "the run {} of a search was judged by test classes, which choose nothing",
            draw.job.id
        );
        let Some(&value) = draw.metrics.get(METRIC) else {
            continue;
        };
        if best.is_none_or(|(most, _)| value > most) {
            best = Some((value, draw));
        }
    }
    Ok(best.map(|(_, draw)| draw))
}
