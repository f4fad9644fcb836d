//! The records of a run that goes on: in its folder, for TensorBoard, and in memory for the report.

use std::fs;
use std::path::PathBuf;

use recall_eval::Evaluation;

use super::RunFolder;
use super::tensorboard::EventWriter;
use crate::RunError;
use crate::records::{
    BaselineRecord, EvaluationRecord, Judged, METRICS, Record, RecordFile, StepRecord, read,
};

/// What is known of the run so far. What is added goes to `metrics.jsonl` and to TensorBoard's events at once.
pub(crate) struct Records {
    path: PathBuf,
    /// None in a process that writes nothing.
    out: Option<Out>,
    pub(crate) steps: Vec<StepRecord>,
    pub(crate) evaluations: Vec<EvaluationRecord>,
    pub(crate) baseline: Option<BaselineRecord>,
}

/// Where records go.
struct Out {
    file: RecordFile,
    events: EventWriter,
}

impl Records {
    /// Begins with nothing. What an attempt left that came to no checkpoint is dropped, since it is done
    /// again.
    pub(crate) fn create(folder: &RunFolder) -> Result<Self, RunError> {
        let path = folder.path().join(METRICS);
        let out = match folder.writes() {
            true => {
                let again = path.exists();
                let file = RecordFile::create(&path).map_err(RunError::file("create", &path))?;
                let events = EventWriter::create(folder.path(), again.then_some(0))?;
                Some(Out { file, events })
            }
            false => None,
        };
        Ok(Self {
            path,
            out,
            steps: Vec::new(),
            evaluations: Vec::new(),
            baseline: None,
        })
    }

    /// Goes on after the first `lines` lines: what a run wrote after its last checkpoint is dropped,
    /// since it is done again.
    pub(crate) fn resume(
        folder: &RunFolder,
        lines: usize,
        first_step: u64,
    ) -> Result<Self, RunError> {
        let path = folder.path().join(METRICS);
        let text = fs::read_to_string(&path).map_err(RunError::file("read", &path))?;
        let whole = text
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'));
        let kept: Vec<&str> = whole.take(lines).collect();
        if kept.len() < lines {
            let problem = format!(
                "{METRICS} has {} lines, and had {lines} when the checkpoint was taken",
                kept.len()
            );
            return Err(RunError::Resume {
                path: folder.path().to_owned(),
                problem,
            });
        }
        let kept = kept.concat();
        folder.write(METRICS, kept.as_bytes())?;
        let (mut steps, mut evaluations, mut baseline) = (Vec::new(), Vec::new(), None);
        let known = read(&kept);
        for record in known.map_err(|error| RunError::file("read", &path)(error.source.into()))? {
            match record {
                Record::Step(step) => steps.push(step),
                Record::Evaluation(evaluation) => evaluations.push(evaluation),
                Record::Baseline(judged) => baseline = Some(judged),
                Record::Other => {}
            }
        }
        let out = match folder.writes() {
            true => {
                let file = RecordFile::append(&path, lines);
                let file = file.map_err(RunError::file("write", &path))?;
                let events = EventWriter::create(folder.path(), Some(first_step))?;
                Some(Out { file, events })
            }
            false => None,
        };
        Ok(Self {
            path,
            out,
            steps,
            evaluations,
            baseline,
        })
    }

    /// The evaluations of some images, in the order of epochs.
    pub(crate) fn of(&self, split: Judged) -> impl DoubleEndedIterator<Item = &EvaluationRecord> {
        let evaluations = self.evaluations.iter();
        evaluations.filter(move |record| record.split == split)
    }

    /// What the model of `judged` was before the first step, on the same images, where that was measured.
    pub(crate) fn before(&self, judged: &EvaluationRecord) -> Option<&Evaluation> {
        if let Some(baseline) = &self.baseline {
            return Some(&baseline.evaluation);
        }
        let first = self.of(judged.split).next()?;
        (first.step == 0 && first != judged).then_some(&first.evaluation)
    }

    /// The files that could not be read in steps and evaluations, as often as they were asked for.
    pub(crate) fn unread(&self) -> impl Iterator<Item = &str> {
        let steps = self.steps.iter().flat_map(|step| &step.unread);
        let evaluations = self.evaluations.iter().flat_map(|judged| &judged.unread);
        steps.chain(evaluations).map(String::as_str)
    }

    /// Lines written; none in a process that writes nothing.
    pub(crate) fn lines(&self) -> usize {
        self.out.as_ref().map_or(0, |out| out.file.lines())
    }

