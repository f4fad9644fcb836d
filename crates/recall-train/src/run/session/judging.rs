//! The evaluations of a run.

use std::time::Instant;

use recall_data::{Dataset, ItemId, Split};
use recall_eval::{Embeddings, Policy, PositiveRanks, Retrieval, Scores};
use recall_report::NEIGHBOURS;

use super::Session;
use crate::RunError;
use crate::embed::{as_they_came, embed_items_over};
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
        // What a head has to beat is what it was given, whatever it starts as.
        let (scores, of) = match self.config().model.backbone.takes_features() {
            true => (self.judge_features(Judged::Test)?, "features as they came"),
            false => (
                self.judge(Judged::Test)?.scores,
                "images before the first step",
            ),
        };
        let evaluation = scores.evaluation();
        self.features = self
            .config()
            .model
            .backbone
            .takes_features()
            .then_some(scores);
        if let Some((metric, value)) = evaluation.values.first() {
            let note = format!("the test {of}: {metric} {value:.4}");
            self.parts.progress.note(&note);
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

    /// The features as they came, judged as the head is.
    pub(super) fn judge_features(&self, split: Judged) -> Result<Scores, RunError> {
        let (ids, chunk) = (self.judged_ids(split), self.config().evaluation.chunk);
        let loader = &self.parts.loaders.eval;
        let (rows, kept) = as_they_came(loader, ids, chunk, |_| self.unless_interrupted())?;
        let set = self.set(split, rows, kept)?;
        let metrics = self.config().evaluation.reported();
        let ranks = self.ranked(&set.retrieval()?)?;
        Ok(Scores::new(&ranks, &metrics, Policy::default())?)
    }

    pub(super) fn judge(&self, split: Judged) -> Result<JudgedModel, RunError> {
        let (set, unread) = self.labelled(split)?;
        let metrics = self.config().evaluation.reported();
        let ranks = self.ranked(&set.retrieval()?)?;
        let scores = Scores::new(&ranks, &metrics, Policy::default())?;
        Ok(JudgedModel {
            set,
            ranks,
            scores,
            unread,
        })
    }

    /// The ranks of the positives, of which each process finds those of its queries.
    fn ranked(&self, retrieval: &Retrieval<'_>) -> Result<PositiveRanks, RunError> {
        let ranks = &self.parts.run.ranks;
        if !ranks.are_several() {
            return Ok(retrieval.ranks()?);
        }
        let queries = ranks.share(retrieval.queries(), 1);
        let found = ranks.gather(&retrieval.ranks_of(queries)?)?;
        Ok(PositiveRanks::joined(found))
    }

    fn judged_ids(&self, split: Judged) -> &[ItemId] {
        match split {
            Judged::Validation => &self.parts.items.validation,
            Judged::Test => &self.parts.items.test,
        }
    }

    /// Of several ranks none stops by itself: they do after the next step.
    fn unless_interrupted(&self) -> Result<(), RunError> {
        let alone = !self.parts.run.ranks.are_several();
        match alone && self.parts.progress.interrupted() {
            true => Err(self.interruption()),
            false => Ok(()),
        }
    }

    fn labelled(&self, split: Judged) -> Result<(LabelledSet, Vec<String>), RunError> {
        let (ids, passes) = (self.judged_ids(split), self.config().passes());
        let (engine, loader) = (&*self.parts.engine, &self.parts.loaders.eval);
        let ranks = &self.parts.run.ranks;
        let (embeddings, kept) = embed_items_over(ranks, engine, loader, ids, &passes, |_| {
            self.unless_interrupted()
        })?;
        let unread = left_out::missing(loader.dataset(), ids, &kept);
        Ok((self.set(split, embeddings, kept)?, unread))
    }

    /// The retrieval problem that the embeddings of a split make.
    fn set(
        &self,
        split: Judged,
        embeddings: Embeddings,
        kept: Vec<ItemId>,
    ) -> Result<LabelledSet, RunError> {
        let dataset = self.parts.loaders.eval.dataset();
        // Training images have no roles, wherever the data set gives them some.
        let are_held_out = dataset.split(Split::Validation).is_empty();
        Ok(match split {
            Judged::Validation if are_held_out => {
                LabelledSet::each_against_rest(dataset, embeddings, kept)
            }
            Judged::Validation | Judged::Test => LabelledSet::new(dataset, embeddings, kept)?,
        })
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
