//! Class-balanced batches: `batch_size / samples_per_class` classes with `samples_per_class` images
//! each, no image twice in an epoch, no class twice in a batch, and as many batches as that allows.
//! [`epoch`] tells how they are drawn.
//!
//! # Small classes
//!
//! [`SmallClasses::TakeAll`] takes classes of 2 to `K − 1` images whole, `K` being
//! `samples_per_class`. Several of them that fit into `K` places together stand as one group in the
//! scheme of [`epoch`] (largest first, each into the fullest place that takes it), so batches
//! stay near `batch_size` and never exceed it. With [`SmallClasses::TakeSingletons`] classes of one image,
//! `K` to a place, make `P / 2` units in the scheme, `P` being the places of a batch: a unit is
//! once in a batch, so at least half of the places have items that find others. [`SmallClasses::Repeat`] fills the `K` places of a class
//! with its own images again.
//!
//! # Super-classes
//!
//! Within a super-class things are harder to tell apart. With `super_classes_per_batch = S` a batch has
//! its `P` classes from `S` super-classes, `P / S` from each. The same scheme is used twice: within each
//! super-class it draws portions of `P / S` groups, then batches of `S` portions from different
//! super-classes.

mod epoch;
mod family;
mod shuffled;
mod whole;

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::loader::BatchRequest;
use crate::random::{Key, Purpose};
use crate::{DataError, Dataset, ItemId};
use epoch::{draw, longest_epoch};
use family::Family;

/// What happens to classes with fewer images than a batch takes of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum SmallClasses {
    /// They are never drawn. Every batch has exactly `batch_size` items.
    #[default]
    LeaveOut,
    /// Those of at least two images are taken whole. Batches have at most `batch_size` items. A
    /// class of one image stays out: it has no pair.
    TakeAll,
    /// As `TakeAll`, and classes of one image as well: each is something that no query looks for. They fill
    /// places of their own, at most half of a batch's.
    TakeSingletons,
    /// Those of at least two images are filled up with their own images again, each time augmented
    /// anew. Every batch has exactly `batch_size` items, and copies are positives of one another. A
    /// class of one image stays out.
    Repeat,
}

/// Settings of a [`BatchSampler`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchSamplerConfig {
    /// Items in a batch, a multiple of `samples_per_class` and at least twice as many.
    pub batch_size: usize,
    /// Items of each class in a batch, at least 2.
    pub samples_per_class: usize,
    /// What happens to classes with fewer images. Default: left out.
    #[serde(default)]
    pub small_classes: SmallClasses,
    /// Take the classes of a batch from this many super-classes, as many from each. `None` takes
    /// them from all. Default: `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub super_classes_per_batch: Option<usize>,
    /// Seed of the order. Default: 0.
    #[serde(default)]
    pub seed: u64,
}

/// The paper's batch for its large data sets: 4,000 items, 4 of each class.
impl Default for BatchSamplerConfig {
    fn default() -> Self {
        Self::new(4_000, 4)
    }
}

/// How batches are formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Sampling {
    /// As many images of each of some classes ([`BatchSamplerConfig::init`]).
    #[default]
    ClassBalanced,
    /// Any images, in a shuffled order ([`BatchSampler::shuffled`]).
    Shuffled,
}

/// How many classes something is true of, and how many images they have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ClassCount {
    /// The classes.
    pub classes: usize,
    /// The images of those classes.
    pub images: usize,
}

impl ClassCount {
    fn add(&mut self, class: &[ItemId]) {
        self.classes += 1;
        self.images += class.len();
    }
}

impl BatchSamplerConfig {
    /// Batches of `batch_size` items, `samples_per_class` of each class, whatever their
    /// super-classes; smaller classes are left out, the seed is 0.
    pub fn new(batch_size: usize, samples_per_class: usize) -> Self {
        Self {
            batch_size,
            samples_per_class,
            small_classes: SmallClasses::default(),
            super_classes_per_batch: None,
            seed: 0,
        }
    }

    /// The sampler over some items of a data set.
    ///
    /// # Errors
    ///
    /// Those of [`init`](Self::init); an item or a class without super-class or with several of them,
    /// where batches go by super-classes.
    ///
    /// # Panics
    ///
    /// If an id is not of the data set, as with indexing [`Dataset::items`].
    pub fn init_for(self, dataset: &Dataset, ids: &[ItemId]) -> Result<BatchSampler, DataError> {
        let labels = dataset.labels(ids);
        self.build(ids, &labels, &self.super_classes(dataset, ids, &labels)?)
    }

