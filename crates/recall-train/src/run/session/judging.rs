//! The evaluations of a run.

use std::sync::Arc;
use std::time::Instant;

use recall_data::{Dataset, Split};
use recall_eval::{Policy, PositiveRanks, Scores};
use recall_report::NEIGHBOURS;

use super::Session;
use crate::RunError;
use crate::embed::embed_items;
use crate::judge::{Hit, LabelledSet, QueryScores};
use crate::records::{BaselineRecord, EvaluationRecord, Judged};
use crate::run::left_out;
use crate::run::selection::Selection;

/// What an evaluation found.
pub(super) struct JudgedModel {
    pub set: LabelledSet,
    pub ranks: PositiveRanks,
    pub scores: Scores,
    /// Files that could not be read.
    unread: Vec<String>,
}

impl Session<'_> {
    /// Judges the model at the end of an epoch: on the validation classes, if there are any, and on the
    /// test images if that is asked for.
    pub(super) fn evaluate_epoch(&mut self) -> Result<(), RunError> {
        let epoch = self.parts.state.epoch;
        if self.config().evaluation.test_during_training && !self.parts.items.test.is_empty() {
            let scores = self.evaluate(Judged::Test, epoch)?.scores;
            self.parts.state.judged(&scores.evaluation());
        }
        if self.parts.items.validation.is_empty() {
            return Ok(());
        }
        let scores = self.evaluate(Judged::Validation, epoch)?.scores;
        let evaluation = scores.evaluation();
        let state = &mut self.parts.state;
        state.judged(&evaluation);
        // What has not been trained is not worth keeping, however good.
        if state.step > 0 {
            let selection = Selection::new(&self.parts.run.config.evaluation);
            state.best = selection.choose(state.best.take(), &evaluation, epoch, state.step);
        }
        Ok(())
    }

    /// Judges the model that training starts with on the test images, unless they are judged all the
    /// time. It chooses nothing; what training comes to is set beside it.
    pub(super) fn judge_baseline(&mut self) -> Result<(), RunError> {
        if self.config().evaluation.test_during_training || self.parts.items.test.is_empty() {
            return Ok(());
        }
        let start = Instant::now();
        let evaluation = self.judge(Judged::Test)?.scores.evaluation();
        if let Some((metric, value)) = evaluation.values.first() {
            self.parts.progress.note(&format!(
                "the test images before the first step: {metric} {value:.4}"
            ));
        }
        self.parts.records.baseline(BaselineRecord {
            evaluation,
            seconds: start.elapsed().as_secs_f64(),
        })
    }

    pub(super) fn evaluate(&mut self, split: Judged, epoch: u64) -> Result<JudgedModel, RunError> {
        let start = Instant::now();
        let judged = self.judge(split)?;
        let record = EvaluationRecord {
            split,
            epoch,
            step: self.parts.state.step,
            evaluation: judged.scores.evaluation(),
            unread: judged.unread.clone(),
            seconds: start.elapsed().as_secs_f64(),
        };
        self.parts.records.evaluation(record.clone())?;
        self.parts.progress.evaluated(&record);
        Ok(judged)
    }

    pub(super) fn judge(&self, split: Judged) -> Result<JudgedModel, RunError> {
        let (set, unread) = self.labelled(split)?;
        let metrics = self.config().evaluation.reported();
        let ranks = set.retrieval()?.ranks()?;
        let scores = Scores::new(&ranks, &metrics, Policy::default())?;
        Ok(JudgedModel {
            set,
            ranks,
            scores,
            unread,
        })
    }

    fn labelled(&self, split: Judged) -> Result<(LabelledSet, Vec<String>), RunError> {
        let config = self.config();
        let ids = match split {
            Judged::Validation => &self.parts.items.validation,
            Judged::Test => &self.parts.items.test,
        };
        let loader = &self.parts.loaders.eval;
        let (embeddings, kept) = embed_items(
            &*self.parts.engine,
            loader,
            ids,
            config.evaluation.chunk,
            |_| match self.parts.progress.interrupted() {
                true => Err(self.interruption()),
                false => Ok(()),
            },
        )?;
        let dataset: &Arc<Dataset> = loader.dataset();
        // Training images have no roles, wherever the data set gives them some.
        let are_held_out = dataset.split(Split::Validation).is_empty();
        let unread = left_out::missing(dataset, ids, &kept);
        let set = match split {
            Judged::Validation if are_held_out => {
                LabelledSet::each_against_rest(dataset, embeddings, kept)
            }
            Judged::Validation | Judged::Test => LabelledSet::new(dataset, embeddings, kept)?,
        };
        Ok((set, unread))
    }
}

impl JudgedModel {
    /// Some queries with their neighbours, to be shown.
    pub fn sample(&self, count: usize) -> Result<Vec<Hit>, RunError> {
        Ok(self.set.sample(&self.ranks, count, NEIGHBOURS)?)
    }

    /// The metrics of each query.
    pub fn queries(self, dataset: &Dataset) -> QueryScores {
        QueryScores::new(self.scores, |query| {
            let item = &dataset.items()[self.set.query_ids()[query]];
            let class = &dataset.class_names()[item.class as usize];
            (item.name.clone(), class.clone())
        })
    }
}
