//! What a run is trained and judged on, so that other images are recognised as such.

mod differences;
mod seen;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use recall_data::{CorruptPolicy, DataSpec, Dataset, Item, ItemId, Role};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::images::Items;
use crate::{ImageConfig, RunError};
pub use seen::SeenClasses;

/// The file of a record, in the folder of a run and in that of each checkpoint.
pub(super) const DATA: &str = "data.json";

/// The first version of records.
const FORMAT: u32 = 1;

/// What a run is trained and judged on: `data.json` in its folder and in its checkpoints.
///
/// It has what tells one image from another without reading it: names, which start at the folder of the
/// data set, sizes of files, classes, boxes, roles. Where the data set lies is no part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataRecord {
    format: u32,
    /// `folder`, `csv`, `emoji` or the name of a benchmark.
    kind: String,
    /// Of all that follows, and of the order in which the images come.
    fingerprint: String,
    /// Trained on.
    train: PartRecord,
    /// Held out of training, to choose the best checkpoint by.
    validation: PartRecord,
    /// Judged at the end.
    test: PartRecord,
}

/// The images of a part, by the names of their classes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartRecord {
    images: usize,
    classes: BTreeMap<String, Vec<ImageRecord>>,
}

/// The name of an image, and what else tells it from others: the size of its file, and its box, role and
/// super-class where it has such.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct ImageRecord(String, String);

impl DataRecord {
    /// Of the images that a run takes from `dataset`, which `data` names.
    pub(super) fn new(data: &DataSpec, dataset: &Dataset, items: &Items) -> Self {
        let parts = [&items.train, &items.validation, &items.test];
        let [train, validation, test] = parts.map(|ids| PartRecord::new(dataset, ids));
        let mut record = Self {
            format: FORMAT,
            kind: kind(data),
            fingerprint: String::new(),
            train,
            validation,
            test,
        };
        record.fingerprint = record.hash(dataset, &parts);
        record
    }

    /// Tells these images from all others, in a few letters.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The names of the classes that were trained on.
    pub fn trained_classes(&self) -> impl Iterator<Item = &str> {
        self.train.classes.keys().map(String::as_str)
    }

    /// The record in the folder `path`; none if it has none.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, RunError> {
        let path = path.join(DATA);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes.map_err(RunError::file("read", &path))?,
        };
        let record: Self = serde_json::from_slice(&bytes)
            .map_err(|error| RunError::file("read", &path)(error.into()))?;
        match record.format {
            FORMAT => Ok(Some(record)),
            other => Err(RunError::file("read", &path)(std::io::Error::other(
                format!("it has format {other}, and this version reads format {FORMAT}"),
            ))),
        }
    }

    /// As it is written.
    pub(super) fn to_json(&self) -> Vec<u8> {
        // Names and numbers can always be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Lengths stand before texts, so that no two records are one text.
    fn hash(&self, dataset: &Dataset, parts: &[&Vec<ItemId>; 3]) -> String {
        let mut hash = Sha256::new();
        let mut add = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        };
        for (name, part) in [
            ("train", &self.train),
            ("validation", &self.validation),
            ("test", &self.test),
        ] {
            add(name);
            for (class, images) in &part.classes {
                add(class);
                images.iter().for_each(|ImageRecord(name, about)| {
                    add(name);
                    add(about);
                });
            }
        }
        // Batches and augmentation follow from the places of images in the data set.
        for ids in parts {
            add(&format!("{ids:?}"));
        }
        add(&format!("{:?}", dataset.subsets()));
        add(&format!("{:?}", dataset.ground_truth()));
        let digest = hash.finalize();
        let digits = digest[..16].iter().map(|byte| format!("{byte:02x}"));
        digits.collect()
    }
}

impl PartRecord {
    pub(crate) fn new(dataset: &Dataset, ids: &[ItemId]) -> Self {
        let items = dataset.items();
        let mut classes: BTreeMap<String, Vec<ImageRecord>> = BTreeMap::new();
        for (&id, size) in ids.iter().zip(dataset.sizes(ids)) {
            let class = &dataset.class_names()[items[id].class as usize];
            let image = ImageRecord::new(dataset, &items[id], size);
            classes.entry(class.clone()).or_default().push(image);
        }
        Self {
            images: ids.len(),
            classes,
        }
    }
}

impl ImageRecord {
    fn new(dataset: &Dataset, item: &Item, size: Option<u64>) -> Self {
        let mut about = size.map_or_else(|| "missing".to_owned(), |bytes| bytes.to_string());
        if let Some(bbox) = &item.bbox {
            about += &format!(
                " {},{},{},{}",
                bbox.left(),
                bbox.top(),
                bbox.right(),
                bbox.bottom()
            );
        }
        if item.role != Role::Both {
            about += &format!(" {:?}", item.role).to_lowercase();
        }
        if let Some(class) = item.super_class {
            about += &format!(" of {}", dataset.super_class_names()[class as usize]);
        }
        Self(item.name.clone(), about)
    }

    /// The last part of the name, and the size: what is left of an image under another folder.
    fn file(&self) -> (&str, &str) {
        let Self(name, about) = self;
        let file = name.rsplit(['/', '\\']).next().unwrap_or(name);
        (file, about.split(' ').next().unwrap_or(about))
    }
}

/// What stands before the colon of a data set's name.
fn kind(data: &DataSpec) -> String {
    let text = data.to_string();
    text.split(':').next().unwrap_or_default().to_owned()
}

/// Opens the data set of a run that was begun. It may have been moved since: the error says what to do.
pub(crate) fn reopen(
    image: &ImageConfig,
    data: &DataSpec,
    corrupt: CorruptPolicy,
) -> Result<Dataset, RunError> {
    image
        .open(data, corrupt)
        .map_err(|source| match data.path() {
            Some(path) if !path.exists() => RunError::DataMoved { source },
            _ => source.into(),
        })
}
