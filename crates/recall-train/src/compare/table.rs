//! The table of a comparison, the same as text and on a page: a row for each group.

use super::{GroupResult, RunComparison, RunGroup};

impl RunComparison {
    /// What stands above the columns, that of the names included.
    pub(super) fn columns(&self) -> Vec<String> {
        let names = ["", "runs"].into_iter().map(str::to_owned);
        names
            .chain(self.metrics.iter().map(ToString::to_string))
            .collect()
    }
}

impl RunGroup {
    /// The lines of each cell of its row, behind its name.
    pub(super) fn cells(&self) -> Vec<Vec<String>> {
        let runs = vec![self.runs.len().to_string()];
        [runs]
            .into_iter()
            .chain(self.results.iter().map(lines))
            .collect()
    }
}

/// The lines of a cell.
fn lines(result: &GroupResult) -> Vec<String> {
    let mean = format!("{:.4}", result.mean);
    let mut lines = vec![match result.deviation {
        Some(deviation) => format!("{mean} ± {deviation:.4}"),
        None => mean,
    }];
    if let Some(difference) = result.difference {
        lines.push(match result.paired {
            Some(test) => format!("{difference:+.4}  p {:.4}", test.p_value),
            None => format!("{difference:+.4}"),
        });
    }
    lines
}
