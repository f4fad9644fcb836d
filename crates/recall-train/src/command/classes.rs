//! The numbers that classes have in files, and their names beside them.
//!
//! A number has to mean the same class wherever it is written: queries and gallery may come from two
//! data sets, which know nothing of each other. So it follows from the name alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::bail;
use recall_data::{DataError, Dataset, ItemId, read_class_names};
use sha2::{Digest, Sha256};

/// Numbers from hashes start here and end at the double of it: they are far from numbers that people
/// give, and exact also where a program keeps them as f64.
const HASHED: i64 = 1 << 52;

/// A name that is a whole number, written as such, is that number; any other gets one between 2^52 and
/// 2^53 from a hash.
fn number_of(name: &str) -> i64 {
    match name.parse::<i64>() {
        Ok(number) if number.to_string() == name => number,
        _ => {
            let hash = Sha256::digest(name.as_bytes());
            let mut first = [0; 8];
            first.copy_from_slice(&hash[..8]);
            HASHED + (u64::from_le_bytes(first) >> 12) as i64
        }
    }
}

/// The names of classes by their numbers.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Classes {
    names: BTreeMap<i64, String>,
}

impl Classes {
    /// The classes of some items, and the number of each item's class.
    ///
    /// # Errors
    ///
    /// Two classes that get the same number.
    pub fn of(dataset: &Dataset, ids: &[ItemId]) -> anyhow::Result<(Self, Vec<i64>)> {
        let mut classes = Self::default();
        let mut numbers: BTreeMap<u32, i64> = BTreeMap::new();
        let mut labels = Vec::with_capacity(ids.len());
        for class in dataset.labels(ids) {
            let number = match numbers.get(&class) {
                Some(&number) => number,
                None => {
                    let name = &dataset.class_names()[class as usize];
                    let number = classes.add(name)?;
                    numbers.insert(class, number);
                    number
                }
            };
            labels.push(number);
        }
        Ok((classes, labels))
    }

    fn add(&mut self, name: &str) -> anyhow::Result<i64> {
        let number = number_of(name);
        match self.names.insert(number, name.to_owned()) {
            None => Ok(number),
            Some(other) => bail!(
                "the classes `{other}` and `{name}` get the same number {number} in the labels: \
                 rename one of them"
            ),
        }
    }

    /// As a table with the columns `label` and `name`.
    ///
    /// # Errors
    ///
    /// None that a table in memory could have.
    pub fn to_csv(&self) -> anyhow::Result<String> {
        let mut table = csv::Writer::from_writer(Vec::new());
        table.write_record(["label", "name"])?;
        for (label, name) in &self.names {
            table.write_record([&label.to_string(), name])?;
        }
        Ok(String::from_utf8(table.into_inner()?)?)
    }

    /// The names beside a file of labels, if they are there.
    ///
    /// # Errors
    ///
    /// A table that cannot be read or is not one of names.
    pub fn beside(labels: &Path) -> Result<Option<Self>, DataError> {
        let names = read_class_names(labels)?;
        Ok(names.map(|names| Self { names }))
    }

    /// How far the classes of queries and those of a gallery are the same.
    ///
    /// # Errors
    ///
    /// A number that stands for two names, or a name with two numbers: labels mean different things
    /// on the two sides.
    pub fn agreement(&self, gallery: &Self) -> anyhow::Result<String> {
        for (label, name) in &self.names {
            if let Some(other) = gallery.names.get(label).filter(|other| *other != name) {
                bail!(
                    "the label {label} is `{name}` for the queries and `{other}` in the gallery: \
                     embed both with the same version"
                );
            }
        }
        let of_name: BTreeMap<&str, i64> = gallery.by_name();
        for (name, label) in self.by_name() {
            if let Some(other) = of_name.get(name).filter(|other| **other != label) {
                bail!(
                    "the class `{name}` has the label {label} for the queries and {other} in the gallery: \
                     embed both with the same version"
                );
            }
        }
        let names = |classes: &Self| classes.names.values().cloned().collect::<BTreeSet<_>>();
        let (queries, gallery) = (names(self), names(gallery));
        let shared = queries.intersection(&gallery).count();
        let example = |names: &BTreeSet<String>| names.first().cloned().unwrap_or_default();
        Ok(match shared {
            0 => format!(
                "queries and gallery share none of their class names (`{}` is one of the queries', `{}` one \
                 of the gallery's), so no query finds anything",
                example(&queries),
                example(&gallery)
            ),
            _ => format!(
                "query and gallery share {shared} of {} class names",
                queries.union(&gallery).count()
            ),
        })
    }

