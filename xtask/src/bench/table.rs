//! The Markdown that goes into docs/benchmarks.md.

use std::path::Path;

use anyhow::Context;

use super::machine::{ProcessorTime, cores, processor, today};

/// A table that is printed row by row: all of it takes minutes.
#[derive(Debug)]
pub struct Table<'a> {
    /// The heads of the columns, but for that of [`Others::OfEachRow`].
    pub columns: &'a [&'a str],
    /// How the share of the machine is told that other programs had.
    pub others: Others,
    /// What the numbers were measured with, beside the machine: threads, versions.
    pub setup: Vec<String>,
    /// What else a reader has to know of them, in sentences.
    pub remark: String,
    /// A file that gets the table too.
    pub out: Option<&'a Path>,
}

/// With threads that wait for each other, a core that is shared with another program can cost tens of
/// times its share: a reader has to know what others had.
#[derive(Debug, Clone, Copy)]
pub enum Others {
    /// Below the table, for all of it.
    Below,
    /// In a last column; a share above this one is also complained of at once.
    OfEachRow { disturbing: f64 },
}

impl Table<'_> {
    /// Measures each case, which gives the cells of a row.
    pub fn print<C>(
        &self,
        cases: impl IntoIterator<Item = C>,
        mut measure: impl FnMut(C) -> anyhow::Result<Vec<String>>,
    ) -> anyhow::Result<()> {
        let mut lines = Vec::new();
        let mut print = |line: String| {
            println!("{line}");
            lines.push(line);
        };
        let mut columns = self.columns.to_vec();
        if let Others::OfEachRow { .. } = self.others {
            columns.push("others");
        }
        print(line(&columns));
        print(format!("|{}", "---|".repeat(columns.len())));
        let start = ProcessorTime::now();
        for case in cases {
            let start = ProcessorTime::now();
            let mut cells = measure(case)?;
            let others = start.and_then(ProcessorTime::others_since);
            if let Others::OfEachRow { .. } = self.others {
                cells.push(others.map_or_else(|| "–".into(), percent));
            }
            print(line(&cells));
            if let Others::OfEachRow { disturbing } = self.others
                && let Some(share) = others.filter(|&share| share > disturbing)
            {
                eprintln!(
                    "other programs had {} of the machine: measure this case again",
                    percent(share)
                );
            }
        }
        print(String::new());
        print(self.origin(start.and_then(ProcessorTime::others_since)));
        if let Some(path) = self.out {
            std::fs::write(path, lines.join("\n") + "\n")
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    /// What a reader has to know of the numbers.
    fn origin(&self, others: Option<f64>) -> String {
        let mut parts = vec![processor(), format!("{} cores", cores())];
        parts.extend(self.setup.iter().cloned());
        parts.push(today());
        let mut remark = self.remark.clone();
        match (self.others, others) {
            (Others::Below, Some(share)) => {
                parts.push(format!(
                    "other programs had {} of the machine",
                    percent(share)
                ));
            }
            (Others::Below, None) => {}
            (Others::OfEachRow { .. }, _) => {
                remark +=
                    " \"others\" is the share of the machine that other programs had meanwhile.";
            }
        }
        format!("{}. {remark}", parts.join(", "))
            .trim_end()
            .to_owned()
    }
}

fn line(cells: &[impl AsRef<str>]) -> String {
    let cells: Vec<&str> = cells.iter().map(AsRef::as_ref).collect();
    format!("| {} |", cells.join(" | "))
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_written_as_it_is_printed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table.md");
        let mut table = Table {
            columns: &["n", "seconds"],
            others: Others::Below,
            setup: vec!["2 threads".into()],
            remark: "Best of 3 runs.".into(),
            out: Some(&path),
        };
        let row = |n: usize| Ok(vec![n.to_string(), "0.5".to_string()]);
        table.print([1, 2], row).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("| n | seconds |\n|---|---|\n| 1 | 0.5 |\n| 2 | 0.5 |\n\n"),
            "{text}"
        );
        assert!(
            text.contains(", 2 threads, ") && text.ends_with(". Best of 3 runs.\n"),
            "{text}"
        );

        table.others = Others::OfEachRow { disturbing: 1.0 };
        table.print([1], row).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.starts_with("| n | seconds | others |\n|---|---|---|\n| 1 | 0.5 | "),
            "{text}"
        );
    }
}
