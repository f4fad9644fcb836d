//! What the runs of a claim come to, cell by cell.

use anyhow::Result;

use super::declared::{Claim, Judge, Line, Study};
use super::job::Cell;
use super::results::{Outcome, Results};
use super::statistics::{Difference, Mean, paired};
use super::{Stage, select};

/// A line at a place.
pub struct Summary<'a> {
    pub cell: Cell<'a>,
    /// Of a search, what it changed.
    pub changed: Vec<String>,
    /// The reported runs that are there and did not fail.
    pub runs: Vec<&'a Outcome>,
    /// Reported runs that are not there yet.
    pub missing: usize,
    /// Why there is nothing to report, or why some runs are missing.
    pub failed: Option<String>,
}

impl<'a> Summary<'a> {
    /// Of each cell of a claim.
    pub fn all(
        study: &'a Study,
        claim: &'a Claim,
        results: &'a Results,
        quick: bool,
    ) -> Result<Vec<Self>> {
        (study.cells(claim, quick).into_iter())
            .map(|cell| Self::of(cell, results))
            .collect()
    }

    fn of(cell: Cell<'a>, results: &'a Results) -> Result<Self> {
        let draws: Vec<&Outcome> = (cell.draws().iter())
            .filter_map(|job| results.get(&job.id))
            .collect();
        let (jobs, changed) = match Stage::of(&cell, results)? {
            Stage::Found(jobs) => {
                let best = select::best(&draws)?;
                let changed = best.map_or_else(Vec::new, |best| {
                    cell.changed(&best.job.settings)
                        .into_iter()
                        .cloned()
                        .collect()
                });
                (jobs, changed)
            }
            Stage::Searching(_) | Stage::NothingFound => (Vec::new(), Vec::new()),
        };
        let wanted = if draws.len() == cell.claim.draws && jobs.is_empty() {
            0
        } else {
            cell.claim.seeds.len()
        };
        let there: Vec<&Outcome> = jobs.iter().filter_map(|job| results.get(&job.id)).collect();
        let failed = (there.iter().chain(&draws)).find_map(|outcome| outcome.failed.clone());
        let all_failed = !draws.is_empty() && draws.iter().all(|draw| draw.failed.is_some());
        Ok(Self {
            missing: wanted - there.len(),
            failed: failed.filter(|_| all_failed || there.iter().any(|run| run.failed.is_some())),
            runs: there
                .into_iter()
                .filter(|run| run.failed.is_none())
                .collect(),
            changed,
            cell,
        })
    }

    pub fn line(&self) -> &'a Line {
        self.cell.line
    }

    /// Values of a metric, a seed each.
    pub fn values(&self, metric: &str) -> Vec<f64> {
        (self.runs.iter())
            .filter_map(|run| run.metrics.get(metric).copied())
            .collect()
    }

    pub fn mean(&self, metric: &str) -> Option<Mean> {
        Mean::of(&self.values(metric))
    }

    /// How much better it finds the first neighbour than `first` does; none where there are no queries to
    /// compare by.
    pub fn against(&self, first: &Self) -> Result<Option<Difference>> {
        if self.cell.claim.judge == Judge::Validation
            || self.runs.is_empty()
            || first.runs.is_empty()
        {
            return Ok(None);
        }
        paired(&first.hits()?, &self.hits()?).map(Some)
    }

    fn hits(&self) -> Result<Vec<Vec<f64>>> {
        (self.runs.iter())
            .filter_map(|run| run.hits.as_ref())
            .map(|hits| hits.values())
            .collect()
    }

    /// The mean of something over runs.
    pub fn average(&self, of: impl Fn(&Outcome) -> f64) -> Option<f64> {
        Mean::of(&self.runs.iter().map(|run| of(run)).collect::<Vec<_>>()).map(|mean| mean.mean)
    }
}
