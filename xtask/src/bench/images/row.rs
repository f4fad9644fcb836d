//! A row of the table.

use super::case::{Measured, Work};

/// What its cells are.
pub const COLUMNS: [&str; 7] = [
    "files",
    "transform",
    "images a second",
    "torchvision",
    "ratio",
    "peak MB after a tenth",
    "after all",
];

/// The cells of a row; `bytes` is the mean size of a file.
pub fn row(work: Work, bytes: u64, ours: &[Measured], theirs: &[Measured]) -> Vec<String> {
    let [width, height] = work.sides();
    let transform = match work {
        Work::Train | Work::TrainLarge => "random resized crop 224, flip",
        Work::Eval => "resize 256, crop 224",
    };
    let best = |all: &[Measured]| {
        all.iter()
            .map(|one| one.images_per_second)
            .fold(0.0, f64::max)
    };
    let peak = |place: usize| {
        ours.iter()
            .map(|one| one.peak_mb[place])
            .fold(0.0, f64::max)
    };
    let [rate, ratio] = if theirs.is_empty() {
        ["–".to_string(), "–".to_string()]
    } else {
        let turns: Vec<String> = (ours.iter().zip(theirs))
            .map(|(ours, theirs)| ours.images_per_second / theirs.images_per_second)
            .map(|ratio| format!("{ratio:.2}"))
            .collect();
        let ratio = best(ours) / best(theirs);
        [
            format!("{:.0}", best(theirs)),
            format!("**{ratio:.2} ×** ({})", turns.join(", ")),
        ]
    };
    vec![
        format!("{width} × {height}, {} kB", bytes / 1_000),
        transform.into(),
        format!("{:.0}", best(ours)),
        rate,
        ratio,
        format!("{:.0}", peak(0)),
        format!("{:.0}", peak(1)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_compares_the_best_runs() {
        let run = |images_per_second| Measured {
            images_per_second,
            peak_mb: [20.0, 21.0],
        };
        let row = row(
            Work::Eval,
            70_500,
            &[run(900.0), run(1_000.0)],
            &[run(500.0), run(400.0)],
        );
        assert_eq!(
            row,
            [
                "500 × 375, 70 kB",
                "resize 256, crop 224",
                "1000",
                "500",
                "**2.00 ×** (1.80, 2.50)",
                "20",
                "21"
            ]
        );
    }
}
