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

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{ImageFormat, Rgb, RgbImage};

    use super::*;
    use crate::check::CheckConfig;
    use crate::{BatchSamplerConfig, BoundingBox, ImageSource, Item, Role, Split, Subset};

    /// A gallery of six images and two queries, of which the second finds nothing.
    fn with_ground_truth() -> Dataset {
        let images: Vec<&'static [u8]> = (0..8)
            .map(|number| {
                let mut file = Cursor::new(Vec::new());
                RgbImage::from_pixel(5, 5, Rgb([number, 0, 0]))
                    .write_to(&mut file, ImageFormat::Png)
                    .unwrap();
                &*file.into_inner().leak()
            })
            .collect();
        let items = (0..8).map(|id| {
            let source = ImageSource::Embedded(images[id]);
            Item {
                role: if id < 2 { Role::Query } else { Role::Gallery },
                bbox: BoundingBox::new(0, 0, 5, 5).ok().filter(|_| id < 2),
                ..Item::new(format!("image {id}"), source, 0, Split::Test)
            }
        });
        let truth = |query, easy: &[usize], hard: &[usize]| GroundTruth {
            query,
            easy: easy.to_vec(),
            hard: hard.to_vec(),
            junk: vec![7],
        };
        let subset = Subset {
            name: "some".into(),
            ids: vec![2, 3],
        };
        Dataset::from_items("own", items.collect(), vec!["any".into()])
            .unwrap()
            .with_subsets(vec![subset])
            .unwrap()
            .with_ground_truth(vec![truth(0, &[2, 3, 4], &[]), truth(1, &[], &[])])
            .unwrap()
    }

    #[test]
    fn lists_take_the_place_of_classes() {
        let report = CheckConfig::new(BatchSamplerConfig::new(4, 2))
            .run(&with_ground_truth(), |_| ())
            .unwrap();
        let truth = report.ground_truth.as_ref().unwrap();
        assert_eq!(truth.queries, 2);
        assert_eq!(
            (truth.easy.min, truth.easy.median, truth.easy.max),
            (0, 1.5, 3)
        );
        let without = truth.without_positives;
        assert_eq!((without.easy, without.medium, without.hard), (1, 1, 2));
        assert!(report.class_sizes.is_empty() && report.sampling.is_none());
        assert_eq!(report.classes, None);

        let [nowhere, hard] = &report.findings[..] else {
            panic!("{:#?}", report.findings);
        };
        assert_eq!(nowhere.severity, Severity::Warning);
        let told = "1 query has nothing to find in any setup: image 1;";
        assert!(nowhere.message.starts_with(told), "{}", nowhere.message);
        assert_eq!(hard.severity, Severity::Note);
        let told = "1 query has nothing to find in the hard setup: image 0;";
        assert!(hard.message.starts_with(told), "{}", hard.message);
        let text = report.to_string();
        assert!(text.contains("ground truth of 2 queries"), "{text}");
        assert!(text.contains("some"), "{text}");
        assert!(!text.contains("class"), "{text}");
    }
}
