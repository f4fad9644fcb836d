//! A comparison as people read it.

use std::fmt;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};

use super::{GroupResult, RunComparison, RunGroup};

impl fmt::Display for RunComparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(NOTHING).set_header(self.columns());
        for group in &self.groups {
            let mut cells = vec![group.label.clone(), group.runs.len().to_string()];
            cells.extend(group.results.iter().map(|result| lines(result).join("\n")));
            table.add_row(cells);
        }
        for (number, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, 2));
            if number > 0 {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        write!(f, "{}", table.trim_fmt())?;
        for sentence in self.sentences() {
            write!(f, "\n{sentence}")?;
        }
        Ok(())
    }
}

impl RunComparison {
    /// What stands above the columns.
    pub(super) fn columns(&self) -> Vec<String> {
        let names = ["", "runs"].into_iter().map(str::to_owned);
        names
            .chain(self.metrics.iter().map(ToString::to_string))
            .collect()
    }

    /// What stands below the table.
    pub(super) fn sentences(&self) -> Vec<String> {
        let mut sentences = Vec::new();
        let several = |group: &RunGroup| group.runs.len() > 1;
        if self.groups.iter().any(several) {
            sentences.push("mean ± standard deviation over the runs of a row".to_owned());
        }
        if self.groups.len() > 1 {
            let mut below = "second lines: the difference to the first row".to_owned();
            if let Some(queries) = self.queries {
                below += &format!(", and the p-value of a paired test over {queries} queries");
            }
            sentences.push(below);
        }
        sentences.extend(self.notes.iter().cloned());
        sentences
    }
}

/// The lines of a cell.
pub(super) fn lines(result: &GroupResult) -> Vec<String> {
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
