//! Judgements as people read them.

use std::fmt;

use recall_eval::{Comparison, Draws, Evaluation, Interval};

use super::{Contrast, JudgedPart, JudgedResult, Judgement};

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, JudgedPart { name, result }) in self.parts.iter().enumerate() {
            heading(f, at, name)?;
            match result {
                JudgedResult::Rankings {
                    evaluation,
                    intervals,
                    by_class,
                } => rankings(f, evaluation, intervals.as_deref(), by_class.as_ref())?,
                JudgedResult::Draws(draws) => self::draws(f, draws)?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Contrast {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, comparisons)) in self.parts.iter().enumerate() {
            heading(f, at, name)?;
            f.write_str(&side_by_side(comparisons, ["first", "second"]))?;
        }
        Ok(())
    }
}

fn heading(f: &mut fmt::Formatter<'_>, at: usize, name: &str) -> fmt::Result {
    if at > 0 {
        f.write_str("\n\n")?;
    }
    match name.is_empty() {
        true => Ok(()),
        false => writeln!(f, "{name}"),
    }
}

fn rankings(
    f: &mut fmt::Formatter<'_>,
    evaluation: &Evaluation,
    intervals: Option<&[Interval]>,
    by_class: Option<&Evaluation>,
) -> fmt::Result {
    let names: Vec<String> = evaluation
        .values
        .iter()
        .map(|(metric, _)| metric.to_string())
        .collect();
    let width = names.iter().map(String::len).max().unwrap_or(0);
    for (at, (name, (_, value))) in names.iter().zip(&evaluation.values).enumerate() {
        write!(f, "{name:width$}  {value:.4}")?;
        if let Some(intervals) = intervals {
            let Interval { low, high } = intervals[at];
            write!(f, "  [{low:.4}, {high:.4}]")?;
        }
        if let Some(by_class) = by_class {
            write!(f, "  {:.4} by class", by_class.values[at].1)?;
        }
        writeln!(f)?;
    }
    queries(f, evaluation)
}

/// The lines below a table: how many queries, and what became of those that formulas are silent
/// about.
fn queries(f: &mut fmt::Formatter<'_>, evaluation: &Evaluation) -> fmt::Result {
    let Evaluation {
        queries,
        without_positives,
        tied,
        ..
    } = *evaluation;
    write!(f, "{}", counted(queries, "query", "queries"))?;
    match without_positives {
        0 => {}
        1 => write!(f, ", 1 of them with nothing to find")?,
        _ => write!(f, ", {without_positives} of them with nothing to find")?,
    }
    match tied {
        0 => write!(f, "; no result depends on the order of equal similarities"),
        _ => write!(
            f,
            "; the results of {tied} ({:.1} %) depend on the order of equal similarities",
            100.0 * tied as f64 / queries.max(1) as f64
        ),
    }
}

fn draws(f: &mut fmt::Formatter<'_>, draws: &Draws) -> fmt::Result {
    writeln!(f, "{draws}")?;
    write!(
        f,
        "mean ± standard deviation of {}",
        counted(draws.evaluations.len(), "draw", "draws")
    )?;
    if let Some(first) = draws.evaluations.first() {
        write!(f, " of {}", counted(first.queries, "query", "queries"))?;
    }
    let tied: usize = draws
        .evaluations
        .iter()
        .map(|evaluation| evaluation.tied)
        .sum();
    match tied {
        0 => Ok(()),
        _ => write!(
            f,
            "; {} of all draws depend on the order of equal similarities",
            counted(tied, "result", "results")
        ),
    }
}

/// Two things metric by metric, under their names.
pub(crate) fn side_by_side(comparisons: &[Comparison], sides: [&str; 2]) -> String {
    let names: Vec<String> = comparisons
        .iter()
        .map(|comparison| comparison.metric.to_string())
        .collect();
    let width = names.iter().map(String::len).max().unwrap_or(0);
    let [first, second] = sides.map(|side| format!("{side:6}"));
    let (one, other) = (first.len(), second.len());
    let mut text = format!("{:width$}  {first}  {second}  difference", "");
    for (name, comparison) in names.iter().zip(comparisons) {
        let Interval { low, high } = comparison.interval;
        text += &format!(
            "\n{name:width$}  {:<one$.4}  {:<other$.4}  {:+.4}  [{low:+.4}, {high:+.4}]  p = {:.4}",
            comparison.first, comparison.second, comparison.difference, comparison.p_value
        );
    }
    text
}

fn counted(count: usize, one: &str, many: &str) -> String {
    let digits = count.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{grouped} {}", if count == 1 { one } else { many })
}
