//! Images that are the same, byte for byte.

use super::counts::found;
use super::files::{ContentHash, Looked};
use super::finding::{Case, Finding, FindingKind, Severity};
use super::words::Noun;
use crate::{Dataset, ItemId, Split};

/// Equal content, and an equal box where images are cut to it: two cars in one photograph are two
/// images.
type Key = (ContentHash, Option<[u32; 4]>);

/// What was found of each kind: across splits, across the classes of a split, within a class.
pub(super) fn duplicates(dataset: &Dataset, looked: &[Looked]) -> Vec<Finding> {
    // With three splits an image may be in two that are not these.
    let noun = Noun::of(dataset);
    let (one, many) = match dataset.split(Split::Validation) {
        [] => ("is trained on and tested", "are trained on and tested"),
        _ => ("is in several splits", "are in several splits"),
    };
    let (mut splits, mut classes, mut within) = (Vec::new(), Vec::new(), Vec::new());
    for group in groups(dataset, looked) {
        let items = || group.iter().map(|&id| &dataset.items()[id]);
        let first = &dataset.items()[group[0]];
        let case = Case::of(items().map(|item| item.location()));
        if items().any(|item| item.split != first.split) {
            splits.push(case);
        } else if dataset.goes_by_classes() && items().any(|item| item.class != first.class) {
            classes.push(case);
        } else {
            within.push(case);
        }
    }
    let (one_within, many_within) = match dataset.is_labelled() {
        true => (
            "is in its class more than once",
            "are in their class more than once",
        ),
        false => ("is there more than once", "are there more than once"),
    };
    let findings = [
        found(
            Severity::Error,
            FindingKind::DuplicatesAcrossSplits,
            noun.said(splits.len(), one, many),
            splits,
            "take one of each out",
        ),
        found(
            Severity::Warning,
            FindingKind::DuplicatesAcrossClasses,
            noun.said(
                classes.len(),
                "is in several classes",
                "are in several classes",
            ),
            classes,
            "decide for one class of each",
        ),
        found(
            Severity::Note,
            FindingKind::DuplicatesWithinClass,
            noun.said(within.len(), one_within, many_within),
            within,
            "such a pair is found at no effort",
        ),
    ];
    findings.into_iter().flatten().collect()
}

/// Ids of the same content, ascending; the groups in the order of their first id.
fn groups(dataset: &Dataset, looked: &[Looked]) -> Vec<Vec<ItemId>> {
    let mut keys: Vec<(Key, ItemId)> = looked
        .iter()
        .zip(dataset.items())
        .enumerate()
        .filter_map(|(id, (looked, item))| {
            let bbox = item.bbox.filter(|_| dataset.crops_to_boxes());
            let bbox = bbox.map(|of| [of.left(), of.top(), of.right(), of.bottom()]);
            Some(((looked.hash?, bbox), id))
        })
        .collect();
    keys.sort_unstable();
    let mut groups: Vec<Vec<ItemId>> = keys
        .chunk_by(|a, b| a.0 == b.0)
        .filter(|group| group.len() > 1)
        .map(|group| group.iter().map(|&(_, id)| id).collect())
        .collect();
    groups.sort_unstable();
    groups
}
