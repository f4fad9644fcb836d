//! Retrieval-SfM-120k (Radenović and others, TPAMI 2019): photographs of buildings, grouped by the 3D models
//! that were built of them.
//!
//! `retrieval-SfM-120k.pkl` is a dictionary with `train` and `val`. Each has `cids`, the images, `cluster`, the 3D
//! model of each, and `qidxs` and `pidxs`: places in `cids` of queries and of an image that shows the same,
//! pair by pair. The images have no ending and lie in `ims`, in folders of the last two characters
//! of their name, the two before and the two before those.
//!
//! `retrieval-SfM-120k-whiten.pkl` has only `cids` and pairs, from which a whitening is learned: it is read if it is
//! named itself.

use std::path::{Path, PathBuf};

use super::excerpt;
use super::named::Named;
use crate::formats::load_up_to;
use crate::formats::pickle::{Pickle, Value};
use crate::{DataError, Dataset, ImageSource, Item, ItemId, Part, PublishedCount, Split};

const EXPECTED: &str = "expected is the folder of SfM-120k with retrieval-SfM-120k.pkl (a dictionary with train \
                        and val, each with cids, cluster, qidxs and pidxs) and the images in the folder ims; \
                        sfm120k:DIR/retrieval-SfM-120k-whiten.pkl reads the pairs of that list";

/// The largest list that is read, in bytes: the published one has some millions.
const MAX_FILE: usize = 64 << 20;

/// Of the models it is only said how many there are before images are chosen.
const PUBLISHED: &[PublishedCount] = &[
    PublishedCount {
        part: Part::Train,
        images: 91_642,
        classes: None,
    },
    PublishedCount {
        part: Part::Validation,
        images: 6_403,
        classes: None,
    },
];

pub(crate) fn read(path: &Path) -> Result<Dataset, DataError> {
    let is_list = path
        .extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("pkl"));
    let (dir, file) = match is_list {
        true => (path.parent().unwrap_or(Path::new("")), path.to_owned()),
        false => (path, path.join("retrieval-SfM-120k.pkl")),
    };
    let bytes = load_up_to(MAX_FILE, &file, EXPECTED)?;
    let pickle = Pickle::read(&file, &bytes)?;
    let refuse = |problem: String| DataError::layout(&file, format!("{problem}: {EXPECTED}"));
    let root = pickle.root();
    let images = dir.join("ims");
    if root.get("cids").is_some() {
        let list = List::of(root).map_err(refuse)?;
        let named = list.names.iter();
        let named =
            named.map(|name| Ok((name.clone(), ImageSource::File(path_of(&images, name)?))));
        let named: Vec<_> = named.collect::<Result<_, _>>().map_err(refuse)?;
        return Dataset::unlabelled("sfm120k", named)?.with_pairs(list.pairs);
    }

    let (mut items, mut pairs, mut classes) = (Vec::new(), Vec::new(), Named::default());
    for (name, split) in [("train", Split::Train), ("val", Split::Validation)] {
        let of_split = |problem| refuse(format!("{problem} in `{name}`"));
        let part = root
            .get(name)
            .ok_or_else(|| refuse(format!("has {} without `{name}`", root.kind())))?;
        let list = List::of(part).map_err(of_split)?;
        let clusters = list.clusters(part).map_err(of_split)?;
        let first = items.len();
        for (image, cluster) in list.names.iter().zip(clusters) {
            // The models of both are different ones, whether or not their numbers are.
            let class = classes.id(&format!("{name}/{cluster}"));
            let source = ImageSource::File(path_of(&images, image).map_err(of_split)?);
            items.push(Item::new(image.clone(), source, class, split));
        }
        pairs.extend(list.pairs.iter().map(|pair| pair.map(|id| first + id)));
    }
    Ok(Dataset::from_items("sfm120k", items, classes.names())?
        .with_pairs(pairs)?
        .with_published_counts(PUBLISHED))
}

/// Images, and pairs of their places.
struct List {
    names: Vec<String>,
    pairs: Vec<[ItemId; 2]>,
}

impl List {
    fn of(part: Value<'_>) -> Result<Self, String> {
        let cids = entry(part, "cids")?;
        let names = cids
            .texts()
            .ok_or_else(|| format!("has {} as `cids`, not a list of names", cids.kind()))?;
        // In a pickle a million places may have the same long name.
        if names.iter().map(|name| name.len()).sum::<usize>() > MAX_FILE {
            return Err("makes the names in `cids` too long".to_owned());
        }
        let names: Vec<String> = names.into_iter().map(|name| name.into_owned()).collect();
        let queries = places(part, "qidxs", names.len())?;
        let positives = places(part, "pidxs", names.len())?;
        if queries.len() != positives.len() {
            return Err(format!(
                "has {} queries in `qidxs`, but {} images in `pidxs`",
                queries.len(),
                positives.len()
            ));
        }
        let pairs = queries.into_iter().zip(positives);
        Ok(Self {
            names,
            pairs: pairs.map(|(query, positive)| [query, positive]).collect(),
        })
    }

    /// The 3D model of each image.
    fn clusters(&self, part: Value<'_>) -> Result<Vec<u64>, String> {
        let clusters = whole_numbers(part, "cluster")?;
        match clusters.len() == self.names.len() {
            true => Ok(clusters),
            false => Err(format!(
                "has {} numbers in `cluster` for {} names in `cids`",
                clusters.len(),
                self.names.len()
            )),
        }
    }
}

fn entry<'p>(part: Value<'p>, name: &str) -> Result<Value<'p>, String> {
    part.get(name)
        .ok_or_else(|| format!("has {} without `{name}`", part.kind()))
}

fn whole_numbers(part: Value<'_>, name: &str) -> Result<Vec<u64>, String> {
    let list = entry(part, name)?;
    let refuse = || format!("has {} as `{name}`, not a list of numbers", list.kind());
    let numbers = list.numbers().ok_or_else(refuse)?;
    let whole = |number: f64| match number.fract() == 0.0 && (0.0..=1e15).contains(&number) {
        true => Ok(number as u64),
        false => Err(format!(
            "has {number} in `{name}`, expected are whole numbers from 0"
        )),
    };
    numbers.into_iter().map(whole).collect()
}

fn places(part: Value<'_>, name: &str, images: usize) -> Result<Vec<ItemId>, String> {
    let place = |number: u64| match usize::try_from(number) {
        Ok(place) if place < images => Ok(place),
        _ => Err(format!(
            "has the image {number} in `{name}`, but {images} in `cids`, counted from 0"
        )),
    };
    whole_numbers(part, name)?.into_iter().map(place).collect()
}

/// Where an image is, by its name.
fn path_of(images: &Path, name: &str) -> Result<PathBuf, String> {
    let in_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let is_name = name.len() >= 6 && name.bytes().all(in_name);
    if !is_name {
        return Err(format!(
            "has an image `{}` in `cids`, expected are names of six letters or digits and more",
            excerpt(name)
        ));
    }
    let end = name.len();
    let mut path = PathBuf::with_capacity(images.as_os_str().len() + end + "/aa/bb/cc/".len());
    path.push(images);
    for folder in [
        &name[end - 2..],
        &name[end - 4..end - 2],
        &name[end - 6..end - 4],
        name,
    ] {
        path.push(folder);
    }
    Ok(path)
}
