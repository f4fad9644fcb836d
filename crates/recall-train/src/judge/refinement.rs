//! What is done to queries, gallery and rankings before they are judged.

use recall_eval::refine::{DatabaseAugmentation, QueryExpansion, Reranking};
use recall_eval::{EvalError, PositiveRanks, Retrieval};

use super::Ranking;

/// Steps between embeddings and ranks, in this order: none of them by default. See [`recall_eval::refine`].
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Refinement {
    /// Gallery items are averaged with their neighbours.
    pub augmentation: Option<DatabaseAugmentation>,
    /// Queries are averaged with what they find.
    pub expansion: Option<QueryExpansion>,
    /// Items are ranked by something else than the similarity, on the CPU.
    pub reranking: Option<Reranking>,
}

impl Refinement {
    /// Whether there is any step.
    pub fn is_some(&self) -> bool {
        *self != Self::default()
    }

    /// Whether a step compares the items of the gallery with each other, so that all must be in memory.
    pub fn needs_gallery(&self) -> bool {
        self.augmentation.is_some() || self.reranking.is_some()
    }

    /// The ranks after all steps; `ranking` gives those by similarity.
    pub(super) fn ranks(
        &self,
        mut retrieval: Retrieval<'_>,
        ranking: &Ranking<'_>,
    ) -> Result<PositiveRanks, EvalError> {
        if let Some(augmentation) = &self.augmentation {
            retrieval = retrieval.augment_gallery(augmentation)?;
        }
        if let Some(expansion) = &self.expansion {
            retrieval = retrieval.expand_queries(expansion)?;
        }
        match &self.reranking {
            Some(reranking) => retrieval.ranks_reranked(reranking),
            None => ranking(&retrieval),
        }
    }

    /// Refuses steps that a problem does not take.
    pub(super) fn refuse(&self, unfit: bool, what: &'static str) -> Result<(), EvalError> {
        match unfit {
            true => Err(EvalError::NotRefined { what }),
            false => Ok(()),
        }
    }
}
