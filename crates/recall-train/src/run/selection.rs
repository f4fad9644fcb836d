//! Which checkpoint of a run is its best.

use recall_eval::{Evaluation, Metric};

use super::checkpoint::Best;
use super::records::Records;
use crate::EvaluationConfig;
use crate::records::Judged;

/// The metrics that choose, on the validation classes: the first one and, where it is equal, map@r,
/// which looks at the ranks of all positives and so tells models apart that recall does not. Where both
/// are equal, the model that was trained for longer is taken: a few classes are separated perfectly long
/// before the model is done with all the others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Selection {
    first: Metric,
}

/// The metric that decides where the first one is equal.
const SECOND: Metric = Metric::MapAtR;

/// What there is to say of a choice.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Remark {
    /// The first metric did not choose.
    Second(String),
    /// Nothing did.
    None(String),
}

impl Selection {
    pub fn new(config: &EvaluationConfig) -> Self {
        Self {
            first: config.selecting(),
        }
    }

    /// What chooses, of the evaluation of a model: by the first metric and by the second.
    fn values(self, evaluation: &Evaluation) -> Option<(f64, Option<f64>)> {
        let real = |metric| evaluation.get(metric).filter(|value| !value.is_nan());
        Some((real(self.first)?, real(SECOND)))
    }

    /// The best checkpoint once a model was judged after `epoch` epochs and `step` steps.
    pub fn choose(
        self,
        best: Option<Best>,
        evaluation: &Evaluation,
        epoch: u64,
        step: u64,
    ) -> Option<Best> {
        let Some((value, map_at_r)) = self.values(evaluation) else {
            return best;
        };
        let now = Best {
            epoch,
            step,
            value,
            map_at_r,
        };
        match best {
            Some(best) if worse(&now, &best) => Some(best),
            _ => Some(now),
        }
    }

    /// Why `best` was chosen, in half a sentence.
    pub fn reason(self, records: &Records, best: &Best) -> String {
        let judged = records.of(Judged::Validation);
        let equal: Vec<Option<f64>> = judged
            .filter(|record| record.step > 0)
            .filter_map(|record| self.values(&record.evaluation))
            .filter(|(value, _)| same(*value, best.value))
            .map(|(_, second)| second)
            .collect();
        let (first, percent) = (self.first, 100.0 * best.value);
        let highest = format!("{first} on the validation classes was highest then, {percent:.1} %");
        let count = equal.len();
        if count < 2 {
            return highest;
        }
        let rivals = equal.iter().filter(|second| alike(**second, best.map_at_r));
        let why = match first != SECOND && rivals.count() == 1 {
            true => format!("{SECOND} was highest here"),
            false => "this one was trained for longest".to_owned(),
        };
        format!("{highest}, as it was {count} times, and of these {why}")
    }

    /// What there is to say once the run is over: whether what was judged differs by what chooses.
    pub fn remark(self, records: &Records) -> Option<Remark> {
        let judged = records.of(Judged::Validation);
        let judged: Vec<_> = judged
            .filter(|record| record.step > 0)
            .filter_map(|record| self.values(&record.evaluation))
            .collect();
        let [(value, map_at_r), others @ ..] = &judged[..] else {
            return None;
        };
        if others.is_empty() || others.iter().any(|other| !same(other.0, *value)) {
            return None;
        }
        let first = self.first;
        let same = format!("{first} on the validation classes is {value:.4} after each of them");
        let count = judged.len();
        if first != SECOND && others.iter().any(|other| !alike(other.1, *map_at_r)) {
            return Some(Remark::Second(format!(
                "of {count} evaluations {SECOND} chose: {same}"
            )));
        }
        let second = match (first == SECOND, map_at_r) {
            (false, Some(value)) => format!(", and so is {SECOND}, {value:.4}"),
            _ => String::new(),
        };
        Some(Remark::None(format!(
            "validation could not choose between {count} evaluations: {same}{second}; the model that was \
             trained for longest is the result. A larger evaluation.validation holds out more classes"
        )))
    }
}

/// Whether `now` is worse than `best` by the first of the metrics in which they differ. Where map@r was
/// not written down it decides nothing.
fn worse(now: &Best, best: &Best) -> bool {
    if !same(now.value, best.value) {
        return now.value < best.value;
    }
    match (now.map_at_r, best.map_at_r) {
        (Some(now), Some(best)) => now < best && !same(now, best),
        _ => false,
    }
}

/// Whether two values of a metric are equal: one that was read from a file may be off in its last digit.
fn same(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-12
}

