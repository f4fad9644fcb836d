use recall_data::Dataset;

use super::{EvaluationRecord, StepRecord};

/// Is told how a run goes, to show it, and asked whether it should go on.
pub trait Progress {
    /// The run begins, `done` steps of it having been taken before.
    fn begin(&mut self, epochs: u64, steps_per_epoch: u64, done: u64);
    /// `done` of `total` passes over a chunk of the current step are done.
    fn chunk(&mut self, done: usize, total: usize) {
        let _ = (done, total);
    }
    /// A step is done.
    fn step(&mut self, record: &StepRecord);
    /// An evaluation is done.
    fn evaluated(&mut self, record: &EvaluationRecord);
    /// `done` of `total` images went through something that takes long, such as a frozen backbone.
    fn counting(&mut self, what: &str, done: usize, total: usize) {
        let _ = (what, done, total);
    }
    /// Something worth a line.
    fn note(&mut self, note: &str);
    /// What the reader of a data set has to say.
    fn notes(&mut self, dataset: &Dataset) {
        for note in dataset.notes() {
            match note.is_warning() {
                true => self.warn(note.message()),
                false => self.note(note.message()),
            }
        }
    }
    /// Something that should not be missed.
    fn warn(&mut self, warning: &str) {
        self.note(warning);
    }
    /// The run is over.
    fn end(&mut self);
    /// Whether the run should save itself and stop; asked after each step and while it evaluates.
    fn interrupted(&self) -> bool {
        false
    }
}

/// Shows nothing.
impl Progress for () {
    fn begin(&mut self, _epochs: u64, _steps_per_epoch: u64, _done: u64) {}
    fn step(&mut self, _record: &StepRecord) {}
    fn evaluated(&mut self, _record: &EvaluationRecord) {}
    fn note(&mut self, _note: &str) {}
    fn end(&mut self) {}
}
