//! A comparison as people read it.

use std::fmt;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};

use super::{RunComparison, RunGroup};

impl fmt::Display for RunComparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(NOTHING).set_header(self.columns());
        for group in &self.groups {
            let cells = group.cells();
            let cells = cells.iter().map(|lines| lines.join("\n"));
            table.add_row([group.label.clone()].into_iter().chain(cells));
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
