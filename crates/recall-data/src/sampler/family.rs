//! Classes that are drawn from together, and what an epoch makes of them.

use std::iter::repeat_n;

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::{BatchSamplerConfig, SmallClasses};
use crate::ItemId;

/// The classes of a super-class, or all of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Family {
    /// Classes of at least `samples_per_class` images, by label.
    pub(super) large: Vec<Vec<ItemId>>,
    /// Smaller classes that are drawn all the same, largest first.
    pub(super) small: Vec<Vec<ItemId>>,
    /// Classes of one image, where these are drawn.
    pub(super) singletons: Vec<Vec<ItemId>>,
    /// How many portions of a batch they make in an epoch.
    pub(super) portions: usize,
}

impl Family {
    /// Every class.
    pub(super) fn all(&self) -> impl Iterator<Item = &Vec<ItemId>> {
        self.large.iter().chain(&self.small).chain(&self.singletons)
    }

    /// How many groups each unit has: a large class, what stands for small ones, or a share of the classes
    /// of one image.
    pub(super) fn groups(&self, config: &BatchSamplerConfig) -> Vec<usize> {
        let groups = self.groups_of_singletons(config);
        let units = self.units_of_singletons(config);
        self.groups_with_pairs(config)
            .chain((0..units).map(|unit| (groups - unit).div_ceil(units)))
            .collect()
    }

    /// The same without the classes of one image.
    pub(super) fn groups_with_pairs(
        &self,
        config: &BatchSamplerConfig,
    ) -> impl Iterator<Item = usize> {
        let small = match config.small_classes {
            SmallClasses::TakeAll | SmallClasses::TakeSingletons => {
                let order: Vec<usize> = (0..self.small.len()).collect();
                self.pack(&order, config.samples_per_class).len()
            }
            SmallClasses::LeaveOut | SmallClasses::Repeat => self.small.len(),
        };
        let each = config.samples_per_class;
        repeat_n(1, small).chain(self.large.iter().map(move |class| class.len() / each))
    }

    /// The most places of a portion that can be filled, whatever the size of a batch.
    pub(super) fn most_places(&self, config: &BatchSamplerConfig) -> usize {
        let with_pairs = self.groups_with_pairs(config).count();
        with_pairs + self.groups_of_singletons(config).min(with_pairs)
    }

    fn groups_of_singletons(&self, config: &BatchSamplerConfig) -> usize {
        self.singletons.len().div_ceil(config.samples_per_class)
    }

    /// What the groups of classes of one image are dealt to: half as many units as a portion has places, so that
    /// the other half finds something.
    fn units_of_singletons(&self, config: &BatchSamplerConfig) -> usize {
        let groups = self.groups_of_singletons(config);
        groups.min(config.places_in_portion() / 2)
    }

    /// For each class, or for several small ones that stand for one, the groups of this epoch.
    pub(super) fn units(
        &self,
        config: &BatchSamplerConfig,
        rng: &mut ChaCha8Rng,
    ) -> Vec<Vec<Vec<ItemId>>> {
        let each = config.samples_per_class;
        let mut units = Vec::with_capacity(self.large.len() + self.small.len());
        for class in &self.large {
            let mut images = class.clone();
            images.shuffle(rng);
            let groups = images.chunks_exact(each);
            units.push(groups.map(<[ItemId]>::to_vec).collect());
        }
        if config.small_classes == SmallClasses::Repeat {
            for class in &self.small {
                let mut images = class.clone();
                images.shuffle(rng);
                units.push(vec![images.into_iter().cycle().take(each).collect()]);
            }
            return units;
        }

        // Within a size the order is random, so small classes meet others in each epoch.
        let mut order: Vec<usize> = (0..self.small.len()).collect();
        order.shuffle(rng);
        order.sort_by_key(|&class| std::cmp::Reverse(self.small[class].len()));
        for packed in self.pack(&order, each) {
            let mut images = Vec::with_capacity(each);
            packed
                .into_iter()
                .for_each(|class| images.extend(&self.small[class]));
            units.push(vec![images]);
        }

        let mut images = self.singletons.concat();
        images.shuffle(rng);
        let mut dealt = vec![Vec::new(); self.units_of_singletons(config)];
        let turns = dealt.len().max(1);
        for (group, images) in images.chunks(each).enumerate() {
            if let Some(unit) = dealt.get_mut(group % turns) {
                unit.push(images.to_vec());
            }
        }
        units.append(&mut dealt);
        units
    }

    /// Packs small classes, given in the order of falling size, into groups of at most
    /// `each` images: each into the fullest group that has room. How many groups come about depends
    /// on the sizes alone.
    fn pack(&self, order: &[usize], each: usize) -> Vec<Vec<usize>> {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        // Groups by the room that they have left.
        let mut with_room: Vec<Vec<usize>> = vec![Vec::new(); each];
        for &class in order {
            let size = self.small[class].len();
            let found = (size..with_room.len())
                .find_map(|room| with_room[room].pop().map(|group| (room, group)));
            let (room, group) = found.unwrap_or_else(|| {
                groups.push(Vec::new());
                (each, groups.len() - 1)
            });
            groups[group].push(class);
            with_room[room - size].push(group);
        }
        groups
    }
}
