//! What the parts of the computation have in common.

use std::f64::consts::LOG2_E;

use super::arrangement::Arrangement;
use crate::{Objective, RecallBatch, objective::Itself};

/// Stands for "less similar than anything": compared with it, every positive comes first.
pub(super) const EXCLUDED: f32 = -1e30;

/// The embeddings, and the settings of the loss as the kernels take them.
pub(super) struct Setting<'a> {
    /// `[n, dim]`
    pub(super) embeddings: &'a [f32],
    /// Where in them each row lies, as rows are counted in the order of classes; none if they have that order.
    pub(super) order: Option<&'a [usize]>,
    pub(super) dim: usize,
    /// `log₂(e) / τ`: from differences of similarities to powers of two.
    pub(super) kappa: f32,
    pub(super) objective: &'a Objective,
}

impl<'a> Setting<'a> {
    pub(super) fn new(
        embeddings: &'a [f32],
        arrangement: &'a Arrangement,
        dim: usize,
        batch: &'a RecallBatch,
    ) -> Self {
        Self {
            embeddings,
            order: arrangement.is_share().then_some(&arrangement.rows),
            dim,
            kappa: (LOG2_E / batch.objective().tau()) as f32,
            objective: batch.objective(),
        }
    }

    /// Whether a query is in its own list.
    pub(super) fn query_listed(&self) -> bool {
        self.objective.itself() != Itself::Absent
    }
}
