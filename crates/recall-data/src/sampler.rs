//! Class-balanced batches: `batch_size / samples_per_class` classes with `samples_per_class` images
//! each, no image twice in an epoch, no class twice in a batch, and as many batches as that allows.
//!
//! # How an epoch is drawn
//!
//! The images of a class are shuffled and cut into groups of `K = samples_per_class`; what is left
//! over rests for this epoch. A batch takes `P = batch_size / K` groups of different classes. With
//! `T` batches, a class of `g` groups can be in `min(g, T)` of them, so `T` batches can exist only if
//! `Σ min(g, T) ≥ T·P`. That is also enough, as the drawing below shows, so the largest such `T` is the
//! length of the epoch: it depends on the class sizes alone.
//!
//! 1. Of the `Σ min(g, T)` groups, `T·P` are used. Groups are dropped at random, the last group of
//!    a class only when no class has another one: every class is seen if there is room for it.
//! 2. The batches are drawn one after another. With `R` batches to go, a class of `R` groups must be in
//!    this one; no other class has to. The other places go to classes at random, with a probability
//!    in proportion to the groups they have left.
//!
//! Step 2 never fails. Before each batch the groups left are exactly `R·P` and no class has more than
//! `R`. So at most `P` classes must be in the batch, and at least `P` classes have groups at all; after
//! the batch `(R − 1)·P` groups are left and no class has more than `R − 1`. Drawing in proportion keeps
//! large and small classes spread over the whole epoch, where taking the largest first would put
//! the large classes at its start, and cutting one shuffled list would end it early.
//!
//! # Small classes
//!
//! [`SmallClasses::TakeAll`] takes classes of 2 to `K − 1` images whole. Several of them that fit
//! into `K` places together stand as one group in the scheme above (largest first, each into
//! the fullest place that takes it), so batches stay near `batch_size` and never exceed it.

use std::collections::{BTreeMap, HashSet};

use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::loader::BatchRequest;
use crate::random::{Key, Purpose};
use crate::{DataError, ItemId};

/// What becomes of classes with fewer images than a batch takes of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SmallClasses {
    /// They are never drawn. Every batch has exactly `batch_size` items.
    #[default]
    LeaveOut,
    /// Those of at least two images are taken whole. Batches have at most `batch_size` items. A
    /// class of one image stays out: it has no pair.
    TakeAll,
}

/// Settings of a [`BatchSampler`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchSamplerConfig {
    /// Items in a batch, a multiple of `samples_per_class` and at least twice as many.
    pub batch_size: usize,
    /// Items of each class in a batch, at least 2.
    pub samples_per_class: usize,
    /// What becomes of classes with fewer images. Default: left out.
    #[serde(default)]
    pub small_classes: SmallClasses,
    /// Seed of the order. Default: 0.
    #[serde(default)]
    pub seed: u64,
}

/// What a sampler can never draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LeftOut {
    /// Classes with too few images.
    pub classes: usize,
    /// The images of those classes.
    pub images: usize,
}

impl BatchSamplerConfig {
    /// Batches of `batch_size` items, `samples_per_class` of each class; smaller classes are left
    /// out, the seed is 0.
    pub fn new(batch_size: usize, samples_per_class: usize) -> Self {
        Self {
            batch_size,
            samples_per_class,
            small_classes: SmallClasses::default(),
            seed: 0,
        }
    }

