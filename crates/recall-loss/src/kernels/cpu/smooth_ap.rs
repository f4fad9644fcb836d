//! Soft average precision of one query.

use super::outer::Query;
use crate::SmoothAp;

impl SmoothAp {
    /// The soft average precision; sets the weights to its derivatives times `scale`.
    pub(super) fn average_precision_of(query: Query<'_>, scale: f64) -> f64 {
        let share = 1.0 / query.within.len() as f64;
        let ranks = query.within.iter().zip(query.beyond);
        let weights = query.weight_within.iter_mut().zip(query.weight_beyond);
        let mut sum = 0.0;
        for ((&within, &beyond), (weight_within, weight_beyond)) in ranks.zip(weights) {
            let (within, beyond) = (f64::from(within), f64::from(beyond));
            let rank = within + beyond;
            sum += within / rank;
            let weight = scale * share / (rank * rank);
            *weight_within = (weight * beyond) as f32;
            *weight_beyond = (-weight * within) as f32;
        }
        sum * share
    }
}
