//! A batch of which each rank has a share.

use recall_data::{Batch, ItemId};

use crate::RunError;
use crate::run::Ranks;

/// What is known of the whole batch on every rank.
pub(super) struct Whole {
    /// The items of all ranks, one behind the other.
    pub ids: Vec<ItemId>,
    /// Those that could not be read.
    pub skipped: Vec<ItemId>,
    /// What is wrong with the first of them.
    pub problem: Option<String>,
}

impl Whole {
    /// Of the share that this rank has.
    pub fn of(share: &Batch, ranks: &Ranks) -> Result<Self, RunError> {
        let skipped: Vec<ItemId> = share.skipped.iter().map(|skipped| skipped.id).collect();
        let problem = share.skipped.first().map(|first| first.problem.clone());
        if !ranks.are_several() {
            return Ok(Self {
                ids: share.ids.clone(),
                skipped,
                problem,
            });
        }
        let mut whole = Self {
            ids: Vec::new(),
            skipped: Vec::new(),
            problem: None,
        };
        for (ids, skipped, problem) in ranks.gather(&(share.ids.clone(), skipped, problem))? {
            whole.ids.extend(ids);
            whole.skipped.extend(skipped);
            whole.problem = whole.problem.or(problem);
        }
        Ok(whole)
    }

    /// Images that it was to have.
    pub fn planned(&self) -> usize {
        self.ids.len() + self.skipped.len()
    }
}
