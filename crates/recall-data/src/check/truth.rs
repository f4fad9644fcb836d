//! What the queries of a data set with ground truth have to find.

use serde::Serialize;

use super::counts::found;
use super::finding::{Case, Finding, FindingKind, Severity};
use super::sizes::Spread;
use super::words::counted;
use crate::{Dataset, GroundTruth};

/// The lists of a data set whose ground truth is lists, see [`Dataset::ground_truth`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TruthSizes {
    /// How many queries there are.
    pub queries: usize,
    /// Easy images of a query.
    pub easy: Spread,
    /// Hard images of a query.
    pub hard: Spread,
    /// Junk images of a query.
    pub junk: Spread,
    /// Queries without anything to find, by setup.
    pub without_positives: SetupCounts,
}

/// A number for each setup of the revisited benchmarks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SetupCounts {
    /// The easy images are to be found.
    pub easy: usize,
    /// The easy and the hard images are to be found.
    pub medium: usize,
    /// The hard images are to be found.
    pub hard: usize,
}

fn nothing_easy(truth: &GroundTruth) -> bool {
    truth.easy.is_empty()
}

fn nothing_hard(truth: &GroundTruth) -> bool {
    truth.hard.is_empty()
}

fn nothing(truth: &GroundTruth) -> bool {
    nothing_easy(truth) && nothing_hard(truth)
}

impl TruthSizes {
    /// `None` where classes say what is to be found.
    pub(super) fn of(dataset: &Dataset) -> Option<Self> {
        let truth = dataset.ground_truth();
        let without =
            |nothing: fn(&GroundTruth) -> bool| truth.iter().filter(|truth| nothing(truth)).count();
        Some(Self {
            queries: truth.len(),
            easy: Spread::of(truth.iter().map(|truth| truth.easy.len()).collect())?,
            hard: Spread::of(truth.iter().map(|truth| truth.hard.len()).collect())?,
            junk: Spread::of(truth.iter().map(|truth| truth.junk.len()).collect())?,
            without_positives: SetupCounts {
                easy: without(nothing_easy),
                medium: without(nothing),
                hard: without(nothing_hard),
            },
        })
    }
}

/// A query may be without positives in the easy or the hard setup: publications leave it out there.
/// In none should it have nothing at all.
pub(super) fn queries_without_positives(dataset: &Dataset) -> Vec<Finding> {
    let setup = |severity, name: &str, nothing: &dyn Fn(&GroundTruth) -> bool| {
        let cases: Vec<Case> = dataset
            .ground_truth()
            .iter()
            .filter(|truth| nothing(truth))
            .map(|truth| Case::new(dataset.items()[truth.query].location()))
            .collect();
        let what = counted(
            cases.len(),
            &format!("query has nothing to find {name}"),
            &format!("queries have nothing to find {name}"),
        );
        let kind = FindingKind::QueriesWithoutPositives;
        let way_out = "the evaluation leaves out what has nothing to find";
        found(severity, kind, what, cases, way_out)
    };
    [
        setup(Severity::Warning, "in any setup", &nothing),
        setup(Severity::Note, "in the easy setup", &|truth| {
            nothing_easy(truth) && !nothing(truth)
        }),
        setup(Severity::Note, "in the hard setup", &|truth| {
            nothing_hard(truth) && !nothing(truth)
        }),
    ]
    .into_iter()
    .flatten()
    .collect()
}
