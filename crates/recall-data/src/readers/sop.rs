//! Stanford Online Products (Oh Song and others, CVPR 2016).
//!
//! `Ebay_train.txt` and `Ebay_test.txt` have a header `image_id class_id super_class_id path`, and paths
//! such as `bicycle_final/111085122871_0.JPG` from the folder of the lists. The super-classes
//! have no names but those folders.

use std::path::Path;

use super::lines::{Lines, root};
use super::named::Named;
use crate::{DataError, Dataset, ImageSource, Item, Part, PublishedCount, Split};

const EXPECTED: &str = "expected is the folder of Stanford Online Products with Ebay_train.txt, \
                        Ebay_test.txt and the folders of images that they name";

const PUBLISHED: &[PublishedCount] = &[
    PublishedCount {
        part: Part::Train,
        images: 59_551,
        classes: Some(11_318),
    },
    PublishedCount {
        part: Part::Test,
        images: 60_502,
        classes: Some(11_316),
    },
];

pub(crate) fn read(dir: &Path) -> Result<Dataset, DataError> {
    let dir = &root(dir, "Stanford_Online_Products", "Ebay_train.txt");
    let mut items = Vec::new();
    let (mut classes, mut super_classes) = (Named::default(), Named::default());
    for (list, split) in [
        ("Ebay_train.txt", Split::Train),
        ("Ebay_test.txt", Split::Test),
    ] {
        let lines = Lines::open(dir.join(list), EXPECTED)?;
        for line in lines.after_header(1) {
            let [_, class, super_class, path] =
                line.fields(["image_id", "class_id", "super_class_id", "path"])?;
            let _: u32 = line.number("class_id", class)?;
            let _: u32 = line.number("super_class_id", super_class)?;
            let folder = path
                .split_once('/')
                .map_or(super_class, |(folder, _)| folder);
            let source = ImageSource::File(dir.join(path));
            items.push(Item {
                super_class: Some(super_classes.id(folder)),
                ..Item::new(path, source, classes.id(class), split)
            });
        }
    }
    Ok(Dataset::from_items("sop", items, classes.names())?
        .with_super_class_names(super_classes.names())?
        .with_published_counts(PUBLISHED))
}
