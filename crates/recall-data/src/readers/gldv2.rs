//! Google Landmarks v2 (Weyand and others, CVPR 2020), its training images.
//!
//! `train_clean.csv` is the list that the literature trains on: `landmark_id` and `images`, the ids of its
//! images with spaces between them. `train.csv` has all images: `id`, `url` and `landmark_id`; that of the
//! competitions has those of the clean list, without `url`. Images are
//! `train/0/1/2/0123456789abcdef.jpg`, in folders of the first three characters of their id.
//!
//! The data set names a folder, and its clean list is read if there is one, or it names the list to read.

use std::path::{Path, PathBuf};

use super::excerpt;
use super::named::Named;
use super::records::Records;
use crate::{DataError, Dataset, ImageSource, Item, Part, PublishedCount, Split};

const EXPECTED: &str = "expected is the folder of Google Landmarks v2 with train_clean.csv (columns \
                        landmark_id,images) or train.csv (columns id,landmark_id), in it or in its folder \
                        metadata or train, and the images in train/0/1/2/012….jpg; gldv2:DIR/train.csv \
                        chooses the list";

/// The list of Weyand and others, cleaned by Yokoo and others (CVPR workshops 2020).
const CLEAN: &[PublishedCount] = &[PublishedCount {
    part: Part::Train,
    images: 1_580_470,
    classes: Some(81_313),
}];

const ALL: &[PublishedCount] = &[PublishedCount {
    part: Part::Train,
    images: 4_132_914,
    classes: Some(203_094),
}];

/// Where the lists may be: beside the folders of images, as the project's server has them, among the images.
const FOLDERS: [&str; 3] = ["", "metadata", "train"];

pub(crate) fn read(path: &Path) -> Result<Dataset, DataError> {
    let (dir, list) = match is_table(path) {
        true => (root_of(path), path.to_owned()),
        false => (path.to_owned(), find(path)),
    };
    let records = Records::open(&list, EXPECTED)?;
    let images = ImageFolders::new(&dir, "train");
    let mut items = Vec::new();
    let mut classes = Named::default();
    let clean = records.has("images");
    let published = match clean || !records.has("url") {
        true => CLEAN,
        false => ALL,
    };
    if clean {
        records.each(["landmark_id", "images"], |[landmark, ids]| {
            let class = classes.id(landmark_id(landmark)?);
            for id in ids.split_ascii_whitespace() {
                items.push(images.item(id, class, Split::Train)?);
            }
            Ok(())
        })?;
    } else {
        records.each(["id", "landmark_id"], |[id, landmark]| {
            let class = classes.id(landmark_id(landmark)?);
            items.push(images.item(id, class, Split::Train)?);
            Ok(())
        })?;
    }
    let dataset = Dataset::from_items("gldv2", items, classes.names())?;
    // A list of another name is one's own choice of the images.
    let as_published = list
        .file_name()
        .is_some_and(|name| name == "train.csv" || name == "train_clean.csv");
    Ok(dataset.with_published_counts(if as_published { published } else { &[] }))
}

fn is_table(path: &Path) -> bool {
    let ending = path.extension();
    ending.is_some_and(|ending| ending.eq_ignore_ascii_case("csv"))
}

/// The list to read in a folder, the clean one if there is one; where there is none, the place of the first.
fn find(dir: &Path) -> PathBuf {
    let lists = ["train_clean.csv", "train.csv"];
    let mut places = lists
        .iter()
        .flat_map(|list| FOLDERS.map(|folder| dir.join(folder).join(list)));
    let found = places.find(|place| place.is_file());
    found.unwrap_or_else(|| dir.join("train_clean.csv"))
}

/// The folder that a list belongs to: its own, or the one above where the images are there.
fn root_of(list: &Path) -> PathBuf {
    let own = list.parent().unwrap_or(Path::new(""));
    let above = || own.parent().filter(|above| above.join("train").is_dir());
    match own.join("train").is_dir() {
        true => own.to_owned(),
        false => above().unwrap_or(own).to_owned(),
    }
}

/// Landmarks are numbers; as text they are the names of the classes.
fn landmark_id(text: &str) -> Result<&str, String> {
    match text.parse::<u64>() {
        Ok(_) => Ok(text),
        Err(_) => Err(format!(
            "landmark_id is `{}`, expected is a number",
            excerpt(text)
        )),
    }
}

/// Images in folders of the first three characters of their id.
pub(super) struct ImageFolders {
    dir: PathBuf,
}

impl ImageFolders {
    /// Those of a set: `train`, `index` or `test`.
    pub(super) fn new(dir: &Path, set: &str) -> Self {
        Self { dir: dir.join(set) }
    }

    /// The image of an id.
    pub(super) fn item(&self, id: &str, class: u32, split: Split) -> Result<Item, String> {
        let is_id = id.len() >= 3 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_id {
            return Err(format!(
                "the image is `{}`, expected is an id such as 0123456789abcdef",
                excerpt(id)
            ));
        }
        // Millions of paths: each in one piece of memory, just large enough.
        let longest = self.dir.as_os_str().len() + id.len() + "/a/b/c/.jpg".len();
        let mut path = PathBuf::with_capacity(longest);
        path.push(&self.dir);
        for folder in [&id[..1], &id[1..2], &id[2..3], id] {
            path.push(folder);
        }
        path.as_mut_os_string().push(".jpg");
        Ok(Item::new(id, ImageSource::File(path), class, split))
    }
}