    pub(crate) fn step(&mut self, record: StepRecord) -> Result<(), RunError> {
        self.write(Record::Step(record.clone()))?;
        let values = [
            ("train/loss", record.loss),
            ("train/recall", record.recall),
            ("train/gradient_norm", record.gradient_norm),
            ("train/similarity", record.similarity),
            ("train/learning_rate", Some(record.learning_rate)),
            ("train/seconds", Some(record.seconds)),
            ("train/waited_seconds", Some(record.waited_seconds)),
            ("train/exchange_seconds", record.exchange_seconds),
        ];
        let values: Vec<(&str, f64)> = values
            .into_iter()
            .filter_map(|(tag, value)| Some((tag, value?)))
            .collect();
        // As evaluations are: by the steps that were taken then.
        self.scalar(record.step + 1, &values)?;
        self.steps.push(record);
        Ok(())
    }

    pub(crate) fn evaluation(&mut self, record: EvaluationRecord) -> Result<(), RunError> {
        self.write(Record::Evaluation(record.clone()))?;
        let split = record.split;
        let values = record.evaluation.values.iter();
        let values: Vec<(String, f64)> = values
            .map(|(metric, value)| (format!("{split}/{metric}"), *value))
            .collect();
        let values: Vec<(&str, f64)> = values
            .iter()
            .map(|(tag, value)| (tag.as_str(), *value))
            .collect();
        self.scalar(record.step, &values)?;
        self.evaluations.push(record);
        Ok(())
    }

    pub(crate) fn baseline(&mut self, record: BaselineRecord) -> Result<(), RunError> {
        self.write(Record::Baseline(record.clone()))?;
        self.baseline = Some(record);
        Ok(())
    }

    /// Sees to it that all lines are on the disk.
    pub(crate) fn sync(&self) -> Result<(), RunError> {
        let synced = self.out.as_ref().map_or(Ok(()), |out| out.file.sync());
        synced.map_err(RunError::file("write", &self.path))
    }

    fn scalar(&mut self, step: u64, values: &[(&str, f64)]) -> Result<(), RunError> {
        match &mut self.out {
            Some(out) => out.events.scalar(step, values),
            None => Ok(()),
        }
    }

    fn write(&mut self, record: Record) -> Result<(), RunError> {
        let out = self.out.as_mut();
        let written = out.map_or(Ok(()), |out| out.file.write(&record));
        written.map_err(RunError::file("write", &self.path))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use recall_eval::Evaluation;

    use super::*;

    fn step(step: u64) -> StepRecord {
        StepRecord {
            epoch: 0,
            step,
            loss: Some(0.1 + 0.2),
            recall: Some(0.5),
            gradient_norm: None,
            similarity: Some(0.3),
            learning_rate: 1e-3,
            loss_scale: None,
            overflows: None,
            images: 8,
            skipped: 0,
            unread: Vec::new(),
            seconds: 0.25,
            waited_seconds: 0.0,
            exchange_seconds: None,
        }
    }

    fn evaluation() -> EvaluationRecord {
        let values = [(recall_eval::Metric::RecallAt(1), 0.625)];
        EvaluationRecord {
            split: Judged::Validation,
            epoch: 1,
            step: 2,
            evaluation: Evaluation {
                values: values.to_vec(),
                queries: 8,
                without_positives: 1,
                tied: 0,
            },
            unread: Vec::new(),
            seconds: 1.5,
        }
    }

    #[test]
    fn what_came_after_the_checkpoint_is_dropped_and_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let folder = RunFolder::create(Some(&dir.path().join("run")), "x").unwrap();
        let mut records = Records::create(&folder).unwrap();
        let baseline = BaselineRecord {
            evaluation: evaluation().evaluation,
            seconds: 0.5,
        };
        records.baseline(baseline.clone()).unwrap();
        records.step(step(0)).unwrap();
        records.step(step(1)).unwrap();
        records.evaluation(evaluation()).unwrap();
        let lines = records.lines();
        records.step(step(2)).unwrap();
        let straight = fs::read(&records.path).unwrap();
        // A line that was being written when the power went.
        let mut file = fs::File::options()
            .append(true)
            .open(&records.path)
            .unwrap();
        file.write_all(b"{\"kind\":\"st").unwrap();
        drop(records);

        let mut records = Records::resume(&folder, lines, 2).unwrap();
        assert_eq!(records.steps, [step(0), step(1)]);
        assert_eq!(records.evaluations, [evaluation()]);
        assert_eq!(records.baseline, Some(baseline));
        records.step(step(2)).unwrap();
        assert_eq!(fs::read(&records.path).unwrap(), straight);
        assert_eq!(records.lines(), 5);

        let refusal = Records::resume(&folder, 9, 2).err().unwrap().to_string();
        assert!(refusal.contains("5 lines, and had 9"), "{refusal}");
    }
}
