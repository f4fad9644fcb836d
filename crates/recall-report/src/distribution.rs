//! The chart of similarities: two histograms over each other. `distribution.html` draws what is laid
//! out here.

use std::fmt::Write;

use minijinja::{Value, context};
use serde::Serialize;

use super::axis::Axis;
use super::chart::{BOTTOM, CHARACTER, HEIGHT, TOP, WIDTH, pixels, tick};
use super::number;

/// How the similarities of two kinds of pairs are distributed, as two histograms over the same bins of
/// equal width.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Distribution {
    /// Where the first bin begins.
    pub low: f64,
    /// Where the last bin ends.
    pub high: f64,
    /// Of pairs within a class: the density in each bin. Densities times the width of a bin add up to
    /// 1.
    pub positive: Vec<f64>,
    /// The same of pairs from different classes, as many bins.
    pub negative: Vec<f64>,
    /// Mean similarity within a class.
    pub positive_mean: f64,
    /// Mean similarity across classes.
    pub negative_mean: f64,
}

impl Distribution {
    /// The share of each histogram that lies under the other one, from 0 (one threshold tells pairs of
    /// a class from all others) to 1 (the histograms are the same).
    #[must_use]
    pub fn overlap(&self) -> f64 {
        let pairs = self.positive.iter().zip(&self.negative);
        pairs.map(|(a, b)| a.min(*b)).sum::<f64>() * self.width()
    }

    /// Width of a bin.
    fn width(&self) -> f64 {
        (self.high - self.low) / self.positive.len().max(1) as f64
    }
}

/// What the page needs to draw it; `None` where there is nothing to draw.
pub(super) fn lay_out(of: &Distribution) -> Option<Value> {
    let densities = || of.positive.iter().chain(&of.negative).copied();
    let drawable = of.high > of.low
        && of.positive.len() == of.negative.len()
        && densities().all(|density| (0.0..1e300).contains(&density));
    if !drawable {
        return None;
    }
    let x = Axis::over([of.low, of.high].into_iter(), 5)?;
    let y = Axis::over(densities().chain([0.0]), 4)?.rounded();
    let y_ticks = y.ticks();
    let labels = y_ticks.iter().map(|&tick| y.label(tick));
    let longest = labels.map(|label| label.chars().count()).max().unwrap_or(0);
    let frame = Frame {
        of,
        left: 10.0 + CHARACTER * longest as f64,
        right: WIDTH - 12.0,
        x,
        y,
    };
    let [positive_mean, negative_mean] =
        [of.positive_mean, of.negative_mean].map(|mean| number::fixed(mean, 2));
    let overlap = number::percent(of.overlap());
    let summary = format!(
        "Similarities within a class, {positive_mean} on average, and across classes, \
         {negative_mean} on average; {overlap} of one lies under the other."
    );
    Some(context! {
        width => WIDTH,
        height => HEIGHT,
        top => TOP,
        bottom => BOTTOM,
        left => pixels(frame.left),
        right => pixels(frame.right),
        y_ticks => y_ticks
            .iter()
            .map(|&t| tick(frame.place_y(t), y.label(t)))
            .collect::<Vec<_>>(),
        x_ticks => x
            .ticks()
            .iter()
            .map(|&t| tick(frame.place_x(t), x.label(t)))
            .collect::<Vec<_>>(),
        positive => frame.area(&of.positive),
        negative => frame.area(&of.negative),
        slots => frame.slots(),
        positive_mean,
        negative_mean,
        overlap,
        summary,
    })
}

/// Where the histograms lie on the drawing.
struct Frame<'a> {
    of: &'a Distribution,
    left: f64,
    right: f64,
    x: Axis,
    y: Axis,
}

impl Frame<'_> {
    fn place_x(&self, x: f64) -> f64 {
        self.left + self.x.share(x) * (self.right - self.left)
    }

    fn place_y(&self, y: f64) -> f64 {
        BOTTOM - self.y.share(y) * (BOTTOM - TOP)
    }

    /// Where a bin begins; of the number of bins, where the last one ends.
    fn edge(&self, bin: usize) -> f64 {
        self.of.low + self.of.width() * bin as f64
    }

    /// The steps of a histogram, from the ground and back to it.
    fn area(&self, densities: &[f64]) -> String {
        let ground = pixels(BOTTOM);
        let mut path = format!("M{} {ground}", pixels(self.place_x(self.of.low)));
        for (bin, &density) in densities.iter().enumerate() {
            let (height, end) = (self.place_y(density), self.place_x(self.edge(bin + 1)));
            // Writing to a string cannot fail.
            let _ = write!(path, "V{}H{}", pixels(height), pixels(end));
        }
        path + &format!("V{ground}Z")
    }

    /// The bins and what is read out over each.
    fn slots(&self) -> Vec<Value> {
        let slot = |(bin, (positive, negative)): (usize, (&f64, &f64))| {
            let [low, high] = [bin, bin + 1].map(|bin| self.edge(bin));
            let [left, right] = [low, high].map(|edge| self.place_x(edge));
            context! {
                left => pixels(left),
                width => pixels(right - left),
                words => format!(
                    "{} to {}: same class {}, other classes {}",
                    number::fixed(low, 2),
                    number::fixed(high, 2),
                    number::significant(*positive, 3),
                    number::significant(*negative, 3),
                ),
            }
        };
        let bins = self.of.positive.iter().zip(&self.of.negative);
        bins.enumerate().map(slot).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn distribution() -> Distribution {
        Distribution {
            low: 0.0,
            high: 1.0,
            positive: vec![0.0, 1.0, 3.0, 0.0],
            negative: vec![3.5, 0.5, 0.0, 0.0],
            positive_mean: 0.61,
            negative_mean: -0.2,
        }
    }

    fn get(value: &Value, key: &str) -> String {
        value.get_attr(key).unwrap().to_string()
    }

    #[test]
    fn overlap_is_a_share() {
        let apart = distribution();
        assert!((apart.overlap() - 0.5 * 0.25).abs() < 1e-12);
        let same = Distribution {
            negative: apart.positive.clone(),
            ..apart
        };
        assert!((same.overlap() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn steps_reach_from_edge_to_edge() {
        let chart = lay_out(&distribution()).unwrap();
        let path = get(&chart, "negative");
        let (left, right) = (get(&chart, "left"), get(&chart, "right"));
        assert!(path.starts_with(&format!("M{left} {BOTTOM}V")), "{path}");
        assert!(
            path.ends_with(&format!("V{BOTTOM}H{right}V{BOTTOM}Z")),
            "{path}"
        );
        // The y axis goes to 4, so that 3.5 is an eighth below the top.
        let height = pixels(BOTTOM - 3.5 / 4.0 * (BOTTOM - TOP));
        assert_eq!(path.matches(&format!("V{height}H")).count(), 1, "{path}");
        assert_eq!(path.matches('H').count(), 4);
        assert_eq!(get(&chart, "negative_mean"), "−0.20");
        let slots = chart.get_attr("slots").unwrap();
        let slot = slots.get_item_by_index(1).unwrap();
        assert_eq!(
            get(&slot, "words"),
            "0.25 to 0.50: same class 1, other classes 0.5"
        );
    }

    #[test]
    fn what_cannot_be_drawn_is_left_out() {
        let wrong: [fn(&mut Distribution); 4] = [
            |of| of.high = of.low,
            |of| of.positive[0] = f64::NAN,
            |of| of.positive.push(1.0),
            |of| of.negative[0] = -1.0,
        ];
        for change in wrong {
            let mut of = distribution();
            change(&mut of);
            assert!(lay_out(&of).is_none(), "{of:?}");
        }
    }
}