    /// The sampler over `ids`, where `labels[i]` is the class of `ids[i]`.
    ///
    /// # Errors
    ///
    /// `samples_per_class` below 2, `batch_size` not a multiple of it or of fewer than two classes,
    /// ids and labels of different lengths, an id that comes twice, or too few classes for even one batch.
    pub fn init(self, ids: &[ItemId], labels: &[u32]) -> Result<BatchSampler, DataError> {
        let Self {
            batch_size,
            samples_per_class,
            small_classes,
            ..
        } = self;
        let refuse = |problem: String| Err(DataError::Sampler { problem });
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
        if batch_size / samples_per_class < 2 {
            return refuse(format!(
                "batch_size {batch_size} has room for fewer than two classes of {samples_per_class} \
                 items; use at least {}",
                samples_per_class.saturating_mul(2)
            ));
        }
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

        let mut by_class: BTreeMap<u32, Vec<ItemId>> = BTreeMap::new();
        for (&id, &label) in ids.iter().zip(labels) {
            by_class.entry(label).or_default().push(id);
        }
        let mut sampler = BatchSampler {
            config: self,
            large: Vec::new(),
            small: Vec::new(),
            left_out: LeftOut::default(),
            steps: 0,
        };
        let classes = by_class.len();
        for mut class in by_class.into_values() {
            // The order in which the ids were given does not matter.
            class.sort_unstable();
            if class.len() >= samples_per_class {
                sampler.large.push(class);
            } else if small_classes == SmallClasses::TakeAll && class.len() >= 2 {
                sampler.small.push(class);
            } else {
                sampler.left_out.classes += 1;
                sampler.left_out.images += class.len();
            }
        }
        // Largest first, for packing. The sort is stable, so the order stays that of the labels.
        sampler
            .small
            .sort_by_key(|class| std::cmp::Reverse(class.len()));

        let packed = sampler
            .pack(&(0..sampler.small.len()).collect::<Vec<_>>())
            .len();
        let mut groups: Vec<usize> = vec![1; packed];
        groups.extend(
            sampler
                .large
                .iter()
                .map(|class| class.len() / samples_per_class),
        );
        let places = batch_size / samples_per_class;
        sampler.steps = longest_epoch(&groups, places);
        if sampler.steps == 0 {
            let usable = sampler.large.len() + sampler.small.len();
            let hint = match small_classes {
                SmallClasses::LeaveOut => "; a smaller batch_size or samples_per_class would do",
                SmallClasses::TakeAll => "; a smaller batch_size would do",
            };
            return refuse(format!(
                "batch_size {batch_size} with {samples_per_class} of each class needs {places} \
                 classes, but {usable} of the {classes} classes have enough images{}{hint}",
                match packed == sampler.small.len() {
                    true => String::new(),
                    false => format!(" (they fill {} places)", groups.len()),
                }
            ));
        }
        Ok(sampler)
    }
}

