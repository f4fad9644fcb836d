//! A row of the table.

use super::case::Case;
use super::measure::Measured;

/// What its cells are.
pub const COLUMNS: [&str; 12] = [
    "n",
    "d",
    "data",
    "SiMix",
    "items",
    "seconds (median)",
    "peak MB",
    "two products",
    "÷ products",
    "PyTorch, autograd",
    "autograd, tuned blocks",
    "formula",
];

/// What was found of PyTorch in a case.
#[derive(Debug)]
pub enum Theirs {
    Measured(Measured),
    /// Measured, but of another function than ours.
    Disagrees,
    Skipped,
    Failed,
}

/// The cells of a row.
pub fn row(case: &Case, ours: &Measured, theirs: &[Theirs]) -> Vec<String> {
    let mut cells = vec![
        grouped(case.items),
        case.dim.to_string(),
        case.data.name().into(),
        if case.mixup { "yes" } else { "no" }.into(),
        grouped(case.items_with_virtual()),
        times(ours),
        format!("{:.0}", ours.peak_mb),
        seconds(ours.matmul_seconds),
        format!("{:.2}", ours.seconds / ours.matmul_seconds),
    ];
    for theirs in theirs {
        cells.push(match theirs {
            Theirs::Measured(theirs) => format!(
                "{} s, {:.0} MB: **{:.1} ×**",
                seconds(theirs.seconds),
                theirs.peak_mb,
                theirs.seconds / ours.seconds
            ),
            Theirs::Disagrees => "another loss".into(),
            Theirs::Failed => "failed".into(),
            Theirs::Skipped => "–".into(),
        });
    }
    cells
}

fn times(measured: &Measured) -> String {
    format!(
        "{} ({})",
        seconds(measured.seconds),
        seconds(measured.median_seconds)
    )
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

/// 65,536
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(grouped(65_536), "65,536");
        assert_eq!(grouped(400), "400");
        assert_eq!(seconds(0.012_34), "0.0123");
        assert_eq!(seconds(12.34), "12.3");
    }
}
