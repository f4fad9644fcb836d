//! The page a training run leaves behind: what it reached, how it got there, and what its nearest
//! neighbours look like. Without the rest it is a page of queries and neighbours.
//!
//! [`Report::render`] turns plain values into one HTML file that needs nothing else: pictures are
//! embedded, charts are inline SVG, fonts are the reader's own. It reads on a phone, on paper, and
//! in the dark.

mod axis;
mod chart;
mod comparison;
mod distribution;
mod gallery;
mod number;
mod page;
mod picture;
mod shorten;
mod thin;
mod thumbnail;

use std::fmt;

use serde::Serialize;

pub use comparison::{ComparisonPage, ComparisonRow};

/// Everything the page shows.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// The heading, for example `emoji · flex · 2 min 13 s`.
    pub title: String,
    /// Name and value of what identifies the run: data set, model, seed, command line. The one
    /// named [`GALLERY_FACT`] is said above the gallery instead.
    pub facts: Vec<(String, String)>,
    /// What the run reached. The first is the one it is judged by.
    pub metrics: Vec<Metric>,
    /// Sentences about these: which model was judged, and why that one.
    pub judged: Vec<String>,
    /// In a sentence, how [`Metric::peers`] come about; empty where there are none.
    pub peers: String,
    /// What happened on the way, a chart each.
    pub curves: Vec<Curve>,
    /// How similar items of one class are, and items of different ones.
    pub similarities: Option<Distribution>,
    /// Queries with their nearest neighbours.
    pub gallery: Vec<GalleryRow>,
    /// The configuration that was in force, as TOML.
    pub config: String,
}

/// Neighbours that a page shows of each query where nobody asks for another number: a row of it.
pub(crate) const NEIGHBOURS: usize = 10;

/// Name of the fact that says what the gallery is drawn from, in a sentence: `("gallery", "Queries
/// from classes never seen in training.")`.
pub const GALLERY_FACT: &str = "gallery";

/// A share between 0 and 1, higher is better.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Metric {
    /// What it is, for example `recall@1`.
    pub name: String,
    /// Its value at the end.
    pub value: f64,
    /// The ends of its 95 % interval, where it was computed.
    pub interval: Option<(f64, f64)>,
    /// Its value on the validation classes, where there are some.
    pub validation: Option<f64>,
    /// Its value where each query searches among as many classes as validation has: the two can be set
    /// side by side.
    pub peers: Option<f64>,
    /// Its value before training, where it was measured.
    pub before: Option<f64>,
}

/// A chart.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Curve {
    /// What it shows, for example `Recall on unseen classes`.
    pub title: String,
    /// What runs along the horizontal axis, for example `epoch`.
    pub x: String,
    /// What runs up the vertical axis; may be empty where the title says it.
    pub y: String,
    /// The lines.
    pub series: Vec<Series>,
    /// Whether its values are shares, as recalls are: then the axis ends at 0 and at 1.
    pub shares: bool,
}

/// A line of a chart.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Series {
    /// What the line is, for example `recall@4`.
    pub name: String,
    /// Its points in any order. Those that are not finite are left out, and the chart says so.
    pub points: Vec<(f64, f64)>,
    /// Lines that it is the mean of, drawn faint; none for a line that is no mean.
    pub parts: Vec<Vec<(f64, f64)>>,
}

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

/// A query and the items ranked nearest to it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GalleryRow {
    /// What was searched with.
    pub query: Picture,
    /// What was found, nearest first.
    pub neighbours: Vec<Neighbour>,
    /// Rank of the first relevant item, counted from 1, be it among `neighbours` or beyond them;
    /// `None` where none is known.
    pub first_hit_rank: Option<usize>,
}

/// An image file with a line about it. Serialises as its caption and a `data:` URI.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    /// The encoded file (PNG, JPEG, WebP or GIF). It goes into the page as it is: [`Picture::of`] makes
    /// a light one of what a network saw. Instead of anything else the caption is shown.
    pub bytes: Vec<u8>,
    /// What it shows: a class, a file name.
    pub caption: String,
}

/// An item of a ranking.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Neighbour {
    /// The item.
    pub picture: Picture,
    /// Its similarity to the query.
    pub similarity: f32,
    /// Whether it is a right answer; `None` where that is not known.
    pub relevant: Option<bool>,
}

impl Report {
    /// The page, a complete HTML document.
    ///
    /// # Errors
    ///
    /// If the page's own template is at fault; no content of a report causes one.
    pub fn render(&self) -> Result<String, ReportError> {
        page::render(self).map_err(ReportError)
    }
}

/// Why a page could not be made.
#[derive(Debug)]
pub struct ReportError(minijinja::Error);

impl fmt::Display for ReportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the page of the report could not be made: {}", self.0)
    }
}

impl std::error::Error for ReportError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}
