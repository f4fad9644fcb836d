//! Figures that stand by themselves: SVG files for a document, in light and in the dark.

use minijinja::{Value, context};

use super::axis::Axis;
use super::chart::{self, CHARACTER, pixels, tick};
use super::{Curve, ReportError, number, templates};

/// The line of the title.
const HEAD: f64 = 26.0;
/// Between two rows, or two lines of a legend.
const ROW: f64 = 19.0;
const WIDTH: f64 = 560.0;

impl Curve {
    /// The chart as an SVG file.
    ///
    /// # Errors
    ///
    /// If the template is at fault; no content causes one.
    pub fn to_svg(&self) -> Result<String, ReportError> {
        let chart = chart::lay_out(self);
        let bottom = chart::HEIGHT + 24.0;
        let named = chart.get_attr("legend").ok();
        let named: Vec<Value> = (named.and_then(|lines| lines.try_iter().ok()))
            .map(|lines| lines.collect())
            .unwrap_or_default();
        let legend: Vec<Value> = (named.iter().enumerate())
            .map(|(at, line)| context! { y => pixels(bottom + ROW * at as f64), ..line.clone() })
            .collect();
        let height = HEAD + bottom + ROW * legend.len() as f64;
        let of = context! { chart, legend, width => chart::WIDTH, head => HEAD, height => pixels(height) };
        templates::render("curve.svg.xml", of).map_err(ReportError)
    }
}

/// Values of things that have no order but their own, each with an interval: a row for each.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct IntervalChart {
    /// What it shows.
    pub title: String,
    /// What the values are, beside the title.
    pub unit: String,
    /// From the top downwards.
    pub rows: Vec<IntervalRow>,
}

/// A row of an [`IntervalChart`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct IntervalRow {
    /// What it is of.
    pub name: String,
    /// The value and the ends of its interval; none where there is no value, and `note` says why.
    pub value: Option<[f64; 3]>,
    /// What it is the mean of, drawn faint.
    pub parts: Vec<f64>,
    /// In the place of a value.
    pub note: String,
    /// Whether it stands out.
    pub bold: bool,
}

impl IntervalChart {
    /// The chart as an SVG file.
    ///
    /// # Errors
    ///
    /// If the template is at fault; no content causes one.
    pub fn to_svg(&self) -> Result<String, ReportError> {
        let longest = (self.rows.iter().map(|row| row.name.chars().count()))
            .max()
            .unwrap_or(0);
        let (left, right) = (14.0 + CHARACTER * longest as f64, WIDTH - 14.0);
        let (top, bottom) = (HEAD, HEAD + ROW * self.rows.len() as f64 + 4.0);
        let values = (self.rows.iter()).flat_map(|row| {
            let ends = row.value.into_iter().flatten();
            ends.chain(row.parts.iter().copied())
        });
        let axis = Axis::over(values.filter(|value| value.is_finite()), 6).map(Axis::rounded);
        let place = |value: f64| {
            let share = axis.map_or(0.0, |axis| axis.share(value));
            pixels(left + share * (right - left))
        };
        let rows: Vec<Value> = (self.rows.iter().enumerate())
            .map(|(at, row)| {
                let value = row
                    .value
                    .filter(|value| value.iter().all(|end| end.is_finite()));
                context! {
                    name => row.name.as_str(),
                    bold => row.bold,
                    note => row.note.as_str(),
                    y => pixels(top + ROW * (at as f64 + 0.5)),
                    mean => value.map(|value| place(value[0])),
                    low => value.map(|value| place(value[1])),
                    high => value.map(|value| place(value[2])),
                    parts => row.parts.iter().map(|&part| place(part)).collect::<Vec<_>>(),
                }
            })
            .collect();
        let ticks: Vec<Value> = axis.map_or_else(Vec::new, |axis| {
            (axis.ticks().into_iter())
                .map(|value| {
                    let at = left + axis.share(value) * (right - left);
                    tick(at, axis.label(value))
                })
                .collect()
        });
        let of = context! {
            title => self.title.as_str(),
            unit => self.unit.as_str(),
            width => WIDTH,
            height => pixels(bottom + 22.0),
            left => pixels(left),
            top,
            bottom => pixels(bottom),
            summary => self.summary(),
            rows,
            ticks,
        };
        templates::render("intervals.svg.xml", of).map_err(ReportError)
    }

    /// The chart in words.
    fn summary(&self) -> String {
        let mut words = format!("{}.", self.title);
        for row in &self.rows {
            words += &match row.value {
                Some([mean, low, high]) => {
                    let [mean, low, high] =
                        [mean, low, high].map(|value| number::significant(value, 4));
                    format!(" {}: {mean}, {low} to {high}.", row.name)
                }
                None => format!(" {}: {}.", row.name, row.note),
            };
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::super::Series;
    use super::*;

    #[test]
    fn a_curve_is_a_file_of_its_own() {
        let line = |name: &str| Series {
            name: name.into(),
            points: vec![(6.0, 0.5), (8.0, 0.625)],
            parts: Vec::new(),
        };
        let mut curve = Curve {
            title: "Recall & batch".into(),
            x: "images of a batch".into(),
            y: "recall@1".into(),
            series: vec![line("a < b"), line("c")],
            shares: true,
            marks: vec![(6.0, "64".into()), (8.0, "256".into())],
        };
        let svg = curve.to_svg().unwrap();
        assert!(svg.starts_with("<svg xmlns=") && svg.trim_end().ends_with("</svg>"));
        assert!(svg.contains("Recall &amp; batch") && svg.contains("a &lt; b"));
        assert!(
            svg.contains(">64</text>") && svg.contains(">256</text>"),
            "{svg}"
        );
        assert!(
            !svg.contains("<title>"),
            "nothing to point at in a document"
        );

        // Names that are too long to stand beside the lines stand below them.
        curve.series[0].name = "a name that is long".into();
        let taller = curve.to_svg().unwrap();
        assert!(taller.contains("a name that is long</text>"), "{taller}");
    }

    #[test]
    fn intervals_are_drawn_on_one_axis() {
        let row = |name: &str, value, note: &str| IntervalRow {
            name: name.into(),
            value,
            note: note.into(),
            ..IntervalRow::default()
        };
        let chart = IntervalChart {
            title: "Losses".into(),
            unit: "recall@1".into(),
            rows: vec![
                row("first", Some([0.5, 0.4, 0.6]), ""),
                row("second", None, "collapsed"),
            ],
        };
        let svg = chart.to_svg().unwrap();
        // The interval fills the axis, and the mean is in its middle.
        let left = 14.0 + CHARACTER * 6.0;
        let right = WIDTH - 14.0;
        let ends = format!(
            "M{} {}H{}",
            pixels(left),
            pixels(HEAD + 0.5 * ROW),
            pixels(right)
        );
        assert!(svg.contains(&ends), "{svg}");
        let middle = format!("cx=\"{}\"", pixels((left + right) / 2.0));
        assert!(svg.contains(&middle) && svg.contains(">collapsed</text>"));
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        assert!(
            IntervalChart::default()
                .to_svg()
                .unwrap()
                .contains("</svg>")
        );
        assert!(Curve::default().to_svg().unwrap().contains("</svg>"));
    }
}
