//! What was found: items, classes, splits and roles.

mod distractors;
mod item;
mod judging;
mod missing;
mod note;

pub use item::{BoundingBox, ImageSource, Item, ItemId, Role, Split};
pub use judging::{GroundTruth, Part, Protocol, PublishedCount, Subset};
pub use note::Note;

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use rayon::prelude::*;
use recall_eval::EmbeddingsFile;

use crate::{DataError, names};

/// Items, their classes and their splits. Valid by construction: there are items, and each one's
/// class has a name.
#[derive(Debug, Clone)]
pub struct Dataset {
    name: String,
    items: Vec<Item>,
    class_names: Vec<String>,
    super_class_names: Vec<String>,
    train: Vec<ItemId>,
    validation: Vec<ItemId>,
    test: Vec<ItemId>,
    subsets: Vec<Subset>,
    ground_truth: Vec<GroundTruth>,
    graded: bool,
    pairs: Vec<[ItemId; 2]>,
    published: &'static [PublishedCount],
    crops_to_boxes: bool,
    turns_upright: bool,
    random_gallery: bool,
    labelled: bool,
    notes: Vec<Note>,
    features: Option<Arc<EmbeddingsFile>>,
}

impl Dataset {
    /// A data set of your own. An item's id is its place in `items`.
    ///
    /// # Errors
    ///
    /// No items, more than `u32::MAX` classes, or an item whose class has no name.
    pub fn from_items(
        name: impl Into<String>,
        items: Vec<Item>,
        class_names: Vec<String>,
    ) -> Result<Self, DataError> {
        let name = name.into();
        let refuse = |problem| {
            Err(DataError::Items {
                dataset: name.clone(),
                problem,
            })
        };
        if items.is_empty() {
            return refuse("it has no items".to_owned());
        }
        if u32::try_from(class_names.len()).is_err() {
            return refuse(format!(
                "it has {} classes, too many for 32 bits",
                class_names.len()
            ));
        }
        if let Some(item) = items
            .iter()
            .find(|item| item.class as usize >= class_names.len())
        {
            return refuse(format!(
                "the item {} is of class {}, but there are names for {} classes only",
                item.name,
                item.class,
                class_names.len()
            ));
        }
        let ids = |split| {
            let of_split = items
                .iter()
                .enumerate()
                .filter(|(_, item)| item.split == split);
            of_split.map(|(id, _)| id).collect()
        };
        let [train, validation, test] = [Split::Train, Split::Validation, Split::Test].map(ids);
        Ok(Self {
            name,
            items,
            class_names,
            super_class_names: Vec::new(),
            train,
            validation,
            test,
            subsets: Vec::new(),
            ground_truth: Vec::new(),
            graded: true,
            pairs: Vec::new(),
            published: &[],
            crops_to_boxes: true,
            turns_upright: true,
            random_gallery: false,
            labelled: true,
            notes: Vec::new(),
            features: None,
        })
    }

    /// Images of which nobody says which belong together: to embed and to search, not to train on and not
    /// to be judged by. They are test items, and their one class has a name that means nothing; see
    /// [`is_labelled`](Self::is_labelled).
    ///
    /// # Errors
    ///
    /// No images.
    pub fn unlabelled(
        name: impl Into<String>,
        images: impl IntoIterator<Item = (String, ImageSource)>,
    ) -> Result<Self, DataError> {
        let items = images
            .into_iter()
            .map(|(name, source)| Item::new(name, source, 0, Split::Test));
        let items: Vec<Item> = items.collect();
        let mut dataset = Self::from_items(name, items, vec!["unlabelled".to_owned()])?;
        dataset.labelled = false;
        Ok(dataset)
    }

    /// Items that are rows of features instead of images: item `i` is row `i` of `features`. Pictures, where
    /// items have some, are only shown.
    ///
    /// # Errors
    ///
    /// Not one row for each item.
    pub fn with_features(mut self, features: Arc<EmbeddingsFile>) -> Result<Self, DataError> {
        if features.rows() != self.items.len() {
            let problem = format!(
                "{} has {} rows for its {} items",
                features.path().display(),
                features.rows(),
                self.items.len()
            );
            let dataset = self.name;
            return Err(DataError::Items { dataset, problem });
        }
        self.features = Some(features);
        Ok(self)
    }

