//! Cars196 (Krause and others, 3dRR 2013).
//!
//! `cars_annos.mat` has two variables: `annotations`, structs with the path of an image from the folder
//! of the file (`car_ims/000001.jpg`), a box and a class, and `class_names`. Classes count from 1, pixels
//! too, and the last ones of a box belong to it. The field `test` is a split for
//! classification; for retrieval the first 98 classes train. Images are not cut to their boxes.

use std::path::Path;

use super::count;
use crate::dataset::Note;
use crate::formats::mat::{self, Value, Variables};
use crate::{BoundingBox, DataError, Dataset, ImageSource, Item, Part, PublishedCount, Split};

const EXPECTED: &str = "expected is the folder of Cars196 with cars_annos.mat and the folder \
                        car_ims";

const FILE: &str = "cars_annos.mat";

const CLASSES: usize = 196;

/// The first classes, which train.
const TRAIN_CLASSES: usize = 98;

const PUBLISHED: &[PublishedCount] = &[
    PublishedCount {
        part: Part::Train,
        images: 8_054,
        classes: Some(98),
    },
    PublishedCount {
        part: Part::Test,
        images: 8_131,
        classes: Some(98),
    },
];

pub(crate) fn read(dir: &Path) -> Result<Dataset, DataError> {
    let file = dir.join(FILE);
    let bytes = crate::formats::load(&file, EXPECTED)?;
    dataset(
        dir,
        mat::read(&file, &bytes, &["annotations", "class_names"])?,
    )
}

fn dataset(dir: &Path, variables: Variables) -> Result<Dataset, DataError> {
    let file = dir.join(FILE);
    let refuse = |problem: String| DataError::layout(&file, problem);
    let variable = |name: &str| {
        let missing = || refuse(format!("has no variable `{name}`: {EXPECTED}"));
        variables.get(name).ok_or_else(missing)
    };

    let class_names = class_names(variable("class_names")?).map_err(refuse)?;
    let annotations = Annotations::of(variable("annotations")?).map_err(refuse)?;
    let (mut items, mut boxless) = (Vec::new(), Vec::new());
    for place in 0..annotations.paths.len() {
        let named = |problem| refuse(format!("has an annotation {}: {problem}", place + 1));
        let path = annotations.path(place).map_err(named)?;
        let class = annotations.class(place, class_names.len());
        let class = class.map_err(named)?;
        let split = match (class as usize) < TRAIN_CLASSES {
            true => Split::Train,
            false => Split::Test,
        };
        let bbox = annotations.bbox(place).map_err(named)?;
        if bbox.is_none() {
            boxless.push(place + 1);
        }
        let source = ImageSource::File(dir.join(path));
        items.push(Item {
            bbox,
            ..Item::new(path, source, class, split)
        });
    }
    let mut notes = Vec::new();
    if let Some(first) = boxless.first() {
        let are = count(boxless.len(), "box has no area", "boxes have no area");
        notes.push(Note::new(
            format!("{are}, the first is that of annotation {first}: left out"),
            Vec::new(),
        ));
    }
    Ok(Dataset::from_items("cars196", items, class_names)?
        .with_crops_to_boxes(false)
        .with_published_counts(PUBLISHED)
        .with_notes(notes))
}

fn class_names(names: &Value) -> Result<Vec<String>, String> {
    let cell = names.cell().ok_or_else(|| {
        let kind = names.kind();
        format!("has {kind} as `class_names`, not a cell array: {EXPECTED}")
    })?;
    if cell.len() > CLASSES {
        let found = cell.len();
        return Err(format!(
            "has {found} class names instead of {CLASSES}: {EXPECTED}"
        ));
    }
    let name = |(number, name): (usize, &Value)| {
        let name = name.text().map(str::to_owned);
        name.ok_or_else(|| format!("has a class name {number} that is no text: {EXPECTED}"))
    };
    (1..).zip(cell).map(name).collect()
}

/// The fields that count, a value for each image.
struct Annotations<'a> {
    paths: &'a [Value],
    classes: &'a [Value],
    corners: [&'a [Value]; 4],
}

const CORNERS: [&str; 4] = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2"];

impl<'a> Annotations<'a> {
    fn of(annotations: &'a Value) -> Result<Self, String> {
        let field = |name: &str| {
            annotations.field(name).ok_or_else(|| {
                let kind = annotations.kind();
                format!("has {kind} as `annotations`, without a field `{name}`: {EXPECTED}")
            })
        };
        let [x1, y1, x2, y2] = CORNERS;
        Ok(Self {
            paths: field("relative_im_path")?,
            classes: field("class")?,
            corners: [field(x1)?, field(y1)?, field(x2)?, field(y2)?],
        })
    }

    fn path(&self, place: usize) -> Result<&'a str, String> {
        let path = self.paths[place].text().filter(|path| !path.is_empty());
        path.ok_or_else(|| "its relative_im_path is no text".to_owned())
    }

    /// From 0.
    fn class(&self, place: usize, classes: usize) -> Result<u32, String> {
        let class = whole(&self.classes[place], "class")?;
        if 1 <= class && class as usize <= classes {
            return Ok(class - 1);
        }
        Err(format!(
            "its class is {class}, and there are the classes 1 to {classes}"
        ))
    }

    /// `None` for a box without area: no measure depends on it.
    fn bbox(&self, place: usize) -> Result<Option<BoundingBox>, String> {
        let mut pixels = [0; 4];
        for ((pixel, corner), name) in pixels.iter_mut().zip(self.corners).zip(CORNERS) {
            *pixel = whole(&corner[place], name)?;
        }
        let [x1, y1, x2, y2] = pixels;
        let first = |pixel: u32| pixel.saturating_sub(1);
        Ok(BoundingBox::new(first(x1), first(y1), x2, y2).ok())
    }
}

fn whole(value: &Value, name: &str) -> Result<u32, String> {
    let number = value.number().ok_or_else(|| {
        let kind = value.kind();
        format!("its {name} is {kind}, expected is one number")
    })?;
    if (0. ..=f64::from(u32::MAX)).contains(&number) && number.fract() == 0. {
        return Ok(number as u32);
    }
    Err(format!(
        "its {name} is {number}, expected is a whole number"
    ))
}

#[cfg(test)]
mod tests;
