//! A row of the table.

use super::case::{Case, Measured};
use super::peer::Theirs;
use crate::bench::loss::{grouped, seconds};

/// What its cells are.
pub const COLUMNS: [&str; 7] = [
    "loss",
    "n",
    "seconds",
    "MB",
    "PyTorch, formula",
    "PyTorch, authors' layout",
    "pytorch-metric-learning",
];

/// What one turn found: ours, and PyTorch's in each way.
#[derive(Debug)]
pub struct Turn<const WAYS: usize> {
    pub ours: Measured,
    pub theirs: [Theirs; WAYS],
}

/// The cells of a row.
pub fn row<const WAYS: usize>(case: &Case, turns: &[Turn<WAYS>]) -> Vec<String> {
    let ours: Vec<&Measured> = turns.iter().map(|turn| &turn.ours).collect();
    let mut cells = vec![
        case.kind.name(),
        grouped(case.items),
        times(&ours),
        megabytes(&ours),
    ];
    cells.extend((0..WAYS).map(|way| of_way(turns, way)));
    cells
}

fn of_way<const WAYS: usize>(turns: &[Turn<WAYS>], way: usize) -> String {
    let mut found = Vec::new();
    let mut ratios = Vec::new();
    for turn in turns {
        match &turn.theirs[way] {
            Theirs::Measured(theirs) => {
                found.push(theirs);
                ratios.push(theirs.seconds / turn.ours.seconds);
            }
            Theirs::Disagrees => return "another loss".into(),
            Theirs::Failed => return "failed".into(),
            Theirs::Skipped(reason) if reason.starts_with("would ") => return reason.clone(),
            Theirs::Skipped(_) => return "–".into(),
        }
    }
    let ratio = median(ratios);
    let digits = if ratio < 10.0 { 1 } else { 0 };
    format!(
        "{}, {} MB: **{ratio:.digits$} ×**",
        times(&found),
        megabytes(&found)
    )
}

/// The median, and in brackets the least and the most.
fn times(measured: &[&Measured]) -> String {
    let least = measured.iter().map(|of| of.range[0]);
    let most = measured.iter().map(|of| of.range[1]);
    format!(
        "{} ({}–{})",
        seconds(median(measured.iter().map(|of| of.seconds).collect())),
        seconds(least.fold(f64::INFINITY, f64::min)),
        seconds(most.fold(0.0, f64::max))
    )
}

fn megabytes(measured: &[&Measured]) -> String {
    let median = median(measured.iter().map(|of| of.case_mb()).collect());
    grouped(median.round().max(0.0) as usize)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
