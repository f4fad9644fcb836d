//! Images and classes of each part, beside what was published.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::finding::{Case, Finding, FindingKind, Severity};
use super::words::{Noun, classes, counted};
use crate::{Dataset, ItemId, Part, PublishedCount, Role, Split};

/// How many images and classes a part of a data set has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartCount {
    /// `train`, `validation`, `test`, `query`, `gallery` or the name of a subset.
    pub part: String,
    /// Its images.
    pub images: usize,
    /// Its classes; `None` where classes mean nothing.
    pub classes: Option<usize>,
    /// What it has by its publication, where there is one.
    pub published: Option<PublishedCount>,
}

impl PartCount {
    /// Whether it has what was published; so it does where nothing was.
    pub fn is_as_published(&self) -> bool {
        self.published.is_none_or(|published| {
            let same_classes = match (self.classes, published.classes) {
                (Some(found), Some(expected)) => found == expected,
                _ => true,
            };
            self.images == published.images && same_classes
        })
    }
}

/// The splits that have images, the roles if there are any, the subsets, and whatever else numbers
/// were published of.
pub(super) fn parts(dataset: &Dataset) -> Vec<PartCount> {
    let published = dataset.published_counts();
    let mut counted: Vec<PartCount> = [
        Part::Train,
        Part::Validation,
        Part::Test,
        Part::Query,
        Part::Gallery,
    ]
    .into_iter()
    .map(|part| count(dataset, part.to_string(), &dataset.part(part)))
    .collect();
    counted.extend(
        dataset
            .subsets()
            .iter()
            .map(|subset| count(dataset, subset.name.clone(), &subset.ids)),
    );
    // A subset that should be there and is not has no images.
    for of in published {
        if !counted
            .iter()
            .any(|count| count.part == of.part.to_string())
        {
            counted.push(count(dataset, of.part.to_string(), &[]));
        }
    }
    counted.retain(|part| part.images > 0 || part.published.is_some());
    counted
}

fn count(dataset: &Dataset, part: String, ids: &[ItemId]) -> PartCount {
    let published = dataset.published_counts().iter();
    let published = published.copied().find(|of| of.part.to_string() == part);
    PartCount {
        images: ids.len(),
        classes: classes_of(dataset, ids),
        published,
        part,
    }
}

/// Classes of all images.
pub(super) fn all_classes(dataset: &Dataset) -> Option<usize> {
    let ids: Vec<ItemId> = (0..dataset.items().len()).collect();
    classes_of(dataset, &ids)
}

/// Where lists say what is to be found, or nothing does, classes mean nothing.
fn classes_of(dataset: &Dataset, ids: &[ItemId]) -> Option<usize> {
    let distinct = || -> BTreeSet<u32> { dataset.labels(ids).into_iter().collect() };
    dataset.goes_by_classes().then(|| distinct().len())
}

pub(super) fn wrong_counts(parts: &[PartCount]) -> Option<Finding> {
    let said = |count: usize, of_classes: Option<usize>| match of_classes {
        Some(number) => format!("{} of {}", Noun::IMAGE.counted(count), classes(number)),
        None => Noun::IMAGE.counted(count),
    };
    let cases: Vec<Case> = parts
        .iter()
        .filter(|part| !part.is_as_published())
        .filter_map(|part| {
            let published = part.published?;
            let classes = part.classes.and(published.classes);
            let (found, expected) = (
                said(part.images, part.classes.filter(|_| classes.is_some())),
                said(published.images, classes),
            );
            Some(Case::detailed(
                &part.part,
                format!("{found} instead of {expected}"),
            ))
        })
        .collect();
    let what = counted(
        cases.len(),
        "part is not as published",
        "parts are not as published",
    );
    found(
        Severity::Error,
        FindingKind::WrongCount,
        what,
        cases,
        "take the lists of the archive as they are",
    )
}

