use std::fmt;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use recall_eval::Evaluation;
use serde::{Deserialize, Serialize};

use super::RunFolder;
use super::tensorboard::EventWriter;
use crate::RunError;

/// What is known of a training step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The epoch, from 0.
    pub epoch: u64,
    /// The step of the run, from 0.
    pub step: u64,
    /// The loss before the step; none if it is not finite.
    pub loss: Option<f64>,
    /// The mean soft recall of the real images of the batch, over all k of the loss: what the loss
    /// makes great, without virtual items.
    pub recall: Option<f64>,
    /// The length of the gradient, all parameters together, before it is cut.
    pub gradient_norm: Option<f64>,
    /// The mean similarity of any two images of the batch, each with itself included: 1 if the model
    /// tells none from another.
    pub similarity: Option<f64>,
    /// The learning rate of the step; 0 if it was left out because it was not finite.
    pub learning_rate: f64,
    /// Images in the batch; 0 if the step was left out because too few of them could be read.
    pub images: usize,
    /// Images of the batch that could not be read and were skipped.
    pub skipped: usize,
    /// The files of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<String>,
    /// Wall-clock time since the step before, waiting for images included.
    pub seconds: f64,
}

/// What is known of an evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvaluationRecord {
    /// What was judged.
    pub split: Judged,
    /// Epochs trained until then.
    pub epoch: u64,
    /// Steps taken until then.
    pub step: u64,
    /// The metrics.
    #[serde(flatten)]
    pub evaluation: Evaluation,
    /// The files of the images that could not be read and were skipped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<String>,
    /// Wall-clock time of the evaluation.
    pub seconds: f64,
}

/// What the model that training starts with makes of the test images: what training adds is judged by
/// it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BaselineRecord {
    /// The metrics.
    #[serde(flatten)]
    pub evaluation: Evaluation,
    /// Wall-clock time of the evaluation.
    pub seconds: f64,
}

/// The images that an evaluation judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Judged {
    /// The data set's own validation images, or those of the classes held out of training.
    Validation,
    /// The test split.
    Test,
}

impl fmt::Display for Judged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Validation => "validation",
            Self::Test => "test",
        })
    }
}

/// `metrics.jsonl`, a line a record; the same for TensorBoard, and in memory for the report.
pub(crate) struct Records {
    path: PathBuf,
    file: File,
    events: EventWriter,
    lines: usize,
    pub(crate) steps: Vec<StepRecord>,
    pub(crate) evaluations: Vec<EvaluationRecord>,
    pub(crate) baseline: Option<BaselineRecord>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Record {
    Step(StepRecord),
    Evaluation(EvaluationRecord),
    Baseline(BaselineRecord),
}

/// The name of the file in the folder of a run.
pub(crate) const METRICS: &str = "metrics.jsonl";

impl Records {
    /// Begins with nothing. What an attempt left that came to no checkpoint is dropped, since it is done
    /// again.
    pub(crate) fn create(folder: &RunFolder) -> Result<Self, RunError> {
        let path = folder.path().join(METRICS);
        let again = path.exists();
        let file = File::create(&path).map_err(RunError::file("create", &path))?;
        Ok(Self {
            path,
            file,
            events: EventWriter::create(folder.path(), again.then_some(0))?,
            lines: 0,
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
        folder.write(METRICS, kept.concat().as_bytes())?;
        let (mut steps, mut evaluations, mut baseline) = (Vec::new(), Vec::new(), None);
        for record in parse(&path, &kept)? {
            match record {
                Record::Step(step) => steps.push(step),
                Record::Evaluation(evaluation) => evaluations.push(evaluation),
                Record::Baseline(judged) => baseline = Some(judged),
            }
        }
        let file = File::options()
            .append(true)
            .open(&path)
            .map_err(RunError::file("write", &path))?;
        Ok(Self {
            path,
            file,
            events: EventWriter::create(folder.path(), Some(first_step))?,
            lines,
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

    /// The files that could not be read in steps and evaluations, as often as they were asked for.
    pub(crate) fn unread(&self) -> impl Iterator<Item = &str> {
        let steps = self.steps.iter().flat_map(|step| &step.unread);
        let evaluations = self.evaluations.iter().flat_map(|judged| &judged.unread);
        steps.chain(evaluations).map(String::as_str)
    }

    /// Lines written.
    pub(crate) fn lines(&self) -> usize {
        self.lines
    }

    pub(crate) fn step(&mut self, record: StepRecord) -> Result<(), RunError> {
        self.line(&Record::Step(record.clone()))?;
        let values = [
            ("train/loss", record.loss),
            ("train/recall", record.recall),
            ("train/gradient_norm", record.gradient_norm),
            ("train/similarity", record.similarity),
            ("train/learning_rate", Some(record.learning_rate)),
            ("train/seconds", Some(record.seconds)),
        ];
        let values: Vec<(&str, f64)> = values
            .into_iter()
            .filter_map(|(tag, value)| Some((tag, value?)))
            .collect();
        // As evaluations are: by the steps that were taken then.
        self.events.scalar(record.step + 1, &values)?;
        self.steps.push(record);
        Ok(())
    }

    pub(crate) fn evaluation(&mut self, record: EvaluationRecord) -> Result<(), RunError> {
        self.line(&Record::Evaluation(record.clone()))?;
        let split = match record.split {
            Judged::Validation => "validation",
            Judged::Test => "test",
        };
        let values = record.evaluation.values.iter();
        let values: Vec<(String, f64)> = values
            .map(|(metric, value)| (format!("{split}/{metric}"), *value))
            .collect();
        let values: Vec<(&str, f64)> = values
            .iter()
            .map(|(tag, value)| (tag.as_str(), *value))
            .collect();
        self.events.scalar(record.step, &values)?;
        self.evaluations.push(record);
        Ok(())
    }

    pub(crate) fn baseline(&mut self, record: BaselineRecord) -> Result<(), RunError> {
        self.line(&Record::Baseline(record.clone()))?;
        self.baseline = Some(record);
        Ok(())
    }

    /// Sees to it that all lines are on the disk.
    pub(crate) fn sync(&self) -> Result<(), RunError> {
        self.file
            .sync_data()
            .map_err(RunError::file("write", &self.path))
    }

    /// A line at once: a run that is killed leaves whole lines, and `tail -f` shows them.
    fn line(&mut self, record: &Record) -> Result<(), RunError> {
        let mut line = serde_json::to_vec(record)
            .map_err(|error| RunError::file("write", &self.path)(error.into()))?;
        line.push(b'\n');
        self.file
            .write_all(&line)
            .map_err(RunError::file("write", &self.path))?;
        self.lines += 1;
        Ok(())
    }
}

/// The records of some lines of the file `path`.
fn parse(path: &Path, lines: &[&str]) -> Result<Vec<Record>, RunError> {
    let record = |line: &&str| {
        serde_json::from_str(line).map_err(|error| RunError::file("read", path)(error.into()))
    };
    lines.iter().map(record).collect()
}

#[cfg(test)]
mod tests {
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
            images: 8,
            skipped: 0,
            unread: Vec::new(),
            seconds: 0.25,
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
        records.file.write_all(b"{\"kind\":\"st").unwrap();
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
