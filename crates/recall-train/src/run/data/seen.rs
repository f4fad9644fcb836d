//! Which classes of other images a model was trained on.

use std::collections::{BTreeMap, BTreeSet};

use recall_data::{DataSpec, Dataset, ItemId};

use super::{DataRecord, PartRecord, kind};
use crate::RunError;

/// Of images to be judged, the classes that the model was trained on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenClasses {
    /// Their names, in order.
    pub names: Vec<String>,
    /// How many classes there are, these and the others.
    pub of: usize,
    /// Images of these classes.
    pub images: Vec<ItemId>,
    /// Whether an image of theirs is known to be trained on. Otherwise the names alone tell.
    pub by_images: bool,
    /// Whether the run itself judges each of these classes, with other images than it trains on.
    pub as_in_the_run: bool,
}

impl DataRecord {
    /// Which classes of the images `ids` were trained on.
    ///
    /// A class is known by its name where both data sets are of your own (folders and tables), or the same
    /// benchmark. Names of data sets that have nothing to do with each other coincide by chance, as `1`
    /// does: there an image of the class must have been trained on, by the name of its file and its size.
    ///
    /// # Errors
    ///
    /// Rows of features that cannot be read.
    pub fn seen_classes(
        &self,
        data: &DataSpec,
        dataset: &Dataset,
        ids: &[ItemId],
    ) -> Result<SeenClasses, RunError> {
        let part = PartRecord::new(dataset, ids)?;
        let names_tell = comparable(&self.kind, &kind(data));
        let (mut names, mut by_images) = (BTreeSet::new(), false);
        for (name, images) in &part.classes {
            let Some(trained) = self.train.classes.get(name) else {
                continue;
            };
            let files: BTreeSet<_> = trained.iter().map(|image| image.file()).collect();
            let shared = images.iter().any(|image| files.contains(&image.file()));
            by_images |= shared;
            if shared || names_tell {
                names.insert(name.clone());
            }
        }
        let class_names = dataset.class_names();
        let chosen: BTreeMap<u32, bool> = (0..)
            .zip(class_names)
            .map(|(class, name)| (class, names.contains(name)))
            .collect();
        let is_seen = |id: &&ItemId| chosen[&dataset.items()[**id].class];
        Ok(SeenClasses {
            of: part.classes.len(),
            images: ids.iter().filter(is_seen).copied().collect(),
            by_images,
            as_in_the_run: names
                .iter()
                .all(|name| self.test.classes.contains_key(name)),
            names: names.into_iter().collect(),
        })
    }
}

/// Whether equal names mean the same class in data sets of these kinds.
fn comparable(one: &str, other: &str) -> bool {
    let own = |kind: &str| ["folder", "csv", "embeddings"].contains(&kind);
    one == other || own(one) && own(other)
}

impl SeenClasses {
    /// `12 of 40 classes were trained on (a, b, c and 9 others)`, where `what` is `classes`.
    pub fn said(&self, what: &str) -> String {
        let Self { names, of, .. } = self;
        let shown = names.len().min(3);
        let mut list = names[..shown].join(", ");
        match names.len() - shown {
            0 => {}
            1 => list += " and 1 other",
            others => list += &format!(" and {others} others"),
        }
        let were = match (self.by_images, names.len()) {
            (true, 1) => "was trained on",
            (true, _) => "were trained on",
            (false, 1) => "has the name of a class that was trained on",
            (false, _) => "have the names of classes that were trained on",
        };
        format!("{} of {of} {what} {were} ({list})", names.len())
    }
}

#[cfg(test)]
mod tests {
    use recall_data::{ImageSource, Item, Split};

    use super::super::super::images::Items;
    use super::*;

    fn dataset(images: &[(&str, &'static [u8])]) -> Dataset {
        let classes: BTreeSet<String> = images
            .iter()
            .map(|(name, _)| name.split('/').next().unwrap().to_owned())
            .collect();
        let classes: Vec<String> = classes.into_iter().collect();
        let items = images.iter().map(|&(name, bytes)| {
            let class = name.split('/').next().unwrap();
            let class = classes.iter().position(|other| other == class).unwrap();
            Item::new(
                name,
                ImageSource::Embedded(bytes),
                class as u32,
                Split::Test,
            )
        });
        Dataset::from_items("own", items.collect(), classes.clone()).unwrap()
    }

    fn trained(data: &str, train: &[(&str, &'static [u8])], test: usize) -> DataRecord {
        let dataset = dataset(train);
        let count = dataset.items().len();
        let items = Items {
            train: (0..count - test).collect(),
            validation: Vec::new(),
            test: (count - test..count).collect(),
        };
        DataRecord::new(&data.parse().unwrap(), &dataset, &items).unwrap()
    }

    const IMAGES: [(&str, &[u8]); 4] = [
        ("1/x.png", b"1"),
        ("1/y.png", b"12"),
        ("2/x.png", b"123"),
        ("2/z.png", b"1234"),
    ];

    #[test]
    fn a_class_is_known_by_its_name_only_where_names_mean_the_same() {
        let record = trained("folder:a", &IMAGES, 0);
        let other = dataset(&[("1/new.png", b"new"), ("3/new.png", b"new")]);
        let seen = |data: &str, dataset: &Dataset| {
            record
                .seen_classes(&data.parse().unwrap(), dataset, &[0, 1])
                .unwrap()
        };
        for data in ["folder:b", "csv:b.csv"] {
            let seen = seen(data, &other);
            assert_eq!((&seen.names[..], seen.of), (&["1".to_owned()][..], 2));
            assert_eq!((seen.images.as_slice(), seen.by_images), (&[0][..], false));
            let said = "1 of 2 classes has the name of a class that was trained on (1)";
            assert_eq!(seen.said("classes"), said);
        }
        assert!(seen("cub:b", &other).names.is_empty());
        // The same picture, wherever it lies today.
        let same = dataset(&[("1/y.png", b"12"), ("2/y.png", b"12")]);
        assert_eq!(seen("cub:b", &same).names, ["1"]);
        assert_eq!(
            seen("folder:b", &same).said("classes"),
            "2 of 2 classes were trained on (1, 2)"
        );
    }

    #[test]
    fn classes_that_the_run_judges_as_well_are_no_news() {
        let record = trained("folder:a", &IMAGES, 1);
        let seen = record
            .seen_classes(&"folder:a".parse().unwrap(), &dataset(&IMAGES), &[2, 3])
            .unwrap();
        assert_eq!(seen.names, ["2"]);
        assert!(seen.as_in_the_run);
        let seen = record
            .seen_classes(&"folder:a".parse().unwrap(), &dataset(&IMAGES), &[0, 3])
            .unwrap();
        assert!(!seen.as_in_the_run);
    }
}
