//! Google Landmarks v1 (Noh and others, ICCV 2017; the competition of 2018), its training images.
//!
//! `train.csv` has `id`, `url` and `landmark_id`. The images were never handed out, only their addresses, so
//! many are gone; whoever has them has `train/ID.jpg`, or `images/train/ID.jpg`. Images without a landmark
//! have `None` there and are left aside.

use std::path::Path;

use super::named::Named;
use super::records::Records;
use super::{count, excerpt};
use crate::dataset::Note;
use crate::{DataError, Dataset, ImageSource, Item, Part, PublishedCount, Split};

const EXPECTED: &str = "expected is the folder of Google Landmarks v1 with train.csv (columns \
                        id,url,landmark_id) and the images in train/ID.jpg or images/train/ID.jpg";

const PUBLISHED: &[PublishedCount] = &[PublishedCount {
    part: Part::Train,
    images: 1_225_029,
    classes: Some(14_951),
}];

pub(crate) fn read(dir: &Path) -> Result<Dataset, DataError> {
    let list = dir.join("train.csv");
    let nested = dir.join("images").join("train");
    let images = match nested.is_dir() {
        true => nested,
        false => dir.join("train"),
    };
    let mut items = Vec::new();
    let mut classes = Named::default();
    let mut without = 0;
    Records::open(&list, EXPECTED)?.each(["id", "landmark_id"], |[id, landmark]| {
        if landmark == "None" {
            without += 1;
            return Ok(());
        }
        if landmark.parse::<u64>().is_err() {
            let landmark = excerpt(landmark);
            return Err(format!("landmark_id is `{landmark}`, expected is a number"));
        }
        if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            let id = excerpt(id);
            return Err(format!(
                "the image is `{id}`, expected is an id such as 0123456789abcdef"
            ));
        }
        let source = ImageSource::File(images.join(format!("{id}.jpg")));
        items.push(Item::new(id, source, classes.id(landmark), Split::Train));
        Ok(())
    })?;
    let mut notes = Vec::new();
    if without > 0 {
        let images = count(without, "image has", "images have");
        notes.push(Note::new(
            format!("{images} no landmark and left aside"),
            Vec::new(),
        ));
    }
    Ok(Dataset::from_items("gldv1", items, classes.names())?
        .with_published_counts(PUBLISHED)
        .with_notes(notes))
}