    /// Gives the super-classes names.
    ///
    /// # Errors
    ///
    /// An item whose super-class has no name.
    pub fn with_super_class_names(mut self, names: Vec<String>) -> Result<Self, DataError> {
        let unnamed = |item: &&Item| {
            item.super_class
                .is_some_and(|of| of as usize >= names.len())
        };
        if let Some(item) = self.items.iter().find(unnamed) {
            let problem = format!(
                "the item {} is of super-class {:?}, but there are names for {} only",
                item.name,
                item.super_class,
                names.len()
            );
            return Err(DataError::Items {
                dataset: self.name,
                problem,
            });
        }
        self.super_class_names = names;
        Ok(self)
    }

    /// Names parts of the test split that are also judged on their own.
    ///
    /// # Errors
    ///
    /// An id that is no test item, or ids that do not ascend.
    pub fn with_subsets(mut self, subsets: Vec<Subset>) -> Result<Self, DataError> {
        for Subset { name, ids } in &subsets {
            let problem = if !ids.is_sorted_by(|a, b| a < b) {
                format!("the items of its subset {name} do not ascend")
            } else if let Some(id) = ids.iter().find(|&id| self.test.binary_search(id).is_err()) {
                format!("the item {id} of its subset {name} is none of its test items")
            } else {
                continue;
            };
            let dataset = self.name;
            return Err(DataError::Items { dataset, problem });
        }
        self.subsets = subsets;
        Ok(self)
    }

