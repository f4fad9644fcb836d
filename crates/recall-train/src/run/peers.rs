//! Test and validation among as many classes: the more there are, the more there is to confuse an image
//! with.

use std::collections::{BTreeSet, HashMap};

use recall_data::{Dataset, ItemId};
use recall_eval::{EvalError, Evaluation, Metric, Policy, Scores};
use sha2::{Digest, Sha256};

use crate::judge::LabelledSet;

/// The test classes dealt into groups of about as many as validation has.
pub(super) struct Groups {
    /// Classes of the validation images.
    pub validation: usize,
    /// Classes of the test images.
    pub test: usize,
    /// How many groups there are.
    pub count: usize,
    of_class: HashMap<i64, usize>,
}

impl Groups {
    /// Deals the classes of the test images in the order of a hash of their names, so that a group is a fair
    /// sample of them, and the same one whatever the seed. None if that would not be two groups.
    pub fn deal(dataset: &Dataset, test: &[ItemId], validation: &[ItemId]) -> Option<Self> {
        let classes =
            |ids: &[ItemId]| -> BTreeSet<u32> { dataset.labels(ids).into_iter().collect() };
        let (of_validation, of_test) = (classes(validation).len(), classes(test));
        let count = (of_test.len() as f64 / of_validation as f64).round();
        if !(2.0..=of_test.len() as f64).contains(&count) {
            return None;
        }
        let count = count as usize;
        let mut order: Vec<u32> = of_test.iter().copied().collect();
        order.sort_by_cached_key(|&class| {
            let hash: [u8; 32] = Sha256::digest(&dataset.class_names()[class as usize]).into();
            (hash, class)
        });
        let dealt = order.into_iter().enumerate();
        Some(Self {
            validation: of_validation,
            test: of_test.len(),
            count,
            of_class: dealt
                .map(|(at, class)| (class.into(), at % count))
                .collect(),
        })
    }

    /// The test images, each of which searches the classes of its own group.
    ///
    /// # Errors
    ///
    /// Those of [`LabelledSet::ranks_within`] and [`Scores::new`].
    pub fn evaluate(&self, set: &LabelledSet, metrics: &[Metric]) -> Result<Evaluation, EvalError> {
        let group_of = |label: i64| self.of_class.get(&label).copied().unwrap_or(0);
        let ranks = set.ranks_within(self.count, group_of)?;
        Ok(Scores::new(&ranks, metrics, Policy::default())?.evaluation())
    }
}

#[cfg(test)]
mod tests {
    use recall_data::{ImageSource, Item, Split};
    use recall_eval::Embeddings;

    use super::*;

    /// `classes` classes of two images each.
    fn dataset(classes: u32) -> Dataset {
        let item = |at: u32| {
            Item::new(
                at.to_string(),
                ImageSource::Embedded(b""),
                at / 2,
                Split::Test,
            )
        };
        let names = (0..classes).map(|class| format!("class {class}"));
        Dataset::from_items("x", (0..2 * classes).map(item).collect(), names.collect()).unwrap()
    }

    #[test]
    fn groups_are_as_large_as_validation() {
        let dataset = dataset(24);
        let ids: Vec<ItemId> = (0..48).collect();
        let groups = Groups::deal(&dataset, &ids[8..], &ids[..8]).unwrap();
        assert_eq!((groups.validation, groups.test, groups.count), (4, 20, 5));
        let mut sizes = [0; 5];
        groups
            .of_class
            .values()
            .for_each(|&group| sizes[group] += 1);
        assert_eq!(sizes, [4; 5]);
        // The names decide, not their order.
        let in_order = (4..24).all(|class| groups.of_class[&class] == (class as usize - 4) % 5);
        assert!(!in_order);
        // As many classes, more, or none: there is nothing to deal.
        assert!(Groups::deal(&dataset, &ids[24..], &ids[..24]).is_none());
        assert!(Groups::deal(&dataset, &ids[40..], &ids[..40]).is_none());
        assert!(Groups::deal(&dataset, &ids, &[]).is_none());
        assert!(Groups::deal(&dataset, &[], &ids).is_none());
    }

    #[test]
    fn fewer_classes_are_fewer_to_confuse() {
        let dataset = dataset(24);
        let ids: Vec<ItemId> = (0..48).collect();
        // The two images of a class lie apart, with images of other classes between them.
        let values = ids
            .iter()
            .map(|&id| (id / 2 * 3 + id % 2 * 7) as f32 / 30.0);
        let values: Vec<f32> = values.flat_map(|at| [at.cos(), at.sin()]).collect();
        let test = ids[8..].to_vec();
        let embeddings = Embeddings::new(values[16..].to_vec(), 2).unwrap();
        let set = LabelledSet::each_against_rest(&dataset, embeddings, test.clone());
        let groups = Groups::deal(&dataset, &test, &ids[..8]).unwrap();
        let metrics = [Metric::RecallAt(1), Metric::RecallAt(4)];
        let all = set.evaluate(&metrics).unwrap();
        let within = groups.evaluate(&set, &metrics).unwrap();
        assert_eq!(within.queries, all.queries);
        for metric in metrics {
            assert!(
                within.get(metric) > all.get(metric),
                "{metric}: {within} {all}"
            );
        }
    }
}
