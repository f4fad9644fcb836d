//! The end of a run: the result, judged, and its report.

use std::path::PathBuf;

use recall_eval::{Bootstrap, Comparison, Units};

use super::Session;
use crate::RunError;
use crate::judge::QUERIES;
use crate::records::{Judged, StepRecord};
use crate::run::checkpoint::{Checkpoint, CheckpointState};
use crate::run::images::Items;
use crate::run::peers::Groups;
use crate::run::report::{self, Outcome};
use crate::run::selection::{Remark, Selection};
use crate::run::{Finished, health, left_out};

/// The share of the time above which waiting for images is worth a word, in a run of more than
/// [`LONG_RUN`] seconds: the first batch is always waited for.
const MUCH_WAITING: f64 = 0.2;
const LONG_RUN: f64 = 60.0;

/// The page that a run ends with.
const REPORT: &str = "report.html";

/// How many steps overflowed f16, and what the scale of the loss has come to; none of a run in another precision.
fn overflows(steps: &[StepRecord]) -> Option<String> {
    let last = steps.iter().rfind(|step| step.loss_scale.is_some())?;
    let (count, scale) = (last.overflows.unwrap_or(0), last.loss_scale?);
    let steps = match count {
        0 => "no step was".to_owned(),
        1 => "1 step was".to_owned(),
        many => format!("{many} steps were"),
    };
    Some(format!(
        "{steps} left out because gradients overflowed f16; the last one had a loss scale of {scale}"
    ))
}

