//! DeepFashion In-shop Clothes Retrieval (Liu and others, CVPR 2016).
//!
//! `list_eval_partition.txt` starts with a number of lines and a header; then `image_name item_id
//! evaluation_status`, the last of them `train`, `query` or `gallery`. Boxes are in
//! `list_bbox_inshop.txt`, if it is there.

use std::collections::HashMap;
use std::path::Path;

use super::lines::{Lines, root};
use super::named::Named;
use super::{count, excerpt};
use crate::dataset::Note;
use crate::{
    BoundingBox, DataError, Dataset, ImageSource, Item, Part, PublishedCount, Role, Split,
};

const EXPECTED: &str = "expected is the folder of the In-shop benchmark with \
                        list_eval_partition.txt, in it or in its folder Eval, and img, in it or in \
                        its folder Img";

const PUBLISHED: &[PublishedCount] = &[
    PublishedCount {
        part: Part::Train,
        images: 25_882,
        classes: Some(3_997),
    },
    PublishedCount {
        part: Part::Query,
        images: 14_218,
        classes: Some(3_985),
    },
    PublishedCount {
        part: Part::Gallery,
        images: 12_612,
        classes: Some(3_985),
    },
];

pub(crate) fn read(dir: &Path) -> Result<Dataset, DataError> {
    let lists = root(dir, "Eval", "list_eval_partition.txt");
    let lines = Lines::open(lists.join("list_eval_partition.txt"), EXPECTED)?;
    let images = root(dir, "Img", "img");
    let mut notes = Vec::new();
    let boxes = read_boxes(dir, &mut notes)?;
    let mut items = Vec::new();
    let mut classes = Named::default();
    for line in lines.after_header(2) {
        let [path, class, status] = line.fields(["image_name", "item_id", "evaluation_status"])?;
        let (split, role) = match status {
            "train" => (Split::Train, Role::Both),
            "query" => (Split::Test, Role::Query),
            "gallery" => (Split::Test, Role::Gallery),
            other => {
                return Err(line.error(format!(
                    "the evaluation_status is `{}`, expected is train, query or gallery",
                    excerpt(other)
                )));
            }
        };
        let source = ImageSource::File(images.join(path));
        items.push(Item {
            bbox: boxes.get(path).copied(),
            role,
            ..Item::new(path, source, classes.id(class), split)
        });
    }
    lines.expect_count(items.len())?;
    Ok(Dataset::from_items("inshop", items, classes.names())?
        .with_published_counts(PUBLISHED)
        // The retrieval literature takes whole images.
        .with_crops_to_boxes(false)
        .with_notes(notes))
}

/// The boxes by the paths of their images. They are not used unless asked for, so one without area
/// is no reason to refuse the images.
fn read_boxes(
    dir: &Path,
    notes: &mut Vec<Note>,
) -> Result<HashMap<String, BoundingBox>, DataError> {
    let mut boxes = HashMap::new();
    let lists = root(dir, "Anno", "list_bbox_inshop.txt");
    let Some(lines) = Lines::open_optional(lists.join("list_bbox_inshop.txt"))? else {
        return Ok(boxes);
    };
    let (mut found, mut without_area) = (0, 0);
    for line in lines.after_header(2) {
        let [path, _, _, left, top, right, bottom] = line.fields([
            "image_name",
            "clothes_type",
            "pose_type",
            "x_1",
            "y_1",
            "x_2",
            "y_2",
        ])?;
        let bbox = BoundingBox::new(
            line.number("x_1", left)?,
            line.number("y_1", top)?,
            line.number("x_2", right)?,
            line.number("y_2", bottom)?,
        );
        found += 1;
        match bbox {
            Ok(bbox) => _ = boxes.insert(path.to_owned(), bbox),
            Err(_) => without_area += 1,
        }
    }
    lines.expect_count(found)?;
    if without_area > 0 {
        let count = count(without_area, "box has", "boxes have");
        notes.push(Note::new(
            format!("{count} no area and left aside"),
            Vec::new(),
        ));
    }
    Ok(boxes)
}
