use std::collections::BTreeMap;

use crate::{LossError, Mixup, Objective};

/// One batch as a backend needs to know it: which items are relevant to which, what is mixed, and
/// the loss with its settings.
///
/// [`RecallAtKLoss`](crate::RecallAtKLoss) or [`SmoothAp`](crate::SmoothAp) makes it from labels, after
/// checking them, and hands it to [`RecallBackend`](crate::RecallBackend). Items are numbered with the
/// real ones first, `0..rows` in the order of the batch, and the virtual ones after them in the order of
/// the mixup. All items of a query's class but itself are its positives, and the query as well where
/// [`query_included`](crate::SmoothApConfig::query_included) says so.
#[derive(Debug, Clone, PartialEq)]
pub struct RecallBatch {
    rows: usize,
    classes: Vec<Vec<usize>>,
    mixup: Option<Mixup>,
    objective: Objective,
}

impl RecallBatch {
    pub(crate) fn new(
        objective: impl Into<Objective>,
        labels: &[i64],
        mixup: Option<&Mixup>,
    ) -> Result<Self, LossError> {
        let mixup = mixup.filter(|mixup| !mixup.is_empty());
        let mut classes = BTreeMap::<i64, Vec<usize>>::new();
        for (row, &label) in labels.iter().enumerate() {
            classes.entry(label).or_default().push(row);
        }
        if let Some(mixup) = mixup {
            mixup.check(labels)?;
            for (pair, &first) in mixup.first.iter().enumerate() {
                classes
                    .entry(labels[first])
                    .or_default()
                    .push(labels.len() + pair);
            }
        }
        let mut classes: Vec<_> = classes.into_values().collect();
        if classes.iter().all(|class| class.len() < 2) {
            return Err(LossError::NoPositives {
                items: labels.len(),
            });
        }
        // Smallest first, so that neighbouring queries have similar numbers of positives.
        classes.sort_by_key(Vec::len);
        Ok(Self {
            rows: labels.len(),
            classes,
            mixup: mixup.cloned(),
            objective: objective.into().for_batch(labels.len()),
        })
    }

    /// Number of rows of the batch, its real items.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of real and virtual items together.
    pub fn items(&self) -> usize {
        self.rows + self.mixup.as_ref().map_or(0, Mixup::len)
    }

    /// The items of each class, ascending within a class; classes with fewest items first, those
    /// with a single item included.
    pub fn classes(&self) -> &[Vec<usize>] {
        &self.classes
    }

    /// The virtual items, if there are any.
    pub fn mixup(&self) -> Option<&Mixup> {
        self.mixup.as_ref()
    }

    /// The loss, each k of a Recall@k at most [`rows`](Self::rows).
    pub fn objective(&self) -> &Objective {
        &self.objective
    }

    /// The items whose values the loss is made of, ascending: those with at least one other item in
    /// their class, and those without if [`count_lonely`](crate::SmoothApConfig::count_lonely) says so.
    pub fn queries(&self) -> Vec<usize> {
        let ranked = self.query_classes().flatten().copied();
        let mut queries: Vec<_> = ranked.chain(self.counted_lonely()).collect();
        queries.sort_unstable();
        queries
    }

    /// How many such items there are.
    pub fn query_count(&self) -> usize {
        self.query_classes().map(Vec::len).sum::<usize>() + self.counted_lonely().count()
    }

    /// The items alone in their class that count nevertheless, with the value 1.
    pub(crate) fn counted_lonely(&self) -> impl Iterator<Item = usize> {
        let lonely = self.classes.iter().filter(|class| class.len() == 1);
        let counted = self.objective.counts_lonely();
        lonely.flatten().copied().filter(move |_| counted)
    }

    /// The classes whose items have positives.
    pub(crate) fn query_classes(&self) -> impl Iterator<Item = &Vec<usize>> {
        self.classes.iter().filter(|class| class.len() > 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RecallAtKLossConfig, SmoothApConfig};

    #[test]
    fn singletons_are_items_and_no_queries() {
        let loss = RecallAtKLossConfig::new().init().unwrap();
        let batch = loss.batch(&[4, 9, 4, 1, 9, 4], None).unwrap();
        assert_eq!(batch.classes(), [vec![3], vec![1, 4], vec![0, 2, 5]]);
        assert_eq!(batch.queries(), [0, 1, 2, 4, 5]);
        assert_eq!((batch.items(), batch.query_count()), (6, 5));
    }

    #[test]
    fn singletons_count_if_asked_for() {
        let loss = SmoothApConfig::new().with_count_lonely(true).init();
        let batch = loss.unwrap().batch(&[4, 9, 4, 1, 9, 4], None).unwrap();
        assert_eq!(batch.queries(), [0, 1, 2, 3, 4, 5]);
        assert_eq!(batch.query_count(), 6);
    }

    #[test]
    fn a_batch_without_positives_is_an_error() {
        let loss = RecallAtKLossConfig::new().init().unwrap();
        let error = loss.batch(&[0, 1, 2], None).unwrap_err();
        assert_eq!(error, LossError::NoPositives { items: 3 });
    }
}
