//! What a run is trained and judged on, so that other images are recognised as such.

mod differences;
mod seen;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use recall_data::{CorruptPolicy, DataSpec, Dataset, Item, ItemId, Role};
use recall_eval::EmbeddingsFile;
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

/// The name of an image, and what else tells it from others: the size of its file, or a hash of its row of
/// features, and its box, role and super-class where it has such.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct ImageRecord(String, String);

impl DataRecord {
    /// Of the images that a run takes from `dataset`, which `data` names.
    ///
    /// # Errors
    ///
    /// Rows of features that cannot be read: they have no names, and are told apart by what is in them.
    pub(super) fn new(data: &DataSpec, dataset: &Dataset, items: &Items) -> Result<Self, RunError> {
        let parts = [&items.train, &items.validation, &items.test];
        let part = |ids: &Vec<ItemId>| PartRecord::new(dataset, ids);
        let (train, validation, test) = (part(parts[0])?, part(parts[1])?, part(parts[2])?);
        let mut record = Self {
            format: FORMAT,
            kind: kind(data),
            fingerprint: String::new(),
            train,
            validation,
            test,
        };
        record.fingerprint = record.hash(dataset, &parts);
        Ok(record)
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
    pub(crate) fn new(dataset: &Dataset, ids: &[ItemId]) -> Result<Self, RunError> {
        let items = dataset.items();
        let contents = match dataset.features() {
            Some(features) => rows(features, ids)?,
            None => sizes(dataset, ids),
        };
        let mut classes: BTreeMap<String, Vec<ImageRecord>> = BTreeMap::new();
        for (&id, contents) in ids.iter().zip(contents) {
            let class = &dataset.class_names()[items[id].class as usize];
            let image = ImageRecord::new(dataset, &items[id], contents);
            classes.entry(class.clone()).or_default().push(image);
        }
        Ok(Self {
            images: ids.len(),
            classes,
        })
    }
}

/// The sizes of the files of images.
fn sizes(dataset: &Dataset, ids: &[ItemId]) -> Vec<String> {
    let size =
        |size: Option<u64>| size.map_or_else(|| "missing".to_owned(), |bytes| bytes.to_string());
    dataset.sizes(ids).into_iter().map(size).collect()
}

/// Hashes of rows of features.
fn rows(features: &EmbeddingsFile, ids: &[ItemId]) -> Result<Vec<String>, RunError> {
    let mut row = vec![0.0; features.dim()];
    let mut hashes = Vec::with_capacity(ids.len());
    for &id in ids {
        features.read(id..id + 1, &mut row)?;
        let bytes = row.iter().flat_map(|value| value.to_le_bytes());
        let hash = crc32c::crc32c(&bytes.collect::<Vec<u8>>());
        hashes.push(format!("{hash:08x}"));
    }
    Ok(hashes)
}

impl ImageRecord {
    fn new(dataset: &Dataset, item: &Item, contents: String) -> Self {
        let mut about = contents;
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