    /// Images in the largest batch that some items of a data set give, whatever `batch_size` is: one
    /// with all classes that can be drawn; none if these are fewer than two.
    ///
    /// # Errors
    ///
    /// An item or a class without super-class or with several of them, where batches go by
    /// super-classes.
    ///
    /// # Panics
    ///
    /// If an id is not of the data set, as with indexing [`Dataset::items`].
    pub fn largest_batch(
        &self,
        dataset: &Dataset,
        ids: &[ItemId],
    ) -> Result<Option<usize>, DataError> {
        if self.samples_per_class == 0 {
            return Ok(None);
        }
        let labels = dataset.labels(ids);
        let super_classes = self.super_classes(dataset, ids, &labels)?;
        let sorted = self.sort(ids, &labels, &super_classes);
        Ok(self.largest(&sorted.families))
    }

    /// The most images, up to `images`, with which a batch has whole classes and, where batches go by
    /// super-classes, as many from each; at least two classes.
    pub fn cut_to(&self, images: usize) -> usize {
        let step = self.samples_per_class * self.portions_in_batch().max(1);
        let least = (self.least_places() * self.samples_per_class).next_multiple_of(step.max(1));
        (images / step.max(1) * step).max(least)
    }

    /// Places of the smallest batch: two classes, or two from each super-class where one of them can be
    /// filled with singletons.
    fn least_places(&self) -> usize {
        match (self.small_classes, self.super_classes_per_batch) {
            (SmallClasses::TakeSingletons, Some(count)) => 2 * count.max(1),
            _ => 2,
        }
    }

    /// The super-class of each class, where batches go by them.
    fn super_classes(
        &self,
        dataset: &Dataset,
        ids: &[ItemId],
        labels: &[u32],
    ) -> Result<HashMap<u32, u32>, DataError> {
        let mut super_classes = HashMap::new();
        if self.super_classes_per_batch.is_none() {
            return Ok(super_classes);
        }
        for (&id, &label) in ids.iter().zip(labels) {
            let item = &dataset.items()[id];
            let class = &dataset.class_names()[label as usize];
            let Some(of) = item.super_class else {
                return refuse(format!(
                    "batches are to go by super-classes, but {} has no super-class",
                    item.name
                ));
            };
            if *super_classes.entry(label).or_insert(of) != of {
                return refuse(format!(
                    "batches are to go by super-classes, but the class {class} is in several"
                ));
            }
        }
        Ok(super_classes)
    }

    /// The sampler over `ids`, where `labels[i]` is the class of `ids[i]`.
    ///
    /// # Errors
    ///
    /// `samples_per_class` below 2, `batch_size` not a multiple of it or of fewer than two classes,
    /// ids and labels of different lengths, an id that comes twice, too few classes for even one batch, or
    /// `super_classes_per_batch`, which [`init_for`](Self::init_for) needs to be called for.
    pub fn init(self, ids: &[ItemId], labels: &[u32]) -> Result<BatchSampler, DataError> {
        if self.super_classes_per_batch.is_some() {
            return refuse(
                "super_classes_per_batch is set, but labels alone tell no super-classes; use \
                 init_for"
                    .to_owned(),
            );
        }
        self.build(ids, labels, &HashMap::new())
    }

    fn build(
        self,
        ids: &[ItemId],
        labels: &[u32],
        super_classes: &HashMap<u32, u32>,
    ) -> Result<BatchSampler, DataError> {
        self.validate()?;
        if ids.len() != labels.len() {
            return refuse(format!(
                "there are {} ids but {} labels",
                ids.len(),
                labels.len()
            ));
        }
        let mut seen = HashSet::with_capacity(ids.len());
        if let Some(twice) = ids.iter().find(|id| !seen.insert(**id)) {
            return refuse(format!("the item {twice} is given twice"));
        }

        let sorted = self.sort(ids, labels, super_classes);
        let mut sampler = BatchSampler {
            config: self,
            plain: None,
            families: sorted.families,
            left_out: sorted.left_out,
            small: sorted.small,
            steps: 0,
        };
        for family in &mut sampler.families {
            // Largest first, for packing. The sort is stable, so the order stays that of the labels.
            family
                .small
                .sort_by_key(|class| std::cmp::Reverse(class.len()));
            family.portions = longest_epoch(&family.groups(&self), self.places_in_portion());
            if family.portions == 0 && self.super_classes_per_batch.is_some() {
                family.all().for_each(|class| sampler.left_out.add(class));
            }
        }
        let portions: Vec<usize> = sampler.families.iter().map(|of| of.portions).collect();
        sampler.steps = longest_epoch(&portions, self.portions_in_batch());
        match sampler.steps {
            0 => Err(DataError::TooFewClasses {
                problem: sampler.why_no_batch(sorted.classes),
                largest: self.largest(&sampler.families),
            }),
            _ => Ok(sampler),
        }
    }

