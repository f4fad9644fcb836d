//! CUB-200-2011 (Wah and others, Caltech 2011).
//!
//! `images.txt`, `image_class_labels.txt`, `classes.txt` and `bounding_boxes.txt` give a number, from 1,
//! and a value in each line; images lie in `images`. `train_test_split.txt` is for classification
//! and would put every class into both splits; it is not read.

use std::collections::HashMap;
use std::path::Path;

use super::lines::{Line, Lines, root};
use crate::{BoundingBox, DataError, Dataset, ImageSource, Item, Part, PublishedCount, Split};

const EXPECTED: &str = "expected is the folder CUB_200_2011 with images.txt, \
                        image_class_labels.txt, classes.txt, bounding_boxes.txt and images";

/// Classes up to this number train.
const LAST_TRAINING_CLASS: u32 = 100;

const PUBLISHED: &[PublishedCount] = &[
    PublishedCount {
        part: Part::Train,
        images: 5_864,
        classes: Some(100),
    },
    PublishedCount {
        part: Part::Test,
        images: 5_924,
        classes: Some(100),
    },
];

pub(crate) fn read(dir: &Path) -> Result<Dataset, DataError> {
    let dir = &root(dir, "CUB_200_2011", "images.txt");
    let open = |file: &str| Lines::open(dir.join(file), EXPECTED);

    let mut class_names = Vec::new();
    let lines = open("classes.txt")?;
    for line in lines.after_header(0) {
        let [number, name] = line.fields(["class_id", "class_name"])?;
        let number: usize = line.number("class_id", number)?;
        if number != class_names.len() + 1 {
            return Err(line.error(format!(
                "the class_id is {number}, but classes are numbered 1, 2, 3 …"
            )));
        }
        class_names.push(name.to_owned());
    }

    let lines = open("image_class_labels.txt")?;
    let mut classes: HashMap<u32, u32> = HashMap::new();
    for line in lines.after_header(0) {
        let [image, class] = line.fields(["image_id", "class_id"])?;
        let number: u32 = line.number("class_id", class)?;
        if number == 0 || number as usize > class_names.len() {
            let count = class_names.len();
            return Err(line.error(format!(
                "the class_id is {number}, but classes.txt has the classes 1 to {count}"
            )));
        }
        insert(&mut classes, &line, image, number)?;
    }

    let mut boxes: HashMap<u32, BoundingBox> = HashMap::new();
    if let Some(lines) = Lines::open_optional(dir.join("bounding_boxes.txt"))? {
        for line in lines.after_header(0) {
            let [image, left, top, width, height] =
                line.fields(["image_id", "x", "y", "width", "height"])?;
            let bbox = line.bounding_box([left, top], [width, height])?;
            insert(&mut boxes, &line, image, bbox)?;
        }
    }

    let mut items = Vec::new();
    let lines = open("images.txt")?;
    for line in lines.after_header(0) {
        let [image, path] = line.fields(["image_id", "image_name"])?;
        let image: u32 = line.number("image_id", image)?;
        let class = *classes.get(&image).ok_or_else(|| {
            line.error(format!(
                "the image {image} has no line in image_class_labels.txt"
            ))
        })?;
        let split = match class <= LAST_TRAINING_CLASS {
            true => Split::Train,
            false => Split::Test,
        };
        let source = ImageSource::File(dir.join("images").join(path));
        items.push(Item {
            bbox: boxes.get(&image).copied(),
            ..Item::new(path, source, class - 1, split)
        });
    }
    Ok(Dataset::from_items("cub", items, class_names)?
        .with_published_counts(PUBLISHED)
        // The retrieval literature takes whole images.
        .with_crops_to_boxes(false))
}

/// Notes the value of an image; a second one is an error.
fn insert<T>(
    values: &mut HashMap<u32, T>,
    line: &Line<'_>,
    image: &str,
    value: T,
) -> Result<(), DataError> {
    let image: u32 = line.number("image_id", image)?;
    match values.insert(image, value) {
        None => Ok(()),
        Some(_) => Err(line.error(format!("the image {image} comes a second time"))),
    }
}