/// Classes that are trained on and judged as `judged`. Publications keep them apart; one's own images
/// need not.
pub(super) fn shared_classes(dataset: &Dataset, judged: Split) -> Option<Finding> {
    if !dataset.goes_by_classes() {
        return None;
    }
    let of = |split| -> BTreeSet<u32> {
        let labels = dataset.labels(dataset.split(split));
        labels.into_iter().collect()
    };
    let cases: Vec<Case> = of(Split::Train)
        .intersection(&of(judged))
        .map(|&class| Case::new(&dataset.class_names()[class as usize]))
        .collect();
    let severity = match dataset.published_counts().is_empty() {
        true => Severity::Warning,
        false => Severity::Error,
    };
    let what = match judged {
        Split::Validation => counted(
            cases.len(),
            "class is trained on and validates",
            "classes are trained on and validate",
        ),
        _ => counted(
            cases.len(),
            "class is trained on and tested",
            "classes are trained on and tested",
        ),
    };
    let way_out = "figures on them say nothing about unseen classes";
    found(severity, FindingKind::SharedClasses, what, cases, way_out)
}

/// Classes whose one image has no other to be near to.
pub(super) fn single_images(dataset: &Dataset, split: Split) -> Option<Finding> {
    let searched = dataset.split(split).iter();
    // Where some search and others are found, a class of one image may be there to distract.
    let has_roles = |id: &ItemId| dataset.items()[*id].role != Role::Both;
    if !dataset.goes_by_classes() || searched.clone().any(has_roles) {
        return None;
    }
    let mut sizes: BTreeMap<u32, usize> = BTreeMap::new();
    searched.for_each(|&id| *sizes.entry(dataset.items()[id].class).or_default() += 1);
    let cases: Vec<Case> = sizes
        .iter()
        .filter(|(_, size)| **size == 1)
        .map(|(&class, _)| Case::new(&dataset.class_names()[class as usize]))
        .collect();
    let Noun { one, .. } = Noun::of(dataset);
    let what = counted(
        cases.len(),
        &format!("{split} class has a single {one}"),
        &format!("{split} classes have a single {one}"),
    );
    let alone = match split {
        Split::Train => "is never drawn",
        Split::Validation | Split::Test => "has nothing to find",
    };
    let way_out = &format!("one without another of its class {alone}");
    let kind = FindingKind::SingleImageClasses;
    found(Severity::Warning, kind, what, cases, way_out)
}

/// Queries whose class is not in the gallery, where there are such roles.
pub(super) fn lonely_queries(dataset: &Dataset) -> Option<Finding> {
    let test = dataset.split(Split::Test);
    let items = || test.iter().map(|&id| &dataset.items()[id]);
    if !dataset.goes_by_classes() || items().all(|item| item.role == Role::Both) {
        return None;
    }
    let mut found_of: BTreeMap<u32, usize> = BTreeMap::new();
    for item in items().filter(|item| item.role != Role::Query) {
        *found_of.entry(item.class).or_default() += 1;
    }
    let cases: Vec<Case> = items()
        .filter(|item| {
            let others = found_of.get(&item.class).copied().unwrap_or_default();
            match item.role {
                Role::Query => others == 0,
                // It does not find itself.
                Role::Both => others <= 1,
                Role::Gallery => false,
            }
        })
        .map(|item| Case::new(item.location()))
        .collect();
    let Noun { one, .. } = Noun::of(dataset);
    let what = counted(
        cases.len(),
        &format!("query has no {one} of its class in the gallery"),
        &format!("queries have no {one} of their class in the gallery"),
    );
    let kind = FindingKind::QueriesWithoutPositives;
    found(
        Severity::Warning,
        kind,
        what,
        cases,
        "the evaluation leaves out what has nothing to find",
    )
}

/// A finding, if there is a case.
pub(super) fn found(
    severity: Severity,
    kind: FindingKind,
    what: String,
    cases: Vec<Case>,
    way_out: &str,
) -> Option<Finding> {
    (!cases.is_empty()).then(|| Finding::new(severity, kind, what, cases, way_out))
}
