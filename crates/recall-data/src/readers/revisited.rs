//! Revisited Oxford and Paris (Radenović and others, CVPR 2018).
//!
//! `gnd_roxford5k.pkl`, or `gnd_roxford5k.mat` where there is no pickle, has three lists: `imlist`, the
//! images to find, `qimlist`, the images to search with, and `gnd`, for each query the box of the
//! building and what is to be found, places in `imlist`: `easy`, `hard` and `junk`. Names are
//! without folder and ending: the images are `jpg/NAME.jpg`.
//!
//! Places count from 0 in the pickle and from 1 in the MATLAB file. Which it is follows from
//! the ending alone: lists in which neither the first nor the last image occurs would fit both. The
//! boxes count from 0 in either. They are cut as the Python code of the authors does it, with Pillow:
//! corners rounded, halves to even, right and bottom exclusive. (Their MATLAB code
//! takes a row and a column more.)

mod lists;

use std::collections::HashSet;
use std::path::Path;

use self::lists::{Lists, Query};
use crate::{
    BoundingBox, DataError, Dataset, GroundTruth, ImageSource, Item, ItemId, Part, PublishedCount,
    Role, Split,
};

const PUBLISHED_OXFORD: &[PublishedCount] = &[
    PublishedCount {
        part: Part::Query,
        images: 70,
        classes: None,
    },
    PublishedCount {
        part: Part::Gallery,
        images: 4_993,
        classes: None,
    },
];

const PUBLISHED_PARIS: &[PublishedCount] = &[
    PublishedCount {
        part: Part::Query,
        images: 70,
        classes: None,
    },
    PublishedCount {
        part: Part::Gallery,
        images: 6_322,
        classes: None,
    },
];

pub(crate) fn read_oxford(dir: &Path) -> Result<Dataset, DataError> {
    Ok(read(dir, "roxford5k")?.with_published_counts(PUBLISHED_OXFORD))
}

pub(crate) fn read_paris(dir: &Path) -> Result<Dataset, DataError> {
    Ok(read(dir, "rparis6k")?.with_published_counts(PUBLISHED_PARIS))
}

fn read(dir: &Path, name: &str) -> Result<Dataset, DataError> {
    let (pickle, matlab) = (format!("gnd_{name}.pkl"), format!("gnd_{name}.mat"));
    let expected = format!(
        "expected is the folder of {name} with {pickle} or {matlab} and the images in the folder jpg"
    );
    // Where neither is there, the first is named.
    let (file, read, first): (_, fn(_, _, _) -> _, _) = match dir.join(&matlab) {
        file if file.is_file() && !dir.join(&pickle).exists() => (file, lists::of_matlab, 1),
        _ => (dir.join(&pickle), lists::of_pickle, 0),
    };
    let bytes = crate::formats::load(&file, &expected)?;
    let lists = read(&file, &bytes, &expected)?;
    let refuse = |problem| DataError::layout(&file, problem);
    check_names(&lists).map_err(refuse)?;
    let (items, truth) = items(dir, &lists, first).map_err(refuse)?;
    // Relevance is not by class: each image is one of its own.
    let class_names = items.iter().map(|item| item.name.clone()).collect();
    Dataset::from_items(name, items, class_names)?.with_ground_truth(truth)
}

/// No image twice: queries are not to be found either.
fn check_names(lists: &Lists) -> Result<(), String> {
    let mut names = HashSet::new();
    if let Some(twice) = lists.images.iter().find(|&name| !names.insert(name)) {
        return Err(format!("names the image {twice} twice in `imlist`"));
    }
    match lists
        .queries
        .iter()
        .find(|query| !names.insert(&query.name))
    {
        None => Ok(()),
        Some(Query { name, .. }) => Err(format!(
            "names the query {name} twice, in `qimlist` or also in `imlist`, from which the revisited \
             protocol takes the queries out"
        )),
    }
}

/// The gallery, the queries, and what they should find.
fn items(dir: &Path, lists: &Lists, first: usize) -> Result<(Vec<Item>, Vec<GroundTruth>), String> {
    let item = |class: usize, name: &str| {
        let source = ImageSource::File(dir.join("jpg").join(format!("{name}.jpg")));
        let class = u32::try_from(class).map_err(|_| "has too many images".to_owned())?;
        Ok::<_, String>(Item::new(name, source, class, Split::Test))
    };
    let (mut items, mut truth) = (Vec::new(), Vec::new());
    for name in &lists.images {
        items.push(Item {
            role: Role::Gallery,
            ..item(items.len(), name)?
        });
    }
    for query in &lists.queries {
        let named = |problem| format!("has a query {}: {problem}", query.name);
        let ids = |list: &[f64], name: &str| {
            ids(list, first, lists.images.len())
                .map_err(|problem| named(format!("its `{name}` lists {problem}")))
        };
        truth.push(GroundTruth {
            query: items.len(),
            easy: ids(&query.easy, "easy")?,
            hard: ids(&query.hard, "hard")?,
            junk: ids(&query.junk, "junk")?,
        });
        items.push(Item {
            role: Role::Query,
            bbox: Some(bbox(&query.bbx).map_err(named)?),
            ..item(items.len(), &query.name)?
        });
    }
    Ok((items, truth))
}

/// Places in `imlist` are ids: the gallery comes first.
fn ids(list: &[f64], first: usize, images: usize) -> Result<Vec<ItemId>, String> {
    let last = (first + images).saturating_sub(1);
    let id = |&place: &f64| {
        if place.fract() == 0. && (first as f64..=last as f64).contains(&place) {
            return Ok(place as usize - first);
        }
        Err(format!(
            "the image {place}, and the images of `imlist` have the numbers {first} to {last} (they count \
             from 0 in a .pkl and from 1 in a .mat)"
        ))
    };
    list.iter().map(id).collect()
}

fn bbox(bbx: &[f64]) -> Result<BoundingBox, String> {
    let &[x1, y1, x2, y2] = bbx else {
        return Err(format!("its `bbx` has {} numbers instead of 4", bbx.len()));
    };
    if !bbx.iter().all(|corner| corner.is_finite()) {
        return Err(format!("its `bbx` is {bbx:?}, expected are pixels"));
    }
    // A cast takes what lies outside of the image to its border.
    let pixel = |corner: f64| corner.round_ties_even() as u32;
    BoundingBox::new(pixel(x1), pixel(y1), pixel(x2), pixel(y2)).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
