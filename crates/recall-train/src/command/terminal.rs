use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use recall_data::names;

use super::interrupt;
use super::print::say;
use crate::run::{EvaluationRecord, Judged, Progress, StepRecord};

/// How long plain output stays silent at least, so that a log does not fill with steps.
const PLAIN_PAUSE: Duration = Duration::from_secs(5);

/// Shows how things go: bars on a terminal, now and then a line elsewhere. All on standard error;
/// standard output is for results.
pub(super) struct Terminal {
    quiet: bool,
    bar: Option<ProgressBar>,
    last_line: Instant,
    epochs: u64,
    steps_per_epoch: u64,
    /// The epoch that is shown.
    epoch: String,
}

impl Terminal {
    pub(super) fn new(quiet: bool) -> Self {
        Self {
            quiet,
            bar: None,
            last_line: Instant::now(),
            epochs: 0,
            steps_per_epoch: 0,
            epoch: String::new(),
        }
    }

    pub(super) fn say(&mut self, line: &str) {
        if !self.quiet {
            self.warn(line);
        }
    }

    /// Said even when quiet.
    pub(super) fn warn(&mut self, line: &str) {
        match &self.bar {
            Some(bar) if !bar.is_hidden() => bar.println(names::one_line(line)),
            _ => say(line),
        }
    }

    pub(super) fn count(&mut self, what: &str, total: usize) {
        self.start(
            total as u64,
            "{prefix} {bar:40} {human_pos}/{human_len} images  {eta}",
        );
        if let Some(bar) = &self.bar {
            bar.set_prefix(what.to_owned());
        }
    }

    pub(super) fn counted(&mut self, done: usize) {
        if let Some(bar) = &self.bar {
            bar.set_position(done as u64);
        }
    }

    pub(super) fn counting_done(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn start(&mut self, total: u64, template: &str) {
        let visible = !self.quiet && std::io::stderr().is_terminal();
        let target = match visible {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("━╸ "));
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        self.bar = Some(bar);
    }

    fn is_plain(&self) -> bool {
        !self.quiet && self.bar.as_ref().is_none_or(ProgressBar::is_hidden)
    }
}

impl Progress for Terminal {
    fn begin(&mut self, epochs: u64, steps_per_epoch: u64, done: u64) {
        (self.epochs, self.steps_per_epoch) = (epochs, steps_per_epoch);
        self.start(
            epochs * steps_per_epoch,
            "{prefix} {wide_bar} {pos}/{len} steps  {msg}  {eta_precise} left",
        );
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            // What another process did says nothing about the time that is left.
            bar.reset_eta();
        }
    }

    fn chunk(&mut self, done: usize, total: usize) {
        // Where a batch is a single chunk there is nothing to tell.
        if total > 1
            && let Some(bar) = &self.bar
        {
            bar.set_prefix(format!("{}  chunk {done}/{total}", self.epoch));
        }
    }

    fn step(&mut self, record: &StepRecord) {
        let speed = record.images as f64 / record.seconds.max(1e-9);
        let shown =
            |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.4}"));
        self.epoch = format!("epoch {}/{}", record.epoch + 1, self.epochs);
        let told = format!(
            "loss {}  recall {}  {speed:.0} images/s",
            shown(record.loss),
            shown(record.recall)
        );
        if self.is_plain() && self.last_line.elapsed() >= PLAIN_PAUSE {
            self.last_line = Instant::now();
            say(&format!(
                "{}  step {}/{}  {told}",
                self.epoch,
                record.step + 1,
                self.epochs * self.steps_per_epoch,
            ));
        }
        if let Some(bar) = &self.bar {
            bar.set_prefix(self.epoch.clone());
            bar.set_message(told);
            bar.set_position(record.step + 1);
        }
    }

    fn evaluated(&mut self, record: &EvaluationRecord) {
        let values: Vec<_> = record
            .evaluation
            .values
            .iter()
            .map(|(metric, value)| format!("{metric} {value:.4}"))
            .collect();
        let what = match record.split {
            Judged::Validation => "validation",
            Judged::Test => "test",
        };
        self.say(&format!(
            "{what} after epoch {}: {}",
            record.epoch,
            values.join("  ")
        ));
    }

    fn note(&mut self, note: &str) {
        self.say(note);
    }

    fn warn(&mut self, warning: &str) {
        Terminal::warn(self, warning);
    }

    fn interrupted(&self) -> bool {
        interrupt::requested()
    }

    fn end(&mut self) {
        self.counting_done();
    }
}
