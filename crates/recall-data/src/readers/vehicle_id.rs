//! PKU VehicleID (Liu and others, CVPR 2016).
//!
//! The lists of `train_test_split` have an image and a vehicle in each line; images lie in `image`
//! with seven digits. The three test lists are subsets of the test split: each is judged on its own.
//! `attribute/model_attr.txt`, if it is there, gives the model of some vehicles: the super-class.

use std::collections::HashMap;
use std::path::Path;

use super::lines::Lines;
use super::named::Named;
use crate::{DataError, Dataset, ImageSource, Item, ItemId, Part, PublishedCount, Split, Subset};

const EXPECTED: &str = "expected is the folder of VehicleID with image and, in train_test_split, \
                        train_list.txt, test_list_800.txt, test_list_1600.txt and \
                        test_list_2400.txt";

const LISTS: [(&str, Option<&str>); 4] = [
    ("train_list.txt", None),
    ("test_list_800.txt", Some("small")),
    ("test_list_1600.txt", Some("medium")),
    ("test_list_2400.txt", Some("large")),
];

const PUBLISHED: &[PublishedCount] = &[
    PublishedCount {
        part: Part::Train,
        images: 110_178,
        classes: Some(13_134),
    },
    PublishedCount {
        part: Part::Subset("small"),
        images: 7_332,
        classes: Some(800),
    },
    PublishedCount {
        part: Part::Subset("medium"),
        images: 12_995,
        classes: Some(1_600),
    },
    PublishedCount {
        part: Part::Subset("large"),
        images: 20_038,
        classes: Some(2_400),
    },
];

pub(crate) fn read(dir: &Path) -> Result<Dataset, DataError> {
    let models = read_models(dir)?;
    let (mut vehicles, mut model_names) = (Named::default(), Named::default());
    let mut items: Vec<Item> = Vec::new();
    let mut subsets = Vec::new();
    // An image may be in several of the test lists; it is one item.
    let mut known: HashMap<u64, ItemId> = HashMap::new();
    for (list, subset) in LISTS {
        let split = match subset {
            None => Split::Train,
            Some(_) => Split::Test,
        };
        let mut ids = Vec::new();
        let lines = Lines::open(dir.join("train_test_split").join(list), EXPECTED)?;
        for line in lines.after_header(0) {
            let [image, vehicle] = line.fields(["image", "vehicle"])?;
            let image: u64 = line.number("the image", image)?;
            let _: u64 = line.number("the vehicle", vehicle)?;
            let class = vehicles.id(vehicle);
            let id = *known.entry(image).or_insert(items.len());
            if id == items.len() {
                let name = format!("{image:07}.jpg");
                let source = ImageSource::File(dir.join("image").join(&name));
                items.push(Item {
                    super_class: models.get(vehicle).map(|model| model_names.id(model)),
                    ..Item::new(name, source, class, split)
                });
            }
            let item = &items[id];
            if item.split != split || item.class != class {
                return Err(line.error(format!(
                    "the image {image} is listed before, with another vehicle or in the other split"
                )));
            }
            ids.push(id);
        }
        if let Some(name) = subset {
            ids.sort_unstable();
            if let Some(twice) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
                return Err(DataError::layout(
                    dir.join("train_test_split").join(list),
                    format!("lists the image {} twice", items[twice[0]].name),
                ));
            }
            let name = name.to_owned();
            subsets.push(Subset { name, ids });
        }
    }
    Dataset::from_items("vehicle-id", items, vehicles.names())?
        .with_super_class_names(model_names.names())?
        .with_published_counts(PUBLISHED)
        .with_random_gallery()
        .with_subsets(subsets)
}

/// The model of each vehicle that has one.
fn read_models(dir: &Path) -> Result<HashMap<String, String>, DataError> {
    let mut models = HashMap::new();
    let path = dir.join("attribute").join("model_attr.txt");
    if let Some(lines) = Lines::open_optional(path)? {
        for line in lines.after_header(0) {
            let [vehicle, model] = line.fields(["vehicle", "model"])?;
            models.insert(vehicle.to_owned(), model.to_owned());
        }
    }
    Ok(models)
}
