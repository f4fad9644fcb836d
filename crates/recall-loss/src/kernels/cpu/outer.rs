//! From soft ranks to the value of each query and to the weight of each rank.

use rayon::prelude::*;

use super::{
    arrangement::Arrangement,
    positives::{Parts, Positives},
    steps::split,
};
use crate::{Objective, SmoothAp};

/// The slots of one query: the parts of the ranks, and of the weights to be set.
pub(super) struct Query<'a> {
    pub(super) within: &'a [f32],
    pub(super) beyond: &'a [f32],
    pub(super) weight_within: &'a mut [f32],
    pub(super) weight_beyond: &'a mut [f32],
}

/// The value of the item at each position; of one without positives it is 1, which no one looks at
/// unless such items count. Sets the weight of each slot: `scale` times the derivative of the query's
/// value with respect to the rank.
pub(super) fn values(
    objective: &Objective,
    arrangement: &Arrangement,
    positives: &mut Positives,
    scale: f64,
) -> Vec<f64> {
    let counts: Vec<usize> = (0..arrangement.items.len())
        .map(|position| positives.slots(position..position + 1).len())
        .collect();
    let ranks = split(&mut positives.rank.within, &counts)
        .into_par_iter()
        .zip(split(&mut positives.rank.beyond, &counts));
    let weights = split(&mut positives.weight.within, &counts)
        .into_par_iter()
        .zip(split(&mut positives.weight.beyond, &counts));
    let values = ranks
        .zip(weights)
        .map(|((within, beyond), (weight_within, weight_beyond))| {
            let query = Query {
                within,
                beyond,
                weight_within,
                weight_beyond,
            };
            match objective {
                _ if query.within.is_empty() => 1.0,
                Objective::RecallAtK(loss) => loss.soft_recall_of(query, scale),
                Objective::SmoothAp(_) => SmoothAp::average_precision_of(query, scale),
            }
        })
        .collect();
    forget_negligible(&mut positives.weight);
    values
}

/// A weight smaller than this, beside the greatest, is none: all of them together are less than f32
/// resolves, and positives without weight cost nothing.
const NEGLIGIBLE: f32 = 1e-13;

fn forget_negligible(weights: &mut Parts) {
    let greatest = (weights.beyond.iter()).fold(0.0, |greatest: f32, w| greatest.max(w.abs()));
    for weights in [&mut weights.within, &mut weights.beyond] {
        for weight in weights {
            if weight.abs() < NEGLIGIBLE * greatest {
                *weight = 0.0;
            }
        }
    }
}