fn alike(a: Option<f64>, b: Option<f64>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => same(a, b),
        (a, b) => a.is_none() && b.is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{EvaluationRecord, RunFolder};
    use super::*;

    const RECALL: Metric = Metric::RecallAt(1);

    fn evaluation(recall: f64, map_at_r: f64) -> Evaluation {
        Evaluation {
            values: vec![(RECALL, recall), (SECOND, map_at_r)],
            queries: 8,
            without_positives: 0,
            tied: 0,
        }
    }

    /// The epoch that is chosen where recall@1 and map@r come out like this after the epochs from 1.
    fn chosen(selection: Selection, values: &[(f64, f64)]) -> Option<u64> {
        let mut best = None;
        for (epoch, &(recall, map_at_r)) in (1..).zip(values) {
            best = selection.choose(best, &evaluation(recall, map_at_r), epoch, 10 * epoch);
        }
        best.map(|best| best.epoch)
    }

    #[test]
    fn recall_chooses_then_map_at_r_then_the_longer_training() {
        let by_recall = Selection { first: RECALL };
        for (values, epoch) in [
            (&[(0.5, 0.9), (0.6, 0.1), (0.4, 1.0)][..], 2),
            // Two classes, told apart from the start.
            (&[(1.0, 0.7), (1.0, 0.9), (1.0, 0.8)], 2),
            (&[(1.0, 1.0), (1.0, 1.0), (1.0, 1.0)], 3),
            (&[(0.9, 0.9), (1.0, 0.8), (1.0, 0.8), (0.9, 1.0)], 3),
            // The last digit may be lost in a file that a resumed run reads.
            (&[(0.5, 0.3), (0.5 - 1e-16, 0.4), (0.5, 0.4 - 1e-16)], 3),
            (&[(f64::NAN, 1.0), (0.2, 0.1)], 2),
            (&[(0.2, 0.1), (f64::NAN, 1.0)], 1),
        ] {
            assert_eq!(chosen(by_recall, values), Some(epoch), "{values:?}");
        }
        assert_eq!(chosen(by_recall, &[(f64::NAN, 1.0)]), None);
        let by_map = Selection { first: SECOND };
        assert_eq!(chosen(by_map, &[(0.9, 0.5), (0.1, 0.6)]), Some(2));
        assert_eq!(chosen(by_map, &[(0.9, 0.5), (0.1, 0.5)]), Some(2));
    }

    #[test]
    fn a_best_without_map_at_r_is_read_and_goes_on() {
        let old: Best = serde_json::from_str(r#"{"epoch":5,"step":50,"value":0.5}"#).unwrap();
        assert_eq!(old.map_at_r, None);
        let by_recall = Selection { first: RECALL };
        let next = |recall| {
            let best = by_recall.choose(Some(old.clone()), &evaluation(recall, 0.1), 6, 60);
            best.unwrap().epoch
        };
        assert_eq!((next(0.4), next(0.5), next(0.6)), (5, 6, 6));
    }

    #[test]
    fn it_is_said_where_validation_cannot_choose() {
        let dir = tempfile::tempdir().unwrap();
        let remark = |name: &str, first, values: &[(f64, f64)]| {
            let folder = RunFolder::create(Some(&dir.path().join(name)), "x").unwrap();
            let mut records = Records::create(&folder).unwrap();
            for (epoch, &(recall, map_at_r)) in (0..).zip(values) {
                let record = EvaluationRecord {
                    split: Judged::Validation,
                    epoch,
                    step: 10 * epoch,
                    evaluation: evaluation(recall, map_at_r),
                    unread: Vec::new(),
                    seconds: 0.0,
                };
                records.evaluation(record).unwrap();
            }
            Selection { first }.remark(&records)
        };
        // The untrained model does not count.
        let tied = [(0.2, 0.1), (1.0, 1.0), (1.0, 1.0)];
        let Some(Remark::None(text)) = remark("tied", RECALL, &tied) else {
            panic!();
        };
        assert_eq!(
            text,
            "validation could not choose between 2 evaluations: recall@1 on the validation classes is \
             1.0000 after each of them, and so is map@r, 1.0000; the model that was trained for longest \
             is the result. A larger evaluation.validation holds out more classes"
        );
        let second = [(0.2, 0.1), (1.0, 0.5), (1.0, 0.7)];
        let Some(Remark::Second(text)) = remark("second", RECALL, &second) else {
            panic!();
        };
        assert_eq!(
            text,
            "of 2 evaluations map@r chose: recall@1 on the validation classes is 1.0000 after each of them"
        );
        let by_map = [(0.2, 0.1), (0.3, 0.5), (0.4, 0.5)];
        assert!(matches!(
            remark("by-map", SECOND, &by_map),
            Some(Remark::None(_))
        ));
        assert_eq!(
            remark("differ", RECALL, &[(0.1, 0.1), (0.2, 0.1), (0.3, 0.1)]),
            None
        );
        assert_eq!(remark("single", RECALL, &[(0.1, 0.1), (0.2, 0.1)]), None);
    }

    #[test]
    fn a_choice_has_a_reason() {
        let selection = Selection { first: RECALL };
        for (values, end) in [
            (&[(0.5, 0.3), (0.75, 0.4)][..], "was highest then, 75.0 %"),
            (
                &[(1.0, 0.3), (1.0, 0.4), (1.0, 0.2)],
                "100.0 %, as it was 3 times, and of these map@r was highest here",
            ),
            (
                &[(1.0, 0.4), (1.0, 0.4)],
                "100.0 %, as it was 2 times, and of these this one was trained for longest",
            ),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let folder = RunFolder::create(Some(&dir.path().join("run")), "x").unwrap();
            let mut records = Records::create(&folder).unwrap();
            let mut best = None;
            for (epoch, &(recall, map_at_r)) in (1..).zip(values) {
                let evaluation = evaluation(recall, map_at_r);
                best = selection.choose(best, &evaluation, epoch, epoch);
                let record = EvaluationRecord {
                    split: Judged::Validation,
                    epoch,
                    step: epoch,
                    evaluation,
                    unread: Vec::new(),
                    seconds: 0.0,
                };
                records.evaluation(record).unwrap();
            }
            let reason = selection.reason(&records, &best.unwrap());
            assert!(
                reason.starts_with("recall@1 on the validation classes"),
                "{reason}"
            );
            assert!(reason.ends_with(end), "{reason}");
        }
    }
}
