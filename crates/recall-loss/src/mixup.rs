use std::collections::BTreeMap;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::LossError;

/// The virtual items of similarity mixup (SiMix, section 3.3 of the paper).
///
/// Virtual item `i` is `alpha[i] · first[i] + (1 − alpha[i]) · second[i]`, where `first` and `second`
/// are rows of the batch from one class. It is not normalised again, so its similarity to any item is
/// the same mixture of two known similarities, and no virtual embedding has to exist: the loss works
/// from the products of the real embeddings alone.
#[derive(Debug, Clone, PartialEq)]
pub struct Mixup {
    pub(crate) first: Vec<usize>,
    pub(crate) second: Vec<usize>,
    pub(crate) alpha: Vec<f64>,
}

impl Mixup {
    /// Mixes given rows with given weights.
    ///
    /// # Errors
    ///
    /// [`LossError::MixupLengths`] if the three differ in length and [`LossError::MixupAlpha`] if a
    /// weight is not from 0 to 1. Rows are checked against a batch when the loss is computed.
    pub fn new(first: Vec<usize>, second: Vec<usize>, alpha: Vec<f64>) -> Result<Self, LossError> {
        if first.len() != second.len() || first.len() != alpha.len() {
            return Err(LossError::MixupLengths(
                first.len(),
                second.len(),
                alpha.len(),
            ));
        }
        if let Some(pair) = alpha.iter().position(|alpha| !(0.0..=1.0).contains(alpha)) {
            return Err(LossError::MixupAlpha {
                pair,
                alpha: alpha[pair],
            });
        }
        Ok(Self {
            first,
            second,
            alpha,
        })
    }

    /// Mixes every pair of items within each class, with weights drawn uniformly from 0 to 1.
    ///
    /// A class of `m` items gives `m (m − 1) / 2` virtual ones, so 1,000 classes of 4 become 10,000
    /// items. The weights are a function of `labels` and `seed` alone; a fresh seed for each step
    /// gives fresh weights.
    pub fn all_pairs(labels: &[i64], seed: u64) -> Self {
        let mut classes = BTreeMap::<i64, Vec<usize>>::new();
        for (row, &label) in labels.iter().enumerate() {
            classes.entry(label).or_default().push(row);
        }
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for rows in classes.values() {
            for (i, &a) in rows.iter().enumerate() {
                for &b in &rows[i + 1..] {
                    first.push(a);
                    second.push(b);
                }
            }
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let alpha = first.iter().map(|_| rng.random::<f64>()).collect();
        Self {
            first,
            second,
            alpha,
        }
    }

    /// Number of virtual items.
    pub fn len(&self) -> usize {
        self.alpha.len()
    }

    /// Whether there is no virtual item.
    pub fn is_empty(&self) -> bool {
        self.alpha.is_empty()
    }

    /// The two rows and the weight of the first for each virtual item.
    pub fn pairs(&self) -> impl ExactSizeIterator<Item = (usize, usize, f64)> + '_ {
        (0..self.len()).map(|i| (self.first[i], self.second[i], self.alpha[i]))
    }

    /// Checks that every pair lies within the batch and within a class.
    pub(crate) fn check(&self, labels: &[i64]) -> Result<(), LossError> {
        for (pair, (first, second, _)) in self.pairs().enumerate() {
            if let Some(row) = [first, second].into_iter().find(|&row| row >= labels.len()) {
                return Err(LossError::MixupRow {
                    pair,
                    row,
                    items: labels.len(),
                });
            }
            if labels[first] != labels[second] {
                return Err(LossError::MixupClasses {
                    pair,
                    first,
                    second,
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_pairs_takes_each_pair_of_a_class_once() {
        let labels = [7, 3, 7, 7, 9, 3];
        let mixup = Mixup::all_pairs(&labels, 1);
        let pairs: Vec<_> = mixup.pairs().map(|(a, b, _)| (a, b)).collect();
        assert_eq!(pairs, [(1, 5), (0, 2), (0, 3), (2, 3)]);
        assert!(
            mixup
                .pairs()
                .all(|(_, _, alpha)| (0.0..1.0).contains(&alpha))
        );
        assert_eq!(mixup.check(&labels), Ok(()));
    }

    #[test]
    fn weights_follow_the_seed() {
        let labels = [0; 8];
        assert_eq!(Mixup::all_pairs(&labels, 5), Mixup::all_pairs(&labels, 5));
        assert_ne!(Mixup::all_pairs(&labels, 5), Mixup::all_pairs(&labels, 6));
    }

    #[test]
    fn faults_are_named() {
        assert_eq!(
            Mixup::new(vec![0], vec![1, 2], vec![0.5]),
            Err(LossError::MixupLengths(1, 2, 1))
        );
        assert_eq!(
            Mixup::new(vec![0], vec![1], vec![1.5]),
            Err(LossError::MixupAlpha {
                pair: 0,
                alpha: 1.5
            })
        );
        let mixup = Mixup::new(vec![0], vec![3], vec![0.5]).unwrap();
        assert_eq!(
            mixup.check(&[0, 0]),
            Err(LossError::MixupRow {
                pair: 0,
                row: 3,
                items: 2
            })
        );
        assert_eq!(
            mixup.check(&[0, 0, 0, 1]),
            Err(LossError::MixupClasses {
                pair: 0,
                first: 0,
                second: 3
            })
        );
    }
}