    /// Says by lists what each query should find, instead of by classes.
    ///
    /// # Errors
    ///
    /// An id that is no test item.
    pub fn with_ground_truth(mut self, truth: Vec<GroundTruth>) -> Result<Self, DataError> {
        let ids = |truth: &'_ GroundTruth| {
            let lists = [&truth.easy, &truth.hard, &truth.junk];
            let listed: Vec<ItemId> = lists.into_iter().flatten().copied().collect();
            std::iter::once(truth.query).chain(listed)
        };
        let foreign = |id: &ItemId| self.test.binary_search(id).is_err();
        if let Some(id) = truth.iter().flat_map(ids).find(foreign) {
            let problem = format!("the item {id} of its ground truth is none of its test items");
            let dataset = self.name;
            return Err(DataError::Items { dataset, problem });
        }
        self.ground_truth = truth;
        Ok(self)
    }

    /// Chooses whether its lists tell easy images from hard ones, see
    /// [`is_graded`](Self::is_graded).
    pub fn with_grades(mut self, graded: bool) -> Self {
        self.graded = graded;
        self
    }

    /// Names pairs of images that show the same, see [`pairs`](Self::pairs).
    ///
    /// # Errors
    ///
    /// An id that is no item.
    pub fn with_pairs(mut self, pairs: Vec<[ItemId; 2]>) -> Result<Self, DataError> {
        let foreign = |id: &&ItemId| **id >= self.items.len();
        if let Some(id) = pairs.iter().flatten().find(foreign) {
            let problem = format!("the item {id} of its pairs is none of its items");
            let dataset = self.name;
            return Err(DataError::Items { dataset, problem });
        }
        self.pairs = pairs;
        Ok(self)
    }

    /// Chooses whether images are cut to their boxes, see [`crops_to_boxes`](Self::crops_to_boxes).
    pub fn with_crops_to_boxes(mut self, crops: bool) -> Self {
        self.crops_to_boxes = crops;
        self
    }

    /// Chooses whether images are turned upright, see [`turns_upright`](Self::turns_upright).
    pub fn with_turns_upright(mut self, turns: bool) -> Self {
        self.turns_upright = turns;
        self
    }

    /// Says that publications judge it by galleries drawn at random, see
    /// [`protocols`](Self::protocols).
    pub(crate) fn with_random_gallery(mut self) -> Self {
        self.random_gallery = true;
        self
    }

    pub(crate) fn with_published_counts(mut self, counts: &'static [PublishedCount]) -> Self {
        self.published = counts;
        self
    }

    /// For readers that take names from lists as they are.
    pub(crate) fn with_escaped_names(mut self) -> Self {
        let items = self.items.iter_mut().map(|item| &mut item.name);
        let all = items
            .chain(&mut self.class_names)
            .chain(&mut self.super_class_names);
        all.for_each(|name| *name = names::escape(name));
        self
    }

    pub(crate) fn with_notes(mut self, notes: Vec<Note>) -> Self {
        self.notes = notes;
        self
    }

    /// A short name to show.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All items; an item's id is its place here.
    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// The features that its items are, if they are no images: item `i` is row `i`.
    pub fn features(&self) -> Option<&Arc<EmbeddingsFile>> {
        self.features.as_ref()
    }

    /// What its items are, in the plural: `images` or `rows`.
    pub fn noun(&self) -> &'static str {
        match self.features {
            Some(_) => "rows",
            None => "images",
        }
    }

    /// Whether anything says which images belong together. If not, [`Item::class`] means nothing.
    pub fn is_labelled(&self) -> bool {
        self.labelled
    }

    /// Whether the class of an item says what should find it: not of an unlabelled set, nor where lists
    /// say it.
    pub(crate) fn goes_by_classes(&self) -> bool {
        self.labelled && self.ground_truth.is_empty()
    }

    /// Names of the classes, by [`Item::class`].
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// Names of the super-classes, by [`Item::super_class`]; empty where the data set has none.
    pub fn super_class_names(&self) -> &[String] {
        &self.super_class_names
    }

    /// Named parts of the test split that are also judged on their own; mostly none.
    pub fn subsets(&self) -> &[Subset] {
        &self.subsets
    }

    /// What each query should find, where lists say it. Empty where classes do.
    pub fn ground_truth(&self) -> &[GroundTruth] {
        &self.ground_truth
    }

    /// Whether those lists tell easy images from hard ones, as in revisited Oxford and Paris, which are
    /// judged in three set-ups. Otherwise all that is to be found is among the easy ones.
    pub fn is_graded(&self) -> bool {
        self.graded
    }

    /// Pairs of a query and an image that shows the same, in the order in which the data set lists them:
    /// those of SfM-120k, from which a whitening is learned. Mostly none.
    pub fn pairs(&self) -> &[[ItemId; 2]] {
        &self.pairs
    }

    /// How many images and classes there should be; empty where nothing was published.
    pub fn published_counts(&self) -> &[PublishedCount] {
        self.published
    }

    /// How publications judge it, the official protocol first. Of a data set of your own: by its
    /// lists or its roles, or each item against the rest if it has neither.
    pub fn protocols(&self) -> Vec<Protocol> {
        let has_role = |&id: &ItemId| self.items[id].role != Role::Both;
        if !self.ground_truth.is_empty() {
            vec![Protocol::Lists]
        } else if self.test.iter().any(has_role) {
            vec![Protocol::QueryGallery]
        } else if self.random_gallery {
            vec![Protocol::RandomGallery, Protocol::EachAgainstRest]
        } else {
            vec![Protocol::EachAgainstRest]
        }
    }

    /// Whether images that have a [box](Item::bbox) are cut to it when they are read. Default: as the
    /// benchmark is evaluated in publications, or yes where it is none.
    pub fn crops_to_boxes(&self) -> bool {
        self.crops_to_boxes
    }

    /// Whether images are turned and mirrored as their metadata (EXIF) say that they are to be shown,
    /// before anything else: a [box](Item::bbox) is one of the image as it is shown. Default: yes, but
    /// for benchmarks, which are published as their files are stored.
    pub fn turns_upright(&self) -> bool {
        self.turns_upright
    }

    /// The items of a part, ascending; none of a subset that the data set does not have.
    pub fn part(&self, part: Part) -> Vec<ItemId> {
        let of_role = |role| {
            let ids = self.test.iter().copied();
            ids.filter(|&id| self.items[id].role == role).collect()
        };
        match part {
            Part::Train => self.train.clone(),
            Part::Validation => self.validation.clone(),
            Part::Test => self.test.clone(),
            Part::Query => of_role(Role::Query),
            Part::Gallery => of_role(Role::Gallery),
            Part::Subset(name) => {
                let subset = self.subsets.iter().find(|subset| subset.name == name);
                subset.map_or_else(Vec::new, |subset| subset.ids.clone())
            }
        }
    }

    /// What the reader met and left aside, for someone to be told.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Ids of the items of a split, ascending; any split may have none.
    pub fn split(&self, split: Split) -> &[ItemId] {
        match split {
            Split::Train => &self.train,
            Split::Validation => &self.validation,
            Split::Test => &self.test,
        }
    }

    /// The classes of `ids`, in their order.
    ///
    /// # Panics
    ///
    /// If an id is not of this data set, as with indexing [`items`](Self::items).
    pub fn labels(&self, ids: &[ItemId]) -> Vec<u32> {
        ids.iter().map(|&id| self.items[id].class).collect()
    }

    /// The images that are no files where the data set says so, in the order of the items; none where they
    /// are only shown, beside features. Looks on all cores.
    pub fn missing_files(&self) -> Vec<(ItemId, PathBuf)> {
        if self.features.is_some() {
            return Vec::new();
        }
        let items = self.items.iter().enumerate();
        let files = items.filter_map(|(id, item)| match &item.source {
            ImageSource::File(path) => Some((id, path.as_path())),
            _ => None,
        });
        let path = |id: ItemId| match &self.items[id].source {
            ImageSource::File(path) => Some((id, path.clone())),
            _ => None,
        };
        let missing = missing::missing(files);
        missing.into_iter().filter_map(path).collect()
    }

    /// Bytes of the images of `ids` as they are stored, in their order; none of one that is not there.
    /// Looks on all cores.
    ///
    /// # Panics
    ///
    /// If an id is not of this data set, as with indexing [`items`](Self::items).
    pub fn sizes(&self, ids: &[ItemId]) -> Vec<Option<u64>> {
        let size = |&id: &ItemId| match &self.items[id].source {
            ImageSource::Unknown => None,
            ImageSource::File(path) => std::fs::metadata(path).ok().map(|file| file.len()),
            ImageSource::Embedded(bytes) => Some(bytes.len() as u64),
        };
        ids.par_iter().map(size).collect()
    }

    /// The item of an id.
    ///
    /// # Errors
    ///
    /// An id that is not of this data set.
    pub fn item(&self, id: ItemId) -> Result<&Item, DataError> {
        self.items.get(id).ok_or_else(|| DataError::UnknownItem {
            id,
            dataset: self.name.clone(),
            count: self.items.len(),
        })
    }

    /// The image of an item as it is stored, see [`Item::encoded_bytes`].
    ///
    /// # Errors
    ///
    /// An id that is not of this data set, a file that cannot be read.
    pub fn read(&self, id: ItemId) -> Result<Cow<'_, [u8]>, DataError> {
        self.item(id)?.encoded_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(class: u32, split: Split) -> Item {
        Item::new(
            format!("of {class}"),
            ImageSource::Embedded(b""),
            class,
            split,
        )
    }

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|name| name.to_string()).collect()
    }

    #[test]
    fn splits_are_ascending_and_labels_follow_the_ids() {
        let items = [
            (1, Split::Test),
            (0, Split::Train),
            (0, Split::Test),
            (1, Split::Train),
            (0, Split::Validation),
        ]
        .map(|(class, split)| item(class, split));
        let dataset = Dataset::from_items("own", items.to_vec(), names(2)).unwrap();
        assert_eq!(dataset.split(Split::Train), [1, 3]);
        assert_eq!(dataset.split(Split::Test), [0, 2]);
        assert_eq!(dataset.split(Split::Validation), [4]);
        assert_eq!(dataset.part(Part::Validation), [4]);
        assert_eq!(dataset.labels(&[3, 0, 1]), [1, 1, 0]);
    }

    #[test]
    fn items_that_make_no_data_set_are_refused() {
        let message = Dataset::from_items("own", vec![], names(1))
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("own") && message.contains("no items"),
            "{message}"
        );
        let items = vec![item(2, Split::Train)];
        let message = Dataset::from_items("own", items, names(2))
            .unwrap_err()
            .to_string();
        assert!(
            message.contains("of 2") && message.contains("2 classes"),
            "{message}"
        );
    }

    #[test]
    fn an_unknown_item_is_an_error() {
        let dataset = Dataset::from_items("own", vec![item(0, Split::Train)], names(1)).unwrap();
        assert!(dataset.read(0).is_ok());
        let message = dataset.read(1).unwrap_err().to_string();
        assert!(message.contains("no item 1"), "{message}");
    }

    #[test]
    fn super_classes_need_names() {
        let mut with = item(0, Split::Train);
        with.super_class = Some(1);
        let dataset = Dataset::from_items("own", vec![with], names(1)).unwrap();
        assert!(dataset.clone().with_super_class_names(names(1)).is_err());
        assert_eq!(
            dataset
                .with_super_class_names(names(2))
                .unwrap()
                .super_class_names()
                .len(),
            2
        );
    }
}
