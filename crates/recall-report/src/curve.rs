//! What a chart is drawn of.

use serde::Serialize;

/// A chart.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Curve {
    /// What it shows, for example `Recall on unseen classes`.
    pub title: String,
    /// What runs along the horizontal axis, for example `epoch`.
    pub x: String,
    /// What runs up the vertical axis; may be empty where the title says it.
    pub y: String,
    /// The lines.
    pub series: Vec<Series>,
    /// Whether its values are shares, as recalls are: then the axis ends at 0 and at 1. Default false.
    pub shares: bool,
    /// What stands along the horizontal axis, and where: names, or sizes that double from place to place.
    /// Without them, round numbers.
    pub marks: Vec<(f64, String)>,
}

/// A line of a chart.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Series {
    /// What the line is, for example `recall@4`.
    pub name: String,
    /// Its points in any order. Those that are not finite are left out, and the chart says so.
    pub points: Vec<(f64, f64)>,
    /// Lines that it is the mean of, drawn faint; none for a line that is no mean.
    pub parts: Vec<Vec<(f64, f64)>>,
}
