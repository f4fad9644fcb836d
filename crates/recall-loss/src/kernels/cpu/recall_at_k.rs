//! Soft recall of one query.

use super::outer::Query;
use crate::RecallAtKLoss;

impl RecallAtKLoss {
    /// The soft recall, averaged over k; sets the weights to its derivatives times `scale`.
    pub(super) fn soft_recall_of(&self, query: Query<'_>, scale: f64) -> f64 {
        let Query {
            within,
            beyond,
            weight_within,
            weight_beyond,
        } = query;
        let ranks = || {
            within
                .iter()
                .zip(beyond)
                .map(|(&a, &b)| f64::from(a) + f64::from(b))
        };
        let mut slopes = vec![0.0; within.len()];
        let mut mean = 0.0;
        for cutoff in &self.cutoffs {
            let share = 1.0 / (cutoff.k.min(slopes.len() as f64) * self.cutoffs.len() as f64);
            let found = |rank: f64| 1.0 / (1.0 + ((rank - cutoff.k) / cutoff.tau).exp());
            let count: f64 = ranks().map(found).sum();
            if self.cap_at_k && count > cutoff.k {
                // A count above k is cut off, and its derivative with it.
                mean += cutoff.k * share;
                continue;
            }
            mean += count * share;
            for (slope, rank) in slopes.iter_mut().zip(ranks()) {
                let found = found(rank);
                *slope -= found * (1.0 - found) * share / cutoff.tau;
            }
        }
        for ((a, b), slope) in weight_within.iter_mut().zip(weight_beyond).zip(slopes) {
            *a = (slope * scale) as f32;
            *b = *a;
        }
        mean
    }
}