    fn by_name(&self) -> BTreeMap<&str, i64> {
        let names = self.names.iter();
        names.map(|(label, name)| (name.as_str(), *label)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(names: &[&str]) -> Classes {
        let mut classes = Classes::default();
        for name in names {
            classes.add(name).unwrap();
        }
        classes
    }

    #[test]
    fn numbers_stay_and_names_have_one_that_never_changes() {
        for number in ["0", "7", "-12", "9223372036854775807"] {
            assert_eq!(number_of(number).to_string(), number);
        }
        // Written into files: another number would no longer match them.
        assert_eq!(number_of("chair"), 8_540_916_628_142_903);
        for name in [
            "chair",
            "01",
            "+1",
            "1.0",
            " 1",
            "",
            "9223372036854775808",
            "椅子",
        ] {
            let number = number_of(name);
            assert!((HASHED..2 * HASHED).contains(&number), "{name}: {number}");
            assert_eq!(number as f64 as i64, number);
        }
        assert_ne!(number_of("01"), number_of("1.0"));
    }

    #[test]
    fn two_names_of_one_number_are_refused() {
        let mut classes = classes(&["chair"]);
        let taken = number_of("chair").to_string();
        let message = classes.add(&taken).unwrap_err().to_string();
        assert!(
            message.contains("`chair`") && message.contains(&taken),
            "{message}"
        );
    }

    #[test]
    fn names_come_back_as_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let names = classes(&["a,b", "say \"cheese\"", "3", " lead", "椅子"]);
        std::fs::write(dir.path().join("q.classes.csv"), names.to_csv().unwrap()).unwrap();
        for labels in ["q.labels.npy", "q.safetensors", "q.npy"] {
            let found = Classes::beside(&dir.path().join(labels)).unwrap();
            assert_eq!(found.as_ref(), Some(&names), "{labels}");
        }
        assert_eq!(Classes::beside(&dir.path().join("g.npy")).unwrap(), None);
        for text in [
            "",
            "name,label\na,1\n",
            "label,name\nx,a\n",
            "label,name\n1,a\n1,b\n",
        ] {
            std::fs::write(dir.path().join("q.classes.csv"), text).unwrap();
            let refused = Classes::beside(&dir.path().join("q.npy"));
            let message = refused.unwrap_err().to_string();
            assert!(
                message.starts_with(&dir.path().display().to_string()),
                "{message}"
            );
        }
    }

    #[test]
    fn agreement_is_by_name() {
        let queries = classes(&["a", "b", "c"]);
        let said = |gallery: &Classes| queries.agreement(gallery).map_err(|e| e.to_string());
        assert_eq!(
            said(&classes(&["c", "b", "d"])).unwrap(),
            "query and gallery share 2 of 4 class names"
        );
        assert!(said(&classes(&["x"])).unwrap().contains("share none"));
        let numbered = |label: i64, name: &str| Classes {
            names: [(label, name.to_owned())].into(),
        };
        let message = said(&numbered(number_of("a"), "z")).unwrap_err();
        assert!(
            message.contains("is `a` for the queries and `z`"),
            "{message}"
        );
        let message = said(&numbered(3, "a")).unwrap_err();
        assert!(message.contains("class `a` has the label"), "{message}");
    }
}