    /// What can be drawn and what cannot, whatever the size of a batch.
    fn sort(&self, ids: &[ItemId], labels: &[u32], super_classes: &HashMap<u32, u32>) -> Sorted {
        let mut by_class: BTreeMap<u32, Vec<ItemId>> = BTreeMap::new();
        for (&id, &label) in ids.iter().zip(labels) {
            by_class.entry(label).or_default().push(id);
        }
        let classes = by_class.len();
        let (mut left_out, mut small) = (ClassCount::default(), ClassCount::default());
        let mut families: BTreeMap<u32, Family> = BTreeMap::new();
        for (label, mut class) in by_class {
            // The order in which the ids were given does not matter.
            class.sort_unstable();
            let family = || super_classes.get(&label).copied().unwrap_or_default();
            if class.len() >= self.samples_per_class {
                families.entry(family()).or_default().large.push(class);
            } else if self.small_classes != SmallClasses::LeaveOut && class.len() >= 2 {
                small.add(&class);
                families.entry(family()).or_default().small.push(class);
            } else if self.small_classes == SmallClasses::TakeSingletons {
                small.add(&class);
                families.entry(family()).or_default().singletons.push(class);
            } else {
                left_out.add(&class);
            }
        }
        Sorted {
            families: families.into_values().collect(),
            left_out,
            small,
            classes,
        }
    }

    /// Images in the largest batch: of the super-classes with the most classes, as many from each as the
    /// smallest of them has.
    fn largest(&self, families: &[Family]) -> Option<usize> {
        let count = self.portions_in_batch();
        let mut classes: Vec<usize> = families.iter().map(|of| of.most_places(self)).collect();
        classes.sort_unstable_by(|a, b| b.cmp(a));
        let places = count * classes.get(count.checked_sub(1)?)?;
        (places >= self.least_places()).then(|| places * self.samples_per_class)
    }

    /// Checks the fields, as far as that goes without the items.
    ///
    /// # Errors
    ///
    /// The first field that is out of its range or does not go with the others.
    pub fn validate(&self) -> Result<(), DataError> {
        let Self {
            batch_size,
            samples_per_class,
            ..
        } = *self;
        if samples_per_class < 2 {
            return refuse(format!(
                "samples_per_class is {samples_per_class}, but an item finds another one of its \
                 class only from 2 on"
            ));
        }
        if !batch_size.is_multiple_of(samples_per_class) {
            return refuse(format!(
                "batch_size {batch_size} is not a multiple of samples_per_class \
                 {samples_per_class}; {} is",
                (batch_size / samples_per_class).max(2) * samples_per_class
            ));
        }
        let places = batch_size / samples_per_class;
        if places < 2 {
            return refuse(format!(
                "batch_size {batch_size} has room for fewer than two classes of {samples_per_class} \
                 items; use at least {}",
                samples_per_class.saturating_mul(2)
            ));
        }
        match self.super_classes_per_batch {
            Some(count) if count == 0 || !places.is_multiple_of(count) => refuse(format!(
                "super_classes_per_batch is {count}, but the {places} classes of a batch have to be \
                 the same number from each super-class"
            )),
            Some(count)
                if count == places && self.small_classes == SmallClasses::TakeSingletons =>
            {
                refuse(format!(
                    "super_classes_per_batch is {count}, which leaves one place to each super-class, but \
                     take-singletons needs a second one; use at most {}",
                    places / 2
                ))
            }
            _ => Ok(()),
        }
    }

    fn portions_in_batch(&self) -> usize {
        self.super_classes_per_batch.unwrap_or(1)
    }

    fn places_in_portion(&self) -> usize {
        self.batch_size / self.samples_per_class / self.portions_in_batch()
    }
}

fn refuse<T>(problem: String) -> Result<T, DataError> {
    Err(DataError::Sampler { problem })
}

