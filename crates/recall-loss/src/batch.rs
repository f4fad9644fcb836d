use std::collections::BTreeMap;
use std::ops::Range;

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
    /// The rows whose queries are asked for: all of them, or those of a share.
    asked: Range<usize>,
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
            asked: 0..labels.len(),
        })
    }

    /// The same batch with the queries of some rows alone: a share of its loss and gradient.
    ///
    /// Every item stays a reference, and a query weighs what it weighs in the whole batch. So the losses
    /// of shares whose rows cover the batch once add up to its loss, and their gradients to its gradient.
    /// Rows may be any range, an empty one included.
    ///
    /// A virtual query goes with one of the two rows that it is mixed from: those of even number in the
    /// mixup with the first, those of odd number with the second. In turn, since the first row of every pair
    /// may be the earlier one, and the last share would then have next to none.
    ///
    /// # Errors
    ///
    /// [`LossError::ShareRows`] if the range ends beyond the batch or before it starts.
    pub fn share(self, rows: Range<usize>) -> Result<Self, LossError> {
        if rows.start > rows.end || rows.end > self.rows {
            return Err(LossError::ShareRows {
                rows,
                items: self.rows,
            });
        }
        Ok(Self {
            asked: rows,
            ..self
        })
    }

    /// Whether all queries are asked for, not those of a [`share`](Self::share).
    pub fn is_whole(&self) -> bool {
        self.asked == (0..self.rows)
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
    /// Of a [`share`](Self::share), those of its rows.
    pub fn queries(&self) -> Vec<usize> {
        let ranked = self.query_classes().flatten().copied();
        let ranked = ranked.filter(|&item| self.asks(item));
        let mut queries: Vec<_> = ranked.chain(self.counted_lonely()).collect();
        queries.sort_unstable();
        queries
    }

    /// How many such items there are.
    pub fn query_count(&self) -> usize {
        let ranked = self.query_classes().flatten();
        ranked.filter(|&&item| self.asks(item)).count() + self.counted_lonely().count()
    }

    /// How many queries the whole batch has, whatever share of it this is: the loss is a mean over so many.
    pub fn whole_query_count(&self) -> usize {
        let ranked = self.query_classes().map(Vec::len).sum::<usize>();
        ranked + self.all_counted_lonely().count()
    }

    /// The items alone in their class that count nevertheless, with the value 1, and are asked for.
    pub(crate) fn counted_lonely(&self) -> impl Iterator<Item = usize> {
        self.all_counted_lonely().filter(|&item| self.asks(item))
    }

    fn all_counted_lonely(&self) -> impl Iterator<Item = usize> {
        let lonely = self.classes.iter().filter(|class| class.len() == 1);
        let counted = self.objective.counts_lonely();
        lonely.flatten().copied().filter(move |_| counted)
    }

    /// The classes whose items have positives.
    pub(crate) fn query_classes(&self) -> impl Iterator<Item = &Vec<usize>> {
        self.classes.iter().filter(|class| class.len() > 1)
    }

    /// Whether an item is asked for if it is a query.
    pub(crate) fn asks(&self, item: usize) -> bool {
        let row = match (item.checked_sub(self.rows), &self.mixup) {
            (Some(pair), Some(mixup)) if pair % 2 == 0 => mixup.first[pair],
            (Some(pair), Some(mixup)) => mixup.second[pair],
            _ => item,
        };
        self.asked.contains(&row)
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
    fn shares_of_the_rows_share_out_the_queries() {
        let labels: Vec<i64> = (0..24).map(|row| row * 7 % 5).collect();
        let mixup = Mixup::all_pairs(&labels, 3);
        let loss = RecallAtKLossConfig::new().init().unwrap();
        let whole = loss.batch(&labels, Some(&mixup)).unwrap();
        let shares = [0..7, 7..7, 7..20, 20..24].map(|rows| whole.clone().share(rows).unwrap());
        let mut queries: Vec<_> = shares.iter().flat_map(RecallBatch::queries).collect();
        queries.sort_unstable();
        assert_eq!(queries, whole.queries());
        for share in &shares {
            assert_eq!(share.query_count(), share.queries().len());
            assert_eq!(share.whole_query_count(), whole.query_count());
            assert!(!share.is_whole());
        }
        assert_eq!(whole.clone().share(0..24).unwrap(), whole);
    }

    #[test]
    fn halves_of_a_batch_in_any_order_have_as_many_virtual_queries() {
        // Members of a class apart, so that the first row of a pair is in the earlier half more often.
        let labels: Vec<i64> = (0..400).map(|row| row % 100).collect();
        let mixup = Mixup::all_pairs(&labels, 3);
        let loss = RecallAtKLossConfig::new().init().unwrap();
        let whole = loss.batch(&labels, Some(&mixup)).unwrap();
        let count = |rows| whole.clone().share(rows).unwrap().query_count();
        assert_eq!((count(0..200), count(200..400)), (500, 500));
    }

    #[test]
    #[expect(clippy::reversed_empty_ranges, reason = "what is refused")]
    fn rows_that_are_not_there_are_refused() {
        let loss = RecallAtKLossConfig::new().init().unwrap();
        let batch = loss.batch(&[0, 0, 1], None).unwrap();
        for rows in [2..4, 3..2, 4..4] {
            let error = batch.clone().share(rows.clone()).unwrap_err();
            assert_eq!(error, LossError::ShareRows { rows, items: 3 });
        }
        let message = batch.share(2..4).unwrap_err().to_string();
        assert!(message.starts_with("rows 2..4 are no share of a batch of 3 rows"));
    }

    #[test]
    fn a_batch_without_positives_is_an_error() {
        let loss = RecallAtKLossConfig::new().init().unwrap();
        let error = loss.batch(&[0, 1, 2], None).unwrap_err();
        assert_eq!(error, LossError::NoPositives { items: 3 });
    }
}
