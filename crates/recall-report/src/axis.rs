//! An axis: the stretch of numbers it covers and round numbers to mark on it.

use super::number;

/// Differences below this one leave no digits to compute with.
const TINY: f64 = 1e-290;

/// A stretch of numbers, never empty, laid out on pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    step: f64,
}

impl Axis {
    /// The axis from the lowest to the highest of `values`, with about `marks` round numbers on
    /// it; `None` without values. A single value gets room on both sides.
    pub(super) fn over(values: impl Iterator<Item = f64>, marks: usize) -> Option<Self> {
        let (low, high) = values.fold(None, |range: Option<(f64, f64)>, value| {
            let (low, high) = range.unwrap_or((value, value));
            Some((low.min(value), high.max(value)))
        })?;
        let size = low.abs().max(high.abs());
        let (low, high) = if high - low > (16.0 * f64::EPSILON * size).max(TINY) {
            (low, high)
        } else {
            let room = if size > TINY { 0.05 * size } else { 1.0 };
            (low - room, high + room)
        };
        Some(Self {
            low,
            high,
            step: round_step((high - low) / marks.max(1) as f64),
        })
    }

    /// The same axis, on whole numbers only: epochs and steps have nothing between them.
    pub(super) fn whole(self) -> Self {
        Self {
            step: self.step.max(1.0),
            ..self
        }
    }

    /// The axis grown to round numbers at both ends.
    pub(super) fn rounded(self) -> Self {
        // What lies within a hair of a round number is on it.
        let low = (self.low / self.step + 1e-6).floor() * self.step;
        let high = (self.high / self.step - 1e-6).ceil() * self.step;
        Self { low, high, ..self }
    }

    /// The axis without what lies beyond `low` and `high`, between which all of its values are.
    pub(super) fn within(self, low: f64, high: f64) -> Self {
        Self {
            low: self.low.max(low),
            high: self.high.min(high),
            ..self
        }
    }

    /// The round numbers on the axis, ascending.
    pub(super) fn ticks(self) -> Vec<f64> {
        let first = (self.low / self.step - 1e-6).ceil();
        let last = (self.high / self.step + 1e-6).floor();
        let count = (last - first).clamp(0.0, 50.0) as usize;
        // A count times the step, not a running sum: 0.3 stays 0.3.
        (0..=count)
            .map(|at| (first + at as f64) * self.step)
            .collect()
    }

    /// How a tick is written, with no more decimals than the steps between ticks need.
    pub(super) fn label(self, tick: f64) -> String {
        let largest = self.low.abs().max(self.high.abs());
        if tick == 0.0 {
            return "0".to_owned();
        }
        if !(1e-3..1e7).contains(&largest) {
            // One digit more than the steps need to differ.
            let digits =
                (largest.log10().floor() - self.step.log10().floor()).max(0.0) as usize + 1;
            return number::scientific(tick, digits.min(6));
        }
        if self.step >= 1000.0 {
            return number::fixed(tick / 1000.0, decimals(self.step / 1000.0)) + "k";
        }
        number::fixed(tick, decimals(self.step))
    }

    /// Where `value` lies: 0 at the low end, 1 at the high one.
    pub(super) fn share(self, value: f64) -> f64 {
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }
}

/// One of 1, 2, 5 times a power of ten: the least that is at least three quarters of `step`.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powi(step.log10().floor() as i32);
    let least = 0.75 * step / power;
    let round = [1.0, 2.0, 5.0].into_iter().find(|&round| round >= least);
    round.unwrap_or(10.0) * power
}

fn decimals(step: f64) -> usize {
    (-(step.log10() + 1e-9).floor()).clamp(0.0, 12.0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(low: f64, high: f64, marks: usize) -> Axis {
        Axis::over([low, high].into_iter(), marks).unwrap()
    }

    fn labels(axis: Axis) -> Vec<String> {
        axis.ticks()
            .into_iter()
            .map(|tick| axis.label(tick))
            .collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(labels(axis(0.43, 0.71, 4)), ["0.5", "0.6", "0.7"]);
        assert_eq!(
            labels(axis(0.43, 0.71, 4).rounded()),
            ["0.4", "0.5", "0.6", "0.7", "0.8"]
        );
        assert_eq!(
            labels(axis(0.0, 1.0, 5)),
            ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]
        );
        assert_eq!(labels(axis(1.0, 20_000.0, 5)), ["5k", "10k", "15k", "20k"]);
        assert_eq!(
            labels(axis(0.0, 6000.0, 5)),
            ["0", "1k", "2k", "3k", "4k", "5k", "6k"]
        );
        assert_eq!(
            labels(axis(-1.0, 1.0, 4)),
            ["−1.0", "−0.5", "0", "0.5", "1.0"]
        );
        assert_eq!(
            labels(axis(0.0, 3e-4, 3)),
            ["0", "10⁻⁴", "2·10⁻⁴", "3·10⁻⁴"]
        );
    }

    #[test]
    fn epochs_have_nothing_between_them() {
        assert_eq!(labels(axis(1.0, 3.0, 6).whole()), ["1", "2", "3"]);
    }

    #[test]
    fn one_value_gets_room() {
        for value in [0.0, 7.0, -0.25, 1e-9, 1e9] {
            let axis = axis(value, value, 4);
            assert!((axis.share(value) - 0.5).abs() < 1e-9);
            assert!(!axis.ticks().is_empty());
        }
        assert_eq!(Axis::over(std::iter::empty(), 4), None);
    }

    #[test]
    fn an_axis_of_shares_ends_where_they_do() {
        for (low, high, ticks) in [
            (1.0, 1.0, &["0.94", "0.96", "0.98", "1.00"][..]),
            (0.98, 0.98, &["0.92", "0.94", "0.96", "0.98", "1.00"]),
            (0.0, 0.0, &["0", "0.5", "1.0"]),
            (0.43, 0.97, &["0.4", "0.6", "0.8", "1.0"]),
        ] {
            let axis = axis(low, high, 4).rounded().within(0.0, 1.0);
            assert_eq!(labels(axis), ticks, "{low} {high}");
        }
    }

    #[test]
    fn extremes_stay_finite() {
        for (low, high) in [
            (-1e300, 1e300),
            (1.0, 1.0 + 1e-15),
            (1e-300, 2e-300),
            (0.0, 1e-320),
        ] {
            let axis = axis(low, high, 4).rounded();
            assert!(axis.ticks().len() < 60);
            assert!((0.0..=1.0).contains(&axis.share(low)), "{low} {high}");
            labels(axis);
        }
    }
}
