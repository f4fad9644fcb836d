//! The retrieval task of Google Landmarks v2 (Weyand and others, CVPR 2020).
//!
//! `index.csv` lists the gallery by `id`. `retrieval_solution_v2.1.csv` has for each test image its `id`,
//! the `images` of the gallery that show the same, with spaces between them, and its `Usage`, `Public` or
//! `Private`; images that are no query have `None`. The images are in `index` and `test`, in folders of the first
//! three characters of their id.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::gldv2::ImageFolders;
use super::records::Records;
use super::{count, excerpt};
use crate::dataset::Note;
use crate::{DataError, Dataset, GroundTruth, Item, ItemId, Part, PublishedCount, Role, Split};

const EXPECTED: &str = "expected is the folder of Google Landmarks v2 with index.csv (column id) and \
                        retrieval_solution_v2.1.csv (columns id,images,Usage), in it or in its folder \
                        metadata, ground_truth, index or test, and the images in index and test";

/// The release does not say how many test images are queries.
const PUBLISHED: &[PublishedCount] = &[PublishedCount {
    part: Part::Gallery,
    images: 761_757,
    classes: None,
}];

const FOLDERS: [&str; 5] = ["", "metadata", "ground_truth", "index", "test"];

pub(crate) fn read(dir: &Path) -> Result<Dataset, DataError> {
    let (index, solution) = (
        find(dir, "index.csv"),
        find(dir, "retrieval_solution_v2.1.csv"),
    );
    let images = ImageFolders::new(dir, "index");
    let mut items = Vec::new();
    let mut ids: HashMap<String, ItemId> = HashMap::new();
    Records::open(&index, EXPECTED)?.each(["id"], |[id]| {
        let item = images.item(id, class_of(items.len())?, Split::Test)?;
        if ids.insert(id.to_owned(), items.len()).is_some() {
            return Err(format!("the image {id} is listed before"));
        }
        items.push(Item {
            role: Role::Gallery,
            ..item
        });
        Ok(())
    })?;

    let images = ImageFolders::new(dir, "test");
    let mut truth = Vec::new();
    let mut ignored = 0;
    let records = Records::open(&solution, EXPECTED)?;
    records.each(["id", "images", "Usage"], |[id, found, usage]| {
        if usage == "Ignored" || found == "None" {
            ignored += 1;
            return Ok(());
        }
        let place = |name: &str| {
            ids.get(name).copied().ok_or_else(|| {
                let name = excerpt(name);
                format!("the image {name} is not in index.csv: both have to be of one release")
            })
        };
        let easy = found.split_ascii_whitespace().map(place);
        truth.push(GroundTruth {
            query: items.len(),
            easy: easy.collect::<Result<_, _>>()?,
            hard: Vec::new(),
            junk: Vec::new(),
        });
        items.push(Item {
            role: Role::Query,
            ..images.item(id, class_of(items.len())?, Split::Test)?
        });
        Ok(())
    })?;
    let mut notes = Vec::new();
    if ignored > 0 {
        let images = count(ignored, "test image is", "test images are");
        notes.push(Note::new(
            format!("{images} no query and left aside"),
            Vec::new(),
        ));
    }
    let classes = items.iter().map(|item| item.name.clone()).collect();
    Ok(Dataset::from_items("gldv2-retrieval", items, classes)?
        .with_ground_truth(truth)?
        .with_grades(false)
        .with_published_counts(PUBLISHED)
        .with_notes(notes))
}

/// Relevance is by lists and not by class: each image is one of its own.
fn class_of(place: usize) -> Result<u32, String> {
    u32::try_from(place).map_err(|_| "there are too many images".to_owned())
}

/// Where a list is; if it is nowhere, where it is looked for first.
fn find(dir: &Path, list: &str) -> PathBuf {
    let mut places = FOLDERS.iter().map(|folder| dir.join(folder).join(list));
    places
        .find(|place| place.is_file())
        .unwrap_or_else(|| dir.join(list))
}