/// The most batches of `places` groups of different classes that `groups` (a number for each class)
/// can fill.
fn longest_epoch(groups: &[usize], places: usize) -> usize {
    let enough = |steps: usize| {
        let usable: usize = groups.iter().map(|&count| count.min(steps)).sum();
        usable >= steps.saturating_mul(places)
    };
    // Σ min(g, T) − T·P is concave in T and 0 at T = 0: what is enough for T is enough below T.
    let (mut low, mut high) = (0, groups.iter().sum::<usize>() / places);
    while low < high {
        let middle = high - (high - low) / 2;
        if enough(middle) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}

/// Draws the batches of an epoch: class-balanced, no image twice in an epoch, no class twice in a
/// batch, and as many batches as that allows.
///
/// The images of a class are shuffled and cut into groups of `samples_per_class`; a batch takes groups
/// of different classes, at random but such that the most batches come about. A class with many
/// images is in several batches of an epoch, each time with other images. Images that fill no group, and
/// groups that fill no batch, rest until the next epoch, which draws anew.
#[derive(Debug, Clone)]
pub struct BatchSampler {
    config: BatchSamplerConfig,
    /// Classes of at least `samples_per_class` images, by label.
    large: Vec<Vec<ItemId>>,
    /// Smaller classes that are taken whole, largest first.
    small: Vec<Vec<ItemId>>,
    left_out: LeftOut,
    steps: usize,
}

impl BatchSampler {
    /// What is never drawn: classes with too few images.
    pub fn left_out(&self) -> LeftOut {
        self.left_out
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
        let key = Key {
            seed: self.config.seed,
            epoch,
            ..Key::default()
        };
        let mut rng = key.generator(Purpose::Batches);

        // For each class, or for several small ones that stand for one, the groups of this epoch.
        let mut units = self.units(&mut rng);
        self.drop_surplus(&mut units, &mut rng);
        (0..self.steps)
            .rev()
            .map(|later| self.draw_batch(&mut units, later, &mut rng))
            .collect()
    }

    /// The requests for a [`Loader`](crate::Loader) that make up an epoch.
    pub fn requests(&self, epoch: u64) -> impl Iterator<Item = BatchRequest> + Send + use<> {
        let batches = self.epoch(epoch).into_iter();
        (0..)
            .zip(batches)
            .map(move |(step, ids)| BatchRequest { epoch, step, ids })
    }

    fn units(&self, rng: &mut ChaCha8Rng) -> Vec<Vec<Vec<ItemId>>> {
        let mut units = Vec::with_capacity(self.large.len() + self.small.len());
        for class in &self.large {
            let mut images = class.clone();
            images.shuffle(rng);
            let groups = images.chunks_exact(self.config.samples_per_class);
            units.push(groups.map(<[ItemId]>::to_vec).collect());
        }

        // Within a size the order is random, so small classes meet others in each epoch.
        let mut order: Vec<usize> = (0..self.small.len()).collect();
        order.shuffle(rng);
        order.sort_by_key(|&class| std::cmp::Reverse(self.small[class].len()));
        for packed in self.pack(&order) {
            let mut images = Vec::with_capacity(self.config.samples_per_class);
            packed
                .into_iter()
                .for_each(|class| images.extend(&self.small[class]));
            units.push(vec![images]);
        }
        units
    }

    /// Packs small classes, given in the order of falling size, into groups of at most
    /// `samples_per_class` images: each into the fullest group that has room. How many groups come
    /// about depends on the sizes alone.
    fn pack(&self, order: &[usize]) -> Vec<Vec<usize>> {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        // Groups by the room that they have left.
        let mut with_room: Vec<Vec<usize>> = vec![Vec::new(); self.config.samples_per_class];
        for &class in order {
            let size = self.small[class].len();
            let found = (size..with_room.len())
                .find_map(|room| with_room[room].pop().map(|group| (room, group)));
            let (room, group) = found.unwrap_or_else(|| {
                groups.push(Vec::new());
                (self.config.samples_per_class, groups.len() - 1)
            });
            groups[group].push(class);
            with_room[room - size].push(group);
        }
        groups
    }

    /// Leaves as many groups as the epoch's batches have places, and of no unit more than batches.
    fn drop_surplus(&self, units: &mut [Vec<Vec<ItemId>>], rng: &mut ChaCha8Rng) {
        let places = self.config.batch_size / self.config.samples_per_class;
        let mut used: Vec<usize> = units
            .iter()
            .map(|unit| unit.len().min(self.steps))
            .collect();
        let mut surplus = used.iter().sum::<usize>() - self.steps * places;

        // First what goes beyond a unit's first group, then first groups.
        let mut beyond: Vec<usize> = Vec::new();
        for (unit, &count) in used.iter().enumerate() {
            beyond.extend(std::iter::repeat_n(unit, count.saturating_sub(1)));
        }
        let mut firsts: Vec<usize> = (0..units.len()).collect();
        for droppable in [&mut beyond, &mut firsts] {
            let count = surplus.min(droppable.len());
            let (dropped, _) = droppable.partial_shuffle(rng, count);
            dropped.iter().for_each(|&unit| used[unit] -= 1);
            surplus -= count;
        }
        units
            .iter_mut()
            .zip(used)
            .for_each(|(unit, count)| unit.truncate(count));
    }

    /// Draws a batch, with `later` batches to come after it.
    fn draw_batch(
        &self,
        units: &mut [Vec<Vec<ItemId>>],
        later: usize,
        rng: &mut ChaCha8Rng,
    ) -> Vec<ItemId> {
        let places = self.config.batch_size / self.config.samples_per_class;
        // The smallest of waiting times with rates w are a draw without replacement in proportion
        // to w. Who must be in does not wait.
        let mut waiting: Vec<(f64, usize)> = units
            .iter()
            .enumerate()
            .filter(|(_, groups)| !groups.is_empty())
            .map(|(unit, groups)| {
                let uniform: f64 = rng.random();
                let time = -(1.0 - uniform).ln() / groups.len() as f64;
                (if groups.len() > later { -1.0 } else { time }, unit)
            })
            .collect();
        if places < waiting.len() {
            waiting.select_nth_unstable_by(places, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            waiting.truncate(places);
        }
        waiting.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));

        let mut batch = Vec::with_capacity(self.config.batch_size);
        for (_, unit) in waiting {
            batch.extend(units[unit].pop().into_iter().flatten());
        }
        batch
    }
}

#[cfg(test)]
mod tests;
