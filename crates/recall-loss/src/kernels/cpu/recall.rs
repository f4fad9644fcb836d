//! From soft ranks to soft recall and to the weight of each rank.

use rayon::prelude::*;

use super::{arrangement::Arrangement, positives::Positives, steps::split};
use crate::RecallAtKLoss;

/// The soft recall of the item at each position, zero for those without positives; sets the weight
/// of each slot: `scale` times the derivative of the query's recall with respect to the rank.
pub(super) fn recall(
    loss: &RecallAtKLoss,
    arrangement: &Arrangement,
    positives: &mut Positives,
    scale: f64,
) -> Vec<f64> {
    let counts: Vec<usize> = (0..arrangement.items.len())
        .map(|position| positives.slots(position..position + 1).len())
        .collect();
    let ranks = split(&mut positives.rank, &counts);
    let weights = split(&mut positives.weight, &counts);
    let recalls = ranks
        .into_par_iter()
        .zip(weights)
        .map(|(ranks, weights)| of_query(loss, ranks, weights, scale))
        .collect();
    let greatest = positives
        .weight
        .iter()
        .fold(0.0, |greatest: f32, weight| greatest.max(weight.abs()));
    for weight in &mut positives.weight {
        if weight.abs() < NEGLIGIBLE * greatest {
            *weight = 0.0;
        }
    }
    recalls
}

/// A weight smaller than this, beside the greatest, is none: all of them together are less than f32
/// resolves, and positives without weight cost nothing.
const NEGLIGIBLE: f32 = 1e-13;

fn of_query(loss: &RecallAtKLoss, ranks: &[f32], weights: &mut [f32], scale: f64) -> f64 {
    if ranks.is_empty() {
        return 0.0;
    }
    let mut slopes = vec![0.0; ranks.len()];
    let mut mean = 0.0;
    for cutoff in &loss.cutoffs {
        let share = 1.0 / (cutoff.k.min(ranks.len() as f64) * loss.cutoffs.len() as f64);
        let within = |rank: f32| 1.0 / (1.0 + ((f64::from(rank) - cutoff.k) / cutoff.tau).exp());
        let count: f64 = ranks.iter().map(|&rank| within(rank)).sum();
        if loss.cap_at_k && count > cutoff.k {
            // A count above k is cut off, and its derivative with it.
            mean += cutoff.k * share;
            continue;
        }
        mean += count * share;
        for (slope, &rank) in slopes.iter_mut().zip(ranks) {
            let within = within(rank);
            *slope -= within * (1.0 - within) * share / cutoff.tau;
        }
    }
    for (weight, slope) in weights.iter_mut().zip(slopes) {
        *weight = (slope * scale) as f32;
    }
    mean
}
