//! The embedded emoji. The asset is written by `cargo xtask emoji`: a text index, an empty line,
//! and the PNG files one after another in its order. The index is UTF-8; its first line is
//! [`MAGIC`], then there is one line a class with fields separated by tabs: `train` or `test`, the
//! name, Unicode's group, and for each image `SET=BYTES`.

use std::collections::BTreeSet;

use crate::{DataError, Dataset, ImageSource, Item, Split};

static ASSET: &[u8] = include_bytes!("../../assets/emoji/emoji.bin");

const MAGIC: &str = "recall-emoji 1";

pub(crate) fn read() -> Result<Dataset, DataError> {
    parse(ASSET)
}

fn parse(asset: &'static [u8]) -> Result<Dataset, DataError> {
    let damaged = |problem: String| DataError::Asset { problem };
    let end = asset
        .windows(2)
        .position(|pair| pair == b"\n\n")
        .ok_or_else(|| damaged("the index has no end".into()))?;
    let (index, images) = asset.split_at(end + 2);
    let index = std::str::from_utf8(index).map_err(|error| damaged(error.to_string()))?;
    let mut lines = index.trim_end().lines();
    if lines.next() != Some(MAGIC) {
        return Err(damaged(format!("it does not start with `{MAGIC}`")));
    }

    let mut items = Vec::new();
    let mut class_names: Vec<String> = Vec::new();
    let mut groups: Vec<(u32, String)> = Vec::new();
    let mut rest = images;
    for (number, line) in lines.enumerate() {
        let damaged = |problem: &str| damaged(format!("line {}: {problem}", number + 2));
        let mut fields = line.split('\t');
        let (split, name, group) = match (fields.next(), fields.next(), fields.next()) {
            (Some("train"), Some(name), Some(group)) => (Split::Train, name, group),
            (Some("test"), Some(name), Some(group)) => (Split::Test, name, group),
            _ => return Err(damaged("not a split, a name and a group")),
        };
        let class = u32::try_from(number).map_err(|_| damaged("too many classes"))?;
        for image in fields {
            let (set, length) = image
                .split_once('=')
                .ok_or_else(|| damaged("an image without length"))?;
            let length = length
                .parse()
                .map_err(|_| damaged("a length that is no number"))?;
            let (bytes, after) = rest
                .split_at_checked(length)
                .ok_or_else(|| damaged("the images are cut short"))?;
            rest = after;
            let source = ImageSource::Embedded(bytes);
            items.push(Item::new(format!("{name} ({set})"), source, class, split));
            groups.push((class, group.to_owned()));
        }
        class_names.push(name.to_owned());
    }
    if !rest.is_empty() {
        return Err(damaged(format!("{} bytes are left over", rest.len())));
    }

    let group_names: Vec<String> = groups
        .iter()
        .map(|(_, group)| group.clone())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    for (item, (_, group)) in items.iter_mut().zip(&groups) {
        let place = group_names.binary_search(group).ok();
        item.super_class = place.and_then(|place| u32::try_from(place).ok());
    }
    Dataset::from_items("emoji", items, class_names)?.with_super_class_names(group_names)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use super::*;
    use crate::decode_rgb;

    #[test]
    fn the_counts_are_those_of_the_asset() {
        let dataset = read().unwrap();
        assert_eq!(dataset.class_names().len(), 1592);
        assert_eq!(dataset.items().len(), 8592);
        assert_eq!(dataset.super_class_names().len(), 8);
        assert_eq!(dataset.split(Split::Train).len(), 4284);
        assert_eq!(dataset.split(Split::Test).len(), 4308);
        let classes =
            |split| -> HashSet<u32> { dataset.labels(dataset.split(split)).into_iter().collect() };
        let (train, test) = (classes(Split::Train), classes(Split::Test));
        assert_eq!((train.len(), test.len()), (796, 796));
        assert!(train.is_disjoint(&test));
        assert!(dataset.class_names().is_sorted());
        assert!(dataset.notes().is_empty());
    }

    #[test]
    fn every_image_is_32_by_32_and_none_comes_twice() {
        let dataset = read().unwrap();
        let mut seen = HashSet::new();
        let mut per_class: BTreeMap<u32, usize> = BTreeMap::new();
        for item in dataset.items() {
            let image = decode_rgb(&item.encoded_bytes().unwrap(), &item.name).unwrap();
            assert_eq!(image.dimensions(), (32, 32), "{}", item.name);
            assert!(
                image.iter().any(|value| *value < 235),
                "{} is blank",
                item.name
            );
            assert!(seen.insert(image.into_raw()), "{} comes twice", item.name);
            *per_class.entry(item.class).or_default() += 1;
        }
        assert!(per_class.values().all(|count| (4..=6).contains(count)));
    }

    #[test]
    fn a_damaged_asset_is_an_error_and_no_panic() {
        let good = b"recall-emoji 1\ntrain\tface\tSmileys\tnoto=3\ttwemoji=2\n\nabcde";
        let dataset = parse(good).unwrap();
        assert_eq!(dataset.items()[1].name, "face (twemoji)");
        assert_eq!(*dataset.read(1).unwrap(), *b"de");

        for cut in 0..good.len() {
            assert!(parse(&good[..cut]).is_err(), "cut at {cut}");
        }
        for bad in [
            "recall-emoji 2\ntrain\tface\tSmileys\tnoto=1\n\na",
            "recall-emoji 1\nvalid\tface\tSmileys\tnoto=1\n\na",
            "recall-emoji 1\ntrain\tface\n\na",
            "recall-emoji 1\ntrain\tface\tSmileys\tnoto\n\na",
            "recall-emoji 1\ntrain\tface\tSmileys\tnoto=x\n\na",
            "recall-emoji 1\ntrain\tface\tSmileys\tnoto=99999999999999999999\n\na",
            "recall-emoji 1\ntrain\tface\tSmileys\tnoto=1\n\nab",
            "recall-emoji 1\n\n",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }
}
