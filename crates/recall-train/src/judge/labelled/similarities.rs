//! How similar items of one class are, and items of different ones.

use std::collections::HashMap;

use recall_data::ItemId;
use recall_eval::{EvalError, IgnoreGroup};

use super::{Ignored, LabelledSet, Side};

/// How the similarities of pairs within a class and of pairs across classes are distributed: two histograms
/// over the same bins of equal width.
#[derive(Debug, Clone, PartialEq)]
pub struct Similarities {
    /// Where the first bin begins.
    pub low: f64,
    /// Where the last bin ends.
    pub high: f64,
    /// Of pairs within a class: the density in each bin. Densities times the width of a bin add up to
    /// 1.
    pub positive: Vec<f64>,
    /// The same of pairs from different classes, as many bins.
    pub negative: Vec<f64>,
    /// Mean similarity within a class.
    pub positive_mean: f64,
    /// Mean similarity across classes.
    pub negative_mean: f64,
}

/// Queries that are looked at, at most.
const QUERIES: usize = 2_000;

/// Gallery items of other classes that a query is compared with, at most.
const NEGATIVES: usize = 200;

/// Bins from −1 to 1.
const BINS: usize = 60;

impl LabelledSet {
    /// Histograms of the similarities of pairs within a class and across classes: of at most 2,000
    /// queries, spread evenly, with all of their positives and with at most 200 other items each,
    /// spread evenly too. Nothing is drawn at random. There are 60 bins from −1 to 1, less those at
    /// the ends that are empty; what lies beyond, as embeddings are not of length 1, counts in the
    /// outermost. `None` where there are no pairs of one of the two kinds.
    ///
    /// # Errors
    ///
    /// Those of [`retrieval`](Self::retrieval).
    pub fn similarities(&self) -> Result<Option<Similarities>, EvalError> {
        // Says whether the parts fit together.
        self.retrieval()?;
        let items = self.gallery.as_ref().unwrap_or(&self.queries);
        let mut of_class: HashMap<i64, Vec<usize>> = HashMap::new();
        for (row, &label) in items.labels.iter().enumerate() {
            of_class.entry(label).or_default().push(row);
        }
        let mut positive = Histogram::default();
        let mut negative = Histogram::default();
        let queries = self.queries.ids.len();
        let looked_at = queries.min(QUERIES);
        for at in 0..looked_at {
            let query = at * queries / looked_at;
            let side = Query {
                row: query,
                label: self.queries.labels[query],
                id: self.queries.ids[query],
                embedding: self.queries.embeddings.row(query),
            };
            for &row in of_class.get(&side.label).into_iter().flatten() {
                if !self.leaves(&side, items, row) {
                    positive.add(side.similarity(items, row));
                }
            }
            for row in spread(items.ids.len(), NEGATIVES, at) {
                if items.labels[row] != side.label && !self.leaves(&side, items, row) {
                    negative.add(side.similarity(items, row));
                }
            }
        }
        Ok(positive.beside(&negative))
    }

    /// Whether an item is not in the query's ranking: the query itself, or one of its group.
    fn leaves(&self, query: &Query<'_>, items: &Side, row: usize) -> bool {
        let in_group = |Ignored {
                            of_queries,
                            of_gallery,
                            which,
                        }: &Ignored| {
            of_queries[query.row] == of_gallery[row]
                && (*which == IgnoreGroup::All || items.labels[row] == query.label)
        };
        items.ids[row] == query.id || self.ignored.as_ref().is_some_and(in_group)
    }
}

struct Query<'a> {
    row: usize,
    label: i64,
    id: ItemId,
    embedding: &'a [f32],
}

impl Query<'_> {
    fn similarity(&self, items: &Side, row: usize) -> f64 {
        let products = self.embedding.iter().zip(items.embeddings.row(row));
        products.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum()
    }
}

/// At most `most` of `count` rows, equally far apart; from one `turn` to the next they move on by one.
fn spread(count: usize, most: usize, turn: usize) -> impl Iterator<Item = usize> {
    let taken = count.min(most);
    let gap = (count / taken.max(1)).max(1);
    (0..taken).map(move |at| at * count / taken + turn % gap)
}

/// Similarities counted by bins of equal width.
struct Histogram {
    counts: [u64; BINS],
    sum: f64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: [0; BINS],
            sum: 0.0,
        }
    }
}

impl Histogram {
    fn add(&mut self, similarity: f64) {
        // Below the first bin a float becomes 0.
        let bin = ((similarity + 1.0) / 2.0 * BINS as f64) as usize;
        self.counts[bin.min(BINS - 1)] += 1;
        self.sum += similarity;
    }

    fn pairs(&self) -> u64 {
        self.counts.iter().sum()
    }

    fn beside(&self, other: &Self) -> Option<Similarities> {
        if self.pairs() == 0 || other.pairs() == 0 {
            return None;
        }
        let is_used = |&bin: &usize| self.counts[bin] + other.counts[bin] > 0;
        let first = (0..BINS).find(is_used)?;
        let last = (0..BINS).rfind(is_used)?;
        let edge = |bin: usize| 2.0 * bin as f64 / BINS as f64 - 1.0;
        let densities = |of: &Self| {
            let scale = BINS as f64 / 2.0 / of.pairs() as f64;
            let counts = of.counts[first..=last].iter();
            counts.map(|&count| count as f64 * scale).collect()
        };
        Some(Similarities {
            low: edge(first),
            high: edge(last + 1),
            positive: densities(self),
            negative: densities(other),
            positive_mean: self.sum / self.pairs() as f64,
            negative_mean: other.sum / other.pairs() as f64,
        })
    }
}

