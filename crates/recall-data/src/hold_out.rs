use std::collections::{BTreeMap, BTreeSet};

use crate::by_name::held_out;
use crate::{Dataset, ItemId, Split};

/// What training takes and what chooses among its states: the validation items of a data set that has
/// some, or else classes held out of its training items, the share `share` of them.
///
/// ```
/// use recall_data::{DataSpec, Split, hold_out_classes, training_and_validation};
///
/// // The emoji have no validation items of their own.
/// let emoji = DataSpec::Emoji.open()?;
/// let parts = training_and_validation(&emoji, 0.1);
/// assert_eq!(parts, hold_out_classes(&emoji, emoji.split(Split::Train), 0.1));
/// # Ok::<(), recall_data::DataError>(())
/// ```
pub fn training_and_validation(dataset: &Dataset, share: f64) -> HeldOut {
    let train = dataset.split(Split::Train);
    match dataset.split(Split::Validation) {
        [] => hold_out_classes(dataset, train, share),
        own => HeldOut {
            kept: train.to_vec(),
            held_out: own.to_vec(),
        },
    }
}

/// Items in two parts; classes that were held out are in one of them only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldOut {
    /// What is left.
    pub kept: Vec<ItemId>,
    /// The items of the classes that are held out, or a data set's own validation items. Empty if these would be fewer than two, or if none
    /// of them had two items: nothing could be retrieved.
    pub held_out: Vec<ItemId>,
}

/// Holds whole classes out of `ids`: about the share `share` of all classes in it.
///
/// Whether a class is held out depends on its name alone, by another hash than that of
/// [`split_by_name`](crate::split_by_name): runs with different seeds hold out the same classes and can
/// be compared, and what was held out stays so when classes are added. In small sets, those nearest to
/// the threshold are held out as well until there are two classes, one of them with two items; where
/// the share comes to fewer than two classes, none is. The order of the items stays.
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
    let name_of = |id: ItemId| dataset.class_names()[dataset.items()[id].class as usize].as_str();
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    for &id in ids {
        *sizes.entry(name_of(id)).or_default() += 1;
    }
    let names: Vec<&str> = sizes.keys().copied().collect();
    let chosen: BTreeSet<&str> = held_out(&names, share, |name| sizes[name] > 1)
        .into_iter()
        .collect();
    let (held_out, kept) = ids.iter().partition(|&&id| chosen.contains(name_of(id)));
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
    fn whole_classes_and_about_as_many_as_asked_for() {
        let dataset = dataset(200, 3);
        let ids: Vec<ItemId> = (0..600).collect();
        for (share, classes) in [(0.1, 12..28), (0.13, 16..36), (0.5, 85..115)] {
            let parts = hold_out_classes(&dataset, &ids, share);
            assert!(classes.contains(&(parts.held_out.len() / 3)), "{share}");
            assert_eq!(parts.kept.len() + parts.held_out.len(), 600);
            assert!(parts.kept.is_sorted() && parts.held_out.is_sorted());
            let kept: BTreeSet<u32> = dataset.labels(&parts.kept).into_iter().collect();
            let held = dataset.labels(&parts.held_out);
            assert!(held.iter().all(|class| !kept.contains(class)));
        }
        // A greater share holds out what a smaller one does, and more.
        let [few, more] = [0.1, 0.5].map(|share| hold_out_classes(&dataset, &ids, share).held_out);
        assert!(few.iter().all(|id| more.contains(id)));
    }

    #[test]
    fn a_small_set_holds_out_what_something_can_be_found_among() {
        for classes in 15..30 {
            let dataset = dataset(classes, 2);
            let ids: Vec<ItemId> = (0..dataset.items().len()).collect();
            let parts = hold_out_classes(&dataset, &ids, 0.1);
            assert!(parts.held_out.len() >= 4, "{classes}");
            assert!(parts.held_out.len() <= 2 * 8, "{classes}");
        }
        // Single images find nothing: a class with a pair comes along.
        let mut items = dataset(20, 1).items().to_vec();
        items.push(items[7].clone());
        let names = dataset(20, 1).class_names().to_vec();
        let dataset = Dataset::from_items("x", items, names).unwrap();
        let ids: Vec<ItemId> = (0..21).collect();
        let labels = dataset.labels(&hold_out_classes(&dataset, &ids, 0.1).held_out);
        assert_eq!(labels.iter().filter(|label| **label == 7).count(), 2);
    }

    #[test]
    fn nothing_where_nothing_could_be_retrieved() {
        let ids: Vec<ItemId> = (0..20).collect();
        assert!(
            hold_out_classes(&dataset(20, 1), &ids, 0.5)
                .held_out
                .is_empty()
        );
        assert!(
            hold_out_classes(&dataset(5, 4), &ids, 0.2)
                .held_out
                .is_empty()
        );
        assert_eq!(hold_out_classes(&dataset(5, 4), &ids, 0.0).kept, ids);
    }
}
