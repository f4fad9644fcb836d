//! `metrics.jsonl`: a record a line, as JSON.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use super::Record;

/// The name of the file in the folder of a run.
pub(crate) const METRICS: &str = "metrics.jsonl";

/// What every line of a step holds, and no other.
const STEP: &str = r#""kind":"step""#;

/// The file while a run writes to it.
pub(crate) struct RecordFile {
    file: File,
    lines: usize,
}

/// A line that is no record.
#[derive(Debug)]
pub(crate) struct NoRecord {
    /// The line, from 1.
    pub line: usize,
    /// Why.
    pub source: serde_json::Error,
}

impl RecordFile {
    /// An empty file at `path`; what is there is dropped.
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: File::create(path)?,
            lines: 0,
        })
    }

    /// Goes on behind the `lines` lines that the file at `path` has.
    pub(crate) fn append(path: &Path, lines: usize) -> io::Result<Self> {
        Ok(Self {
            file: File::options().append(true).open(path)?,
            lines,
        })
    }

    /// Writes a line at once: a run that is killed leaves whole lines, and `tail -f` shows them.
    pub(crate) fn write(&mut self, record: &Record) -> io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.lines += 1;
        Ok(())
    }

    /// Lines in the file.
    pub(crate) fn lines(&self) -> usize {
        self.lines
    }

    /// Sees to it that all lines are on the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// The records of some lines.
pub(crate) fn read(text: &str) -> Result<Vec<Record>, NoRecord> {
    let record = |(at, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|source| NoRecord {
            line: at + 1,
            source,
        })
    };
    text.lines().enumerate().map(record).collect()
}

/// Whether a step is among some lines, the last of which may be cut off.
pub(crate) fn has_step(text: &str) -> bool {
    text.contains(STEP)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use recall_eval::{Evaluation, Metric};

    use super::super::{BaselineRecord, EvaluationRecord, Judged, StepRecord};
    use super::*;

    fn step() -> StepRecord {
        StepRecord {
            epoch: 1,
            step: 3,
            loss: Some(0.1 + 0.2),
            recall: Some(0.5),
            gradient_norm: None,
            similarity: Some(0.3),
            learning_rate: 1e-3,
            loss_scale: None,
            overflows: None,
            images: 7,
            skipped: 1,
            unread: vec!["a \"b\".png".to_owned()],
            seconds: 0.25,
            waited_seconds: 0.125,
            exchange_seconds: None,
        }
    }

    fn evaluation() -> Evaluation {
        Evaluation {
            // Not in the order of their names.
            values: vec![(Metric::RecallAt(10), 0.625), (Metric::RecallAt(2), 0.5)],
            queries: 8,
            without_positives: 1,
            tied: 2,
        }
    }

    fn records() -> [Record; 3] {
        [
            Record::Baseline(BaselineRecord {
                evaluation: evaluation(),
                seconds: 0.5,
            }),
            Record::Step(step()),
            Record::Evaluation(EvaluationRecord {
                split: Judged::Validation,
                epoch: 2,
                step: 4,
                evaluation: evaluation(),
                unread: Vec::new(),
                seconds: 1.5,
            }),
        ]
    }

    const LINES: &str = r#"{"kind":"baseline","recall@10":0.625,"recall@2":0.5,"queries":8,"without_positives":1,"tied":2,"seconds":0.5}
{"kind":"step","epoch":1,"step":3,"loss":0.30000000000000004,"recall":0.5,"gradient_norm":null,"similarity":0.3,"learning_rate":0.001,"images":7,"skipped":1,"unread":["a \"b\".png"],"seconds":0.25,"waited_seconds":0.125}
{"kind":"evaluation","split":"validation","epoch":2,"step":4,"recall@10":0.625,"recall@2":0.5,"queries":8,"without_positives":1,"tied":2,"seconds":1.5}
"#;

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(METRICS);
        let [baseline, step, evaluation] = records();
        let mut file = RecordFile::create(&path).unwrap();
        file.write(&baseline).unwrap();
        file.write(&step).unwrap();
        file.sync().unwrap();
        let mut file = RecordFile::append(&path, file.lines()).unwrap();
        file.write(&evaluation).unwrap();
        assert_eq!(file.lines(), 3);
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, LINES);
        assert_eq!(read(&text).unwrap(), records());
        assert!(file.write(&Record::Other).is_err());
    }

    #[test]
    fn lines_of_other_versions_are_read() {
        let text = r#"{"kind":"step","epoch":0,"step":1,"loss":null}
{"kind":"note","text":"something else"}
{"kind":"evaluation","epoch":3,"recall@1":0.25,"mood":"good","mrr":null,"queries":40,"seconds":1}
"#;
        let read = read(text).unwrap();
        let [
            Record::Step(step),
            Record::Other,
            Record::Evaluation(judged),
        ] = &read[..]
        else {
            panic!("{read:?}");
        };
        assert_eq!((step.step, step.loss, step.images), (1, None, 0));
        assert_eq!((judged.split, judged.epoch), (Judged::Test, 3));
        assert_eq!(judged.evaluation.values, [(Metric::RecallAt(1), 0.25)]);
        assert_eq!(judged.evaluation.queries, 40);
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        for wrong in [
            "nonsense",
            r#"{"kind":"step"}"#,
            r#"{"kind":"evaluation"}"#,
            r#"{"step":1}"#,
        ] {
            let error = read(&format!("{LINES}{wrong}\n")).unwrap_err();
            assert_eq!(error.line, 4, "{wrong}: {error:?}");
        }
    }

    #[test]
    fn steps_are_found_in_lines_that_are_cut_off() {
        let [baseline, step, evaluation] = LINES.split_inclusive('\n').collect::<Vec<_>>()[..]
        else {
            panic!();
        };
        assert!(has_step(step) && has_step(&step[..30]) && has_step(LINES));
        assert!(!has_step(baseline) && !has_step(evaluation) && !has_step(""));
    }
}