impl Session<'_> {
    /// Judges the result, on the test images if there are some, and writes the report.
    pub(super) fn finish(mut self) -> Result<Finished, RunError> {
        let CheckpointState { epoch, best, .. } = self.parts.state.clone();
        match Selection::new(&self.config().evaluation).remark(&self.parts.records) {
            Some(Remark::Second(note)) => self.parts.progress.note(&note),
            Some(Remark::None(warning)) => self.parts.progress.warn(&warning),
            None => {}
        }
        let chosen = self.parts.checkpoints.chosen(&self.parts.state);
        let epoch = match best {
            Some(best) => {
                let checkpoint = Checkpoint::open(&chosen)?;
                self.parts.engine.load_judged(&checkpoint.weights_file())?;
                best.epoch
            }
            None => epoch,
        };
        let judged = match (&self.parts.items.test[..], &self.parts.items.validation[..]) {
            ([_, ..], _) => Some(self.evaluate(Judged::Test, epoch)?),
            // It was judged by them when it was chosen; the page wants neighbours as well.
            ([], [_, ..]) => Some(self.judge(Judged::Validation)?),
            ([], []) => None,
        };
        let comparison = match &judged {
            Some(judged) if self.config().model.backbone.takes_features() => {
                let before = match (&self.features, self.parts.items.test.is_empty()) {
                    (Some(before), false) => before.clone(),
                    (_, false) => self.judge_features(Judged::Test)?,
                    (_, true) => self.judge_features(Judged::Validation)?,
                };
                Some(Bootstrap::default().compare(&before, &judged.scores, Units::Queries)?)
            }
            _ => None,
        };
        self.look_at_memory();
        if !self.parts.run.ranks.leads() {
            return self.follow(chosen, epoch, comparison);
        }
        let parts = &self.parts;
        let validation = parts
            .records
            .of(Judged::Validation)
            .find(|record| record.epoch == epoch);
        let (result, validation) = match parts.items.test.is_empty() {
            true => (validation, None),
            false => (parts.records.of(Judged::Test).next_back(), validation),
        };
        let dataset = parts.loaders.eval.dataset();
        let (intervals, similarities, hits) = match &judged {
            Some(judged) => (
                Bootstrap::default().intervals(&judged.scores, Units::Queries)?,
                judged.set.similarities()?,
                judged.sample(self.config().evaluation.gallery)?,
            ),
            None => Default::default(),
        };
        let Items {
            validation: held_out,
            test,
            ..
        } = &parts.items;
        let groups = validation.and_then(|_| Groups::deal(dataset, test, held_out));
        let peers = match (&judged, groups) {
            (Some(judged), Some(groups)) => {
                let metrics = self.config().evaluation.reported();
                let evaluation = groups.evaluate(&judged.set, &metrics)?;
                Some((groups, evaluation))
            }
            _ => None,
        };
        let report = report::fill(&Outcome {
            run: parts.run,
            dataset,
            epoch,
            best: parts.state.best.as_ref(),
            peers,
            backend: parts.engine.device().name(),
            parameters: parts.engine.parameters(),
            training_seconds: parts.state.training_seconds,
            peak_memory: parts.state.peak_memory,
            records: &parts.records,
            intervals,
            result,
            validation: validation.map(|record| &record.evaluation),
            similarities,
            hits,
            comparison: comparison.as_deref(),
        })?;
        let takes_features = self.config().model.backbone.takes_features();
        let of = match takes_features && parts.records.baseline.is_some() {
            true => "of the features as they came",
            false => "before the first step",
        };
        let before = result.and_then(|result| Some((parts.records.before(result)?, result)));
        let worse = before.and_then(|(before, now)| health::worse(before, of, &now.evaluation));
        let result = result.cloned();
        if let Some(judged) = judged {
            let queries = judged.queries(dataset).to_csv();
            let queries = queries.map_err(RunError::file("write", QUERIES))?;
            parts.folder.write(QUERIES, &queries)?;
        }
        let page = report.render()?;
        let report = parts.folder.write(REPORT, page.as_bytes())?;
        let CheckpointState {
            training_seconds,
            peak_memory,
            ..
        } = parts.state;
        self.parts.progress.end();
        if let Some(told) = worse {
            self.parts.progress.warn(&told);
        }
        if let Some(told) = left_out::sentence(self.parts.records.unread()) {
            self.parts.progress.warn(&told);
        }
        let steps = self.parts.records.steps.iter();
        match steps.filter(|step| step.images == 0).count() {
            0 => {}
            1 => self
                .parts
                .progress
                .warn("1 step was left out: too few of its images could be read"),
            many => self.parts.progress.warn(&format!(
                "{many} steps were left out: too few of their images could be read"
            )),
        }
        if let Some(told) = overflows(&self.parts.records.steps) {
            self.parts.progress.note(&told);
        }
        let sum = |seconds: fn(&StepRecord) -> f64| -> f64 {
            self.parts.records.steps.iter().map(seconds).sum()
        };
        let (waited, spent) = (sum(|step| step.waited_seconds), sum(|step| step.seconds));
        if spent > LONG_RUN && waited > MUCH_WAITING * spent {
            self.parts.progress.warn(&format!(
                "training waited for images {:.0} % of its time: `image.cache` keeps large ones resized",
                100.0 * waited / spent
            ));
        }
        let exchanged = sum(|step| step.exchange_seconds.unwrap_or(0.0));
        if spent > LONG_RUN && exchanged > MUCH_WAITING * spent {
            self.parts.progress.warn(&format!(
                "rank 0 spent {:.0} % of the steps on exchanges with the other ranks, or waiting for the slowest",
                100.0 * exchanged / spent
            ));
        }
        self.parts.run.ranks.wait()?;
        Ok(Finished {
            result,
            epoch,
            report,
            checkpoint: chosen,
            training_seconds,
            peak_memory,
            comparison,
        })
    }

    /// The end on a rank that writes nothing, once the one that does is done.
    fn follow(
        self,
        checkpoint: PathBuf,
        epoch: u64,
        comparison: Option<Vec<Comparison>>,
    ) -> Result<Finished, RunError> {
        let parts = &self.parts;
        let of = match parts.items.test.is_empty() {
            true => Judged::Validation,
            false => Judged::Test,
        };
        let mut judged = parts.records.of(of);
        let result = judged.rfind(|record| record.epoch == epoch).cloned();
        parts.run.ranks.wait()?;
        Ok(Finished {
            result,
            epoch,
            report: parts.folder.path().join(REPORT),
            checkpoint,
            training_seconds: parts.state.training_seconds,
            peak_memory: parts.state.peak_memory,
            comparison,
        })
    }
}
