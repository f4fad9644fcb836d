use std::collections::{BTreeMap, BTreeSet};

use crate::readers::name_hash;
use crate::{Dataset, ItemId};

/// Items in two parts that share no class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldOut {
    /// What is left.
    pub kept: Vec<ItemId>,
    /// The items of the classes that are held out. Empty if these would be fewer than two, or if none
    /// of them had two items: nothing could be retrieved.
    pub held_out: Vec<ItemId>,
}

/// Holds whole classes out of `ids`: of all classes in it the share `share`, rounded.
///
/// Which ones depends on their names alone, as in
/// [`split_classes_in_half`](crate::split_classes_in_half), so runs with different seeds hold out the
/// same classes and can be compared. The order of the items stays.
///
/// ```
/// use recall_data::{DataSpec, Split, hold_out_classes};
///
/// let emoji = DataSpec::Emoji.open()?;
/// let train = emoji.split(Split::Train);
/// let parts = hold_out_classes(&emoji, train, 0.1);
/// assert_eq!(parts.kept.len() + parts.held_out.len(), train.len());
/// let mut classes = emoji.labels(&parts.held_out);
/// classes.dedup();
/// assert_eq!(classes.len(), 80);
/// # Ok::<(), recall_data::DataError>(())
/// ```
pub fn hold_out_classes(dataset: &Dataset, ids: &[ItemId], share: f64) -> HeldOut {
    let class_of = |id: ItemId| dataset.items()[id].class;
    let mut sizes: BTreeMap<u32, usize> = BTreeMap::new();
    for &id in ids {
        *sizes.entry(class_of(id)).or_default() += 1;
    }
    let mut order: Vec<u32> = sizes.keys().copied().collect();
    order.sort_by_cached_key(|&class| {
        let name = &dataset.class_names()[class as usize];
        (name_hash(name), name.as_str())
    });
    let count = (share * order.len() as f64).round() as usize;
    let last = order.len().saturating_sub(count);
    let chosen: BTreeSet<u32> = order[last..].iter().copied().collect();
    if chosen.len() < 2 || chosen.iter().all(|class| sizes[class] < 2) {
        return HeldOut {
            kept: ids.to_vec(),
            held_out: Vec::new(),
        };
    }
    let (held_out, kept) = ids.iter().partition(|&&id| chosen.contains(&class_of(id)));
    HeldOut { kept, held_out }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ImageSource, Item, Split};

    /// `classes` classes of `size` images.
    fn dataset(classes: u32, size: usize) -> Dataset {
        let items = (0..classes).flat_map(|class| {
            (0..size).map(move |image| {
                let name = format!("{class}/{image}");
                Item::new(name, ImageSource::Embedded(b""), class, Split::Train)
            })
        });
        let names = (0..classes).map(|class| format!("class {class}")).collect();
        Dataset::from_items("x", items.collect(), names).unwrap()
    }

    #[test]
    fn whole_classes_and_as_many_as_asked_for() {
        let dataset = dataset(20, 3);
        let ids: Vec<ItemId> = (0..60).collect();
        for (share, classes) in [(0.1, 2), (0.13, 3), (0.5, 10)] {
            let parts = hold_out_classes(&dataset, &ids, share);
            assert_eq!(parts.held_out.len(), 3 * classes);
            assert_eq!(parts.kept.len(), 60 - 3 * classes);
            let kept: BTreeSet<u32> = dataset.labels(&parts.kept).into_iter().collect();
            let held = dataset.labels(&parts.held_out);
            assert!(held.iter().all(|class| !kept.contains(class)));
        }
        // A greater share holds out what a smaller one does, and more.
        let [few, more] = [0.1, 0.5].map(|share| hold_out_classes(&dataset, &ids, share).held_out);
        assert!(few.iter().all(|id| more.contains(id)));
    }

    #[test]
    fn nothing_where_nothing_could_be_retrieved() {
        let ids: Vec<ItemId> = (0..20).collect();
        assert_eq!(hold_out_classes(&dataset(20, 1), &ids, 0.5).held_out, []);
        assert_eq!(hold_out_classes(&dataset(5, 4), &ids, 0.2).held_out, []);
        assert_eq!(hold_out_classes(&dataset(5, 4), &ids, 0.0).kept, ids);
    }
}
