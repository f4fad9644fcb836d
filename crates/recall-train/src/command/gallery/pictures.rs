//! The pictures of an index, by their names.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fs;

use recall_data::{Dataset, ImageSource, ItemId, Split, decode_upright, names};
use recall_report::Picture;

/// Where the pictures of an index are.
pub(super) struct Pictures {
    dataset: Option<Dataset>,
    /// The item of each row, of those that are in the data set.
    items: Vec<Option<ItemId>>,
    /// By row: whether there was a picture, of those that were asked for.
    found: RefCell<BTreeMap<usize, bool>>,
}

impl Pictures {
    /// Looks the names up. Where several items have the name of one image, as a class may have a file
    /// `1.png` to train on and another to test: an index of all of them has them in their order, and
    /// any other one is taken to hold the test images.
    pub fn new(dataset: Option<Dataset>, names: &[String]) -> Self {
        let mut items = vec![None; names.len()];
        if let Some(dataset) = &dataset {
            let mut of_name: HashMap<&str, Vec<ItemId>> = HashMap::new();
            for (id, item) in dataset.items().iter().enumerate() {
                of_name.entry(&item.name).or_default().push(id);
            }
            let mut rows: HashMap<&str, Vec<usize>> = HashMap::new();
            for (row, name) in names.iter().enumerate() {
                rows.entry(name).or_default().push(row);
            }
            for (name, rows) in rows {
                let mut ids = of_name.remove(name).unwrap_or_default();
                if ids.len() != rows.len() {
                    // A stable sort: within a split they stay in their order.
                    ids.sort_by_key(|&id| match dataset.items()[id].split {
                        Split::Test => 0,
                        Split::Validation => 1,
                        Split::Train => 2,
                    });
                }
                for (row, id) in rows.into_iter().zip(ids) {
                    items[row] = Some(id);
                }
            }
        }
        Self {
            dataset,
            items,
            found: RefCell::default(),
        }
    }

    /// The picture of a row, or none with its name: from the data set, as networks see it, or else
    /// from the file of that name.
    pub fn of(&self, row: usize, name: &str) -> Picture {
        let item = self.dataset.as_ref().zip(self.items[row]);
        let file = || fs::read(names::unescape(name)?).ok();
        let pixels = match item {
            Some((dataset, id)) => dataset.pixels(id).ok(),
            None => file().and_then(|bytes| decode_upright(&bytes, name).ok()),
        };
        let picture = pixels.map(|pixels| Picture::of(pixels, name.to_owned()));
        // Of a row of features nobody said that there is a picture.
        let has_none =
            item.is_some_and(|(dataset, id)| dataset.items()[id].source == ImageSource::Unknown);
        let found = picture.is_some() || has_none;
        self.found.borrow_mut().insert(row, found);
        picture.unwrap_or_else(|| Picture {
            bytes: Vec::new(),
            caption: name.to_owned(),
        })
    }

    /// How many pictures of those that were asked for are not there, or are no pictures.
    pub fn missing(&self) -> usize {
        let found = self.found.borrow();
        found.values().filter(|&&found| !found).count()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{ImageFormat, Rgb, RgbImage};
    use recall_data::Item;

    use super::*;

    /// A picture in one shade.
    fn shade(of: u8) -> &'static [u8] {
        let mut file = Cursor::new(Vec::new());
        let image = RgbImage::from_pixel(3, 2, Rgb([of; 3]));
        image.write_to(&mut file, ImageFormat::Png).unwrap();
        file.into_inner().leak()
    }

    fn dataset() -> Dataset {
        let item = |name: &str, bytes: &'static [u8], split| {
            Item::new(name, ImageSource::Embedded(bytes), 0, split)
        };
        let items = vec![
            item("a/1", shade(1), Split::Train),
            item("a/2", shade(2), Split::Train),
            item("a/1", shade(3), Split::Test),
            item("a/3", b"no picture", Split::Test),
        ];
        Dataset::from_items("own", items, vec!["a".into()]).unwrap()
    }

    /// The shades of the pictures, 0 for none, and how many there are none of.
    fn shown(names: &[&str]) -> (Vec<u8>, usize) {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let pictures = Pictures::new(Some(dataset()), &names);
        let of = |(row, name): (usize, &String)| {
            let picture = pictures.of(row, name);
            assert_eq!(picture.caption, *name);
            match &picture.bytes[..] {
                [] => 0,
                bytes => decode_upright(bytes, name).unwrap().get_pixel(0, 0).0[0],
            }
        };
        (
            names.iter().enumerate().map(of).collect(),
            pictures.missing(),
        )
    }

    #[test]
    fn names_that_are_there_twice() {
        assert_eq!(shown(&["a/1", "a/2", "a/1"]), (vec![1, 2, 3], 0));
        assert_eq!(shown(&["a/1"]).0, [3]);
    }

    #[test]
    fn what_is_no_picture_is_counted() {
        let (shown, missing) = shown(&["a/3", "nowhere/x.png", "a/2"]);
        assert_eq!(shown, [0, 0, 2]);
        assert_eq!(missing, 2);
    }
}
