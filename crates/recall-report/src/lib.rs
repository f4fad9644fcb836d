//! Pages about a retrieval model, each one HTML file that needs nothing else: pictures are embedded,
//! charts are inline SVG, fonts are the reader's own. They read on a phone, on paper, and in the dark.
//!
//! - [`Report`]: what a run reached, how it got there, and what its nearest neighbours look like. With
//!   [`Report::queries`] alone it is a page of queries and neighbours.
//! - [`ComparisonPage`]: runs side by side, as a table and charts.
//! - [`Curve::to_svg`] and [`IntervalChart`]: figures for other documents, an SVG file each.
//!
//! All are plain values that [`render`](Report::render) turns into text:
//!
//! ```
//! use recall_report::{Metric, Report};
//!
//! let report = Report {
//!     title: "birds".into(),
//!     metrics: vec![Metric::new("recall@1", 0.64)],
//!     ..Report::default()
//! };
//! let page = report.render()?;
//! assert!(page.starts_with("<!DOCTYPE html>") && page.contains("recall@1"));
//! # Ok::<(), recall_report::ReportError>(())
//! ```

mod axis;
mod chart;
mod comparison;
mod curve;
mod distribution;
mod error;
mod figure;
mod number;
mod page;
mod picture;
mod queries;
mod report;
mod shorten;
mod templates;
mod thin;
mod thumbnail;

pub use comparison::{ComparisonPage, ComparisonRow};
pub use curve::{Curve, Series};
pub use distribution::Distribution;
pub use error::ReportError;
pub use figure::{IntervalChart, IntervalRow};
pub use picture::Picture;
pub use queries::{NEIGHBOURS, Neighbour, QueryRow};
pub use report::{Column, Metric, MetricTable, Report};
