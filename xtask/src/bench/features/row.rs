//! A row of the table.

use super::case::{Case, Measured};
use super::peer::Theirs;

/// What its cells are.
pub const COLUMNS: [&str; 9] = [
    "rows",
    "loss",
    "step, s",
    "loss alone, s",
    "three products, s",
    "step ÷ both",
    "peak MB",
    "PyTorch, autograd",
    "formula",
];

/// The cells of a row.
pub fn row(case: &Case, ours: &Measured, theirs: &[Theirs]) -> Vec<String> {
    let mut cells = vec![
        format!("{} × {}", case.rows, case.dim),
        format!("{:.3}", ours.loss),
        seconds(ours.step_seconds),
        seconds(ours.loss_seconds),
        seconds(ours.product_seconds),
        format!("{:.2}", ours.ratio),
        format!("{:.0}", ours.peak_mb),
    ];
    cells.extend(theirs.iter().map(|theirs| match theirs {
        Theirs::Measured(theirs) => format!(
            "{} s, {:.0} MB: **{:.1} ×**",
            seconds(theirs.step_seconds),
            theirs.peak_mb,
            theirs.step_seconds / ours.step_seconds
        ),
        Theirs::Disagrees => "another loss".into(),
        Theirs::Failed => "failed".into(),
        Theirs::Skipped => "–".into(),
    }));
    cells
}

/// Three significant digits.
pub fn seconds(value: f64) -> String {
    match value {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        0.1.. => format!("{value:.3}"),
        _ => format!("{value:.4}"),
    }
}