/// Classes as they can be drawn.
struct Sorted {
    families: Vec<Family>,
    left_out: ClassCount,
    small: ClassCount,
    /// All there are.
    classes: usize,
}

/// Draws the batches of an epoch: class-balanced, no image twice in an epoch, no class twice in a
/// batch, and as many batches as that allows.
///
/// The images of a class are shuffled and cut into groups of `samples_per_class`; a batch takes groups
/// of different classes, at random but such that the most batches come about. A class with many
/// images is in several batches of an epoch, each time with other images. Images that fill no group, and
/// groups that fill no batch, rest until the next epoch, which draws anew.
///
/// With [`SmallClasses::Repeat`] the images of a small class come several times, in one batch.
#[derive(Debug, Clone)]
pub struct BatchSampler {
    config: BatchSamplerConfig,
    /// How batches are formed where classes have no say in it.
    plain: Option<Plain>,
    families: Vec<Family>,
    left_out: ClassCount,
    small: ClassCount,
    steps: usize,
}

/// Batches whatever the classes.
#[derive(Debug, Clone)]
enum Plain {
    /// All items are one batch.
    Whole(Vec<ItemId>),
    /// Batches of items in a shuffled order.
    Shuffled(Vec<ItemId>),
}

impl BatchSampler {
    /// What is never drawn: classes with too few images, and those of a super-class with too few
    /// classes, where batches go by super-classes.
    pub fn left_out(&self) -> ClassCount {
        self.left_out
    }

    /// Classes with fewer than `samples_per_class` images that are drawn all the same, as
    /// [`SmallClasses`] says.
    pub fn small(&self) -> ClassCount {
        self.small
    }

    /// Number of batches of an epoch, at least 1. It is the same for each epoch.
    pub fn steps_per_epoch(&self) -> usize {
        self.steps
    }

    /// The settings it was made with.
    pub fn config(&self) -> &BatchSamplerConfig {
        &self.config
    }

    /// The batches of an epoch, a pure function of the seed, the epoch and the items. The items
    /// of a class stand together.
    pub fn epoch(&self, epoch: u64) -> Vec<Vec<ItemId>> {
        match &self.plain {
            Some(Plain::Whole(all)) => return vec![all.clone()],
            Some(Plain::Shuffled(all)) => return shuffled::epoch(all, &self.config, epoch),
            None => {}
        }
        let key = Key {
            seed: self.config.seed,
            epoch,
            ..Key::default()
        };
        let mut rng = key.generator(Purpose::BATCHES);
        let mut portions: Vec<Vec<Vec<ItemId>>> = self
            .families
            .iter()
            .map(|family| {
                let mut groups = family.units(&self.config, &mut rng);
                let places = self.config.places_in_portion();
                draw(&mut groups, places, family.portions, &mut rng)
            })
            .collect();
        match (self.config.super_classes_per_batch, portions.len()) {
            // There is nothing left to choose.
            (None, 1) => portions.swap_remove(0),
            _ => draw(
                &mut portions,
                self.config.portions_in_batch(),
                self.steps,
                &mut rng,
            ),
        }
    }

    /// The requests for a [`Loader`](crate::Loader) that make up an epoch.
    pub fn requests(&self, epoch: u64) -> impl Iterator<Item = BatchRequest> + Send + use<> {
        let batches = self.epoch(epoch).into_iter();
        (0..)
            .zip(batches)
            .map(move |(step, ids)| BatchRequest { epoch, step, ids })
    }

    fn why_no_batch(&self, classes: usize) -> String {
        let BatchSamplerConfig {
            batch_size,
            samples_per_class,
            super_classes_per_batch,
            ..
        } = self.config;
        let places = self.config.places_in_portion();
        let enough = self.families.iter().filter(|of| of.portions > 0).count();
        if let Some(count) = super_classes_per_batch {
            return format!(
                "a batch of {batch_size} images, {samples_per_class} of each class, from {count} \
                 super-classes needs {places} classes from each, but {enough} super-classes have \
                 so many with enough images"
            );
        }
        let family = self.families.first().cloned().unwrap_or_default();
        let usable = family.large.len() + family.small.len();
        let filled = family.groups_with_pairs(&self.config).count();
        let packed = match filled < usable {
            true => format!(" (they fill {filled} places)"),
            false => String::new(),
        };
        format!(
            "a batch of {batch_size} images, {samples_per_class} of each class, needs {places} classes, \
             but {usable} of the {classes} classes have enough images{packed}"
        )
    }
}

#[cfg(test)]
mod tests;
