//! In what two records differ, in words.

use std::collections::BTreeMap;

use super::{DataRecord, ImageRecord, PartRecord};

/// What tells an image within a record: its name, and which of the images of that name it is. A table
/// can have several, with a box each.
type Key<'a> = (&'a str, usize);

/// Where an image belongs, and what else is known of it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Place<'a> {
    part: &'static str,
    class: &'a str,
    about: &'a str,
}

/// What became of an image; in the order in which it is said.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    Added(&'static str),
    Removed(&'static str),
    Moved(&'static str, &'static str),
    Reclassified(&'static str),
    Altered(&'static str),
}

impl DataRecord {
    /// What `now` has otherwise than this record, such as `1 test image was added (a/9.png)`; none if
    /// they are the same.
    pub fn differences(&self, now: &Self) -> Option<String> {
        if self.fingerprint == now.fingerprint {
            return None;
        }
        let said = differences(&self.parts(), &now.parts());
        Some(match said.is_empty() {
            false => said,
            true => "its images come in another order, or other lists say what to find".to_owned(),
        })
    }

    fn parts(&self) -> [(&'static str, &PartRecord); 3] {
        [
            ("training", &self.train),
            ("validation", &self.validation),
            ("test", &self.test),
        ]
    }

    /// The same of the test part alone.
    pub(crate) fn test_differences(&self, now: &PartRecord) -> Option<String> {
        let said = differences(&[("test", &self.test)], &[("test", now)]);
        (!said.is_empty()).then_some(said)
    }
}

fn differences(
    then: &[(&'static str, &PartRecord)],
    now: &[(&'static str, &PartRecord)],
) -> String {
    let (then, now) = (places(then), places(now));
    let mut changes: BTreeMap<Change, Vec<&str>> = BTreeMap::new();
    for (key, was) in &then {
        let change = match now.get(key) {
            None => Change::Removed(was.part),
            Some(is) if is.part != was.part => Change::Moved(was.part, is.part),
            Some(is) if is.class != was.class => Change::Reclassified(is.part),
            Some(is) if is.about != was.about => Change::Altered(is.part),
            Some(_) => continue,
        };
        changes.entry(change).or_default().push(key.0);
    }
    for (key, is) in now.iter().filter(|(key, _)| !then.contains_key(*key)) {
        let change = Change::Added(is.part);
        changes.entry(change).or_default().push(key.0);
    }
    let said: Vec<String> = changes
        .iter()
        .map(|(change, names)| change.said(names))
        .collect();
    said.join(", ")
}

fn places<'a>(parts: &[(&'static str, &'a PartRecord)]) -> BTreeMap<Key<'a>, Place<'a>> {
    let mut places = BTreeMap::new();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for &(part, record) in parts {
        for (class, images) in &record.classes {
            for ImageRecord(name, about) in images {
                let count = seen.entry(name).or_default();
                let place = Place { part, class, about };
                places.insert((name.as_str(), *count), place);
                *count += 1;
            }
        }
    }
    places
}

impl Change {
    fn said(&self, names: &[&str]) -> String {
        let count = names.len();
        let first = names.first().copied().unwrap_or_default();
        let (s, was, name) = match count {
            1 => ("", "was", first.to_owned()),
            _ => ("s", "were", format!("the first is {first}")),
        };
        match self {
            Self::Added(part) => format!("{count} {part} image{s} {was} added ({name})"),
            Self::Removed(part) => format!("{count} {part} image{s} {was} removed ({name})"),
            Self::Moved(from, to) => {
                format!("{count} {from} image{s} {was} moved to the {to} images ({name})")
            }
            Self::Reclassified(part) => {
                format!("{count} {part} image{s} {was} given another class ({name})")
            }
            Self::Altered(part) => format!("{count} {part} image{s} {was} changed ({name})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use recall_data::{BoundingBox, DataSpec, Dataset, ImageSource, Item, Split};

    use super::super::super::images::Items;
    use super::*;

    fn item(name: &str, bytes: &'static [u8], class: u32, split: Split) -> Item {
        Item::new(name, ImageSource::Embedded(bytes), class, split)
    }

    fn items() -> Vec<Item> {
        vec![
            item("a/1", b"x", 0, Split::Train),
            item("a/2", b"xx", 0, Split::Train),
            item("b/1", b"x", 1, Split::Test),
            item("b/2", b"xyz", 1, Split::Test),
        ]
    }

    fn record(items: Vec<Item>) -> DataRecord {
        let names = ["a", "b"].map(str::to_owned).to_vec();
        let dataset = Dataset::from_items("own", items, names).unwrap();
        let items = Items {
            train: dataset.split(Split::Train).to_vec(),
            validation: Vec::new(),
            test: dataset.split(Split::Test).to_vec(),
        };
        DataRecord::new(&DataSpec::Folder("own".into()), &dataset, &items).unwrap()
    }

    #[test]
    fn each_kind_of_change_is_named_with_the_first_image() {
        type Edit = fn(&mut Vec<Item>);
        let cases: [(Edit, &str); 8] = [
            (
                |items| items.push(item("b/3", b"x", 1, Split::Test)),
                "1 test image was added (b/3)",
            ),
            (
                |items| items.retain(|item| item.class == 1),
                "2 training images were removed (the first is a/1)",
            ),
            (
                |items| items[1].split = Split::Test,
                "1 training image was moved to the test images (a/2)",
            ),
            (
                |items| items[3].class = 0,
                "1 test image was given another class (b/2)",
            ),
            (
                |items| items[2].source = ImageSource::Embedded(b"longer"),
                "1 test image was changed (b/1)",
            ),
            (
                |items| items[0].bbox = BoundingBox::new(0, 0, 1, 1).ok(),
                "1 training image was changed (a/1)",
            ),
            (
                |items| items[0].name = "a/0".into(),
                "1 training image was added (a/0), 1 training image was removed (a/1)",
            ),
            (|items| items.swap(0, 2), "come in another order"),
        ];
        let then = record(items());
        assert_eq!(then.differences(&record(items())), None);
        for (edit, expected) in cases {
            let mut now = items();
            edit(&mut now);
            let said = then.differences(&record(now)).unwrap();
            assert!(said.contains(expected), "{said} for {expected}");
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(DataRecord::read(dir.path()).unwrap(), None);
        let record = record(items());
        let file = dir.path().join("data.json");
        std::fs::write(&file, record.to_json()).unwrap();
        assert_eq!(DataRecord::read(dir.path()).unwrap(), Some(record));
        for damaged in ["", "{\"format\":1}"] {
            std::fs::write(&file, damaged).unwrap();
            let message = DataRecord::read(dir.path()).unwrap_err().to_string();
            assert!(message.contains("data.json"), "{message}");
        }
    }
}