#[cfg(test)]
mod tests {
    use recall_eval::Embeddings;

    use super::*;

    fn of(values: Vec<f32>, labels: &[i64]) -> (Embeddings, Vec<i64>) {
        (Embeddings::new(values, 2).unwrap(), labels.to_vec())
    }

    /// Class 1 at 0° and at the angle whose cosine is 0.8, class 2 at 90° and 180°.
    fn four() -> (Embeddings, Vec<i64>) {
        let values = vec![1.0, 0.0, 0.8, 0.6, 0.0, 1.0, -1.0, 0.0];
        of(values, &[1, 1, 2, 2])
    }

    #[test]
    fn by_hand() {
        let found = LabelledSet::from_parts(four(), None)
            .similarities()
            .unwrap()
            .unwrap();
        // Within classes 0.8 and 0, each seen from both sides; across them 0, −1, 0.6 and −0.8.
        assert!((found.positive_mean - 0.4).abs() < 1e-7);
        assert!((found.negative_mean + 0.3).abs() < 1e-7);
        // From −1, which opens the first bin, to 0.8 (f32: a hair above), which opens the 55th.
        assert_eq!(found.low, -1.0);
        assert!((found.high - 2.0 * 55.0 / 60.0 + 1.0).abs() < 1e-12);
        assert_eq!((found.positive.len(), found.negative.len()), (55, 55));
        let share = |densities: &[f64], bin: usize| (densities[bin] / 30.0 * 100.0).round();
        // The bin of 0 is the 31st. Each of the four kinds of pairs is a quarter, of the two a half.
        assert_eq!(share(&found.positive, 30), 50.0);
        assert_eq!(share(&found.positive, 54), 50.0);
        assert_eq!(share(&found.negative, 30), 25.0);
        assert_eq!(share(&found.negative, 0), 25.0);
        for densities in [&found.positive, &found.negative] {
            assert!((densities.iter().sum::<f64>() / 30.0 - 1.0).abs() < 1e-12);
        }
        let shared = found.positive.iter().zip(&found.negative);
        let shared: f64 = shared.map(|(a, b)| a.min(*b)).sum();
        assert!((shared / 30.0 - 0.25).abs() < 1e-12);
    }

    #[test]
    fn a_gallery_and_groups() {
        let queries = of(vec![1.0, 0.0], &[2]);
        let set = LabelledSet::from_parts(queries, Some(four()));
        let found = set.similarities().unwrap().unwrap();
        // 0 and −1 are of the query's class, 1 and 0.8 of the other.
        assert!((found.positive_mean + 0.5).abs() < 1e-7);
        assert!((found.negative_mean - 0.9).abs() < 1e-7);
        let grouped = |which| {
            let queries = of(vec![1.0, 0.0], &[2]);
            let set = LabelledSet::from_parts(queries, Some(four()));
            set.ignoring(vec![7], vec![7, 8, 7, 8], which)
        };
        let same_class = grouped(IgnoreGroup::SameClass).similarities();
        let same_class = same_class.unwrap().unwrap();
        assert!((same_class.positive_mean + 1.0).abs() < 1e-7);
        assert!((same_class.negative_mean - 0.9).abs() < 1e-7);
        let all = grouped(IgnoreGroup::All).similarities().unwrap().unwrap();
        assert!((all.negative_mean - 0.8).abs() < 1e-7);
    }

    #[test]
    fn one_kind_of_pairs_is_no_comparison() {
        for labels in [[1, 1, 1, 1], [1, 2, 3, 4]] {
            let (embeddings, _) = four();
            let set = LabelledSet::from_parts((embeddings, labels.to_vec()), None);
            assert_eq!(set.similarities().unwrap(), None);
        }
        let set = LabelledSet::from_parts((four().0, vec![1]), None);
        assert!(set.similarities().is_err());
    }

    #[test]
    fn what_lies_beyond_counts_in_the_outermost_bins() {
        let values = vec![3.0, 0.0, 3.0, 0.0, -3.0, 0.0];
        let set = LabelledSet::from_parts(of(values, &[1, 1, 2]), None);
        let found = set.similarities().unwrap().unwrap();
        assert_eq!((found.low, found.high), (-1.0, 1.0));
        assert!((found.positive[59] - 30.0).abs() < 1e-9);
        assert!((found.negative[0] - 30.0).abs() < 1e-9);
        assert_eq!(found.positive_mean, 9.0);
    }

    #[test]
    fn samples_are_spread_and_move_on() {
        assert_eq!(spread(10, 3, 0).collect::<Vec<_>>(), [0, 3, 6]);
        assert_eq!(spread(10, 3, 1).collect::<Vec<_>>(), [1, 4, 7]);
        assert_eq!(spread(10, 3, 3).collect::<Vec<_>>(), [0, 3, 6]);
        assert_eq!(spread(3, 10, 5).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(spread(0, 3, 1).count(), 0);
        // Never beyond the end, and never twice.
        for count in 1..40 {
            for turn in 0..40 {
                let rows: Vec<usize> = spread(count, 7, turn).collect();
                assert!(rows.is_sorted_by(|a, b| a < b) && rows.iter().all(|&row| row < count));
            }
        }
    }
}
