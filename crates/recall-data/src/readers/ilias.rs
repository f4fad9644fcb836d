//! The core of ILIAS (Kordopatis-Zilos and others, CVPR 2025): a thousand objects, each photographed by itself and in
//! the world. Its hundred million distractors come apart and are not read.
//!
//! Each object has a folder, `NAME_000`, with `query/Q000_00.jpg` and `pos/P000_00.jpg`. Beside an image is
//! `…_bbox.txt`: in each line a box of the object, its left, top, width and height. A query's box holds all of
//! these. It is not cut to it unless that is asked for. The authors turn images upright first.

use std::path::{Path, PathBuf};

use super::lines::Lines;
use crate::{
    BoundingBox, DataError, Dataset, ImageSource, Item, Part, PublishedCount, Role, Split, names,
};

const EXPECTED: &str = "expected is the folder of ILIAS or its ilias_core, which has a folder for each object with the \
                        folders query and pos";

const PUBLISHED: &[PublishedCount] = &[
    PublishedCount {
        part: Part::Query,
        images: 1_232,
        classes: Some(1_000),
    },
    PublishedCount {
        part: Part::Gallery,
        images: 4_715,
        classes: Some(1_000),
    },
];

pub(crate) fn read(dir: &Path) -> Result<Dataset, DataError> {
    let core = dir.join("ilias_core");
    let dir = if core.is_dir() { &core } else { dir };
    let (mut items, mut classes) = (Vec::new(), Vec::new());
    for object in sorted(dir)? {
        let [queries, positives] = ["query", "pos"].map(|folder| object.join(folder));
        if !queries.is_dir() || !positives.is_dir() {
            continue;
        }
        // Fewer than there are folders on a disk.
        let class = u32::try_from(classes.len()).unwrap_or(u32::MAX);
        classes.push(
            object
                .file_name()
                .map_or_else(String::new, names::escape_os),
        );
        for (folder, role) in [(queries, Role::Query), (positives, Role::Gallery)] {
            for file in sorted(&folder)? {
                let ending = file.extension();
                if !ending.is_some_and(|ending| ending.eq_ignore_ascii_case("jpg")) {
                    continue;
                }
                let name = file.strip_prefix(dir).unwrap_or(&file);
                items.push(Item {
                    role,
                    bbox: match role {
                        Role::Query => bounding_box(&file)?,
                        _ => None,
                    },
                    ..Item::new(
                        names::escape_os(name.as_os_str()),
                        ImageSource::File(file.clone()),
                        class,
                        Split::Test,
                    )
                });
            }
        }
    }
    if items.is_empty() {
        return Err(DataError::layout(
            dir,
            format!("has no objects: {EXPECTED}"),
        ));
    }
    Ok(Dataset::from_items("ilias", items, classes)?
        .with_crops_to_boxes(false)
        .with_published_counts(PUBLISHED))
}

/// What a folder holds, by name.
fn sorted(dir: &Path) -> Result<Vec<PathBuf>, DataError> {
    let fail = |error| DataError::io(dir, error);
    let entries = std::fs::read_dir(dir).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => DataError::layout(dir, format!("is not there: {EXPECTED}")),
        _ => fail(error),
    })?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths: Vec<PathBuf> = paths.collect::<Result<_, _>>().map_err(fail)?;
    paths.sort_unstable();
    Ok(paths)
}

/// The smallest box around all that are in the file beside an image, if there is one.
fn bounding_box(image: &Path) -> Result<Option<BoundingBox>, DataError> {
    let stem = image.file_stem().unwrap_or_default().to_string_lossy();
    let file = image.with_file_name(format!("{stem}_bbox.txt"));
    let Some(lines) = Lines::open_optional(file)? else {
        return Ok(None);
    };
    let mut around: Option<[u32; 4]> = None;
    for line in lines.after_header(0) {
        let [left, top, width, height] = line.fields(["x", "y", "width", "height"])?;
        let bbox = line.bounding_box([left, top], [width, height])?;
        let [x1, y1, x2, y2] = around.unwrap_or([u32::MAX, u32::MAX, 0, 0]);
        around = Some([
            x1.min(bbox.left()),
            y1.min(bbox.top()),
            x2.max(bbox.right()),
            y2.max(bbox.bottom()),
        ]);
    }
    around
        .map(|[x1, y1, x2, y2]| BoundingBox::new(x1, y1, x2, y2))
        .transpose()
}
