use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::run::{EvaluationRecord, Progress, StepRecord};

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
}

impl Terminal {
    pub(super) fn new(quiet: bool) -> Self {
        Self {
            quiet,
            bar: None,
            last_line: Instant::now(),
            epochs: 0,
            steps_per_epoch: 0,
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
            Some(bar) if !bar.is_hidden() => bar.println(line),
            _ => eprintln!("{line}"),
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
    fn begin(&mut self, epochs: u64, steps_per_epoch: u64) {
        (self.epochs, self.steps_per_epoch) = (epochs, steps_per_epoch);
        self.start(
            epochs * steps_per_epoch,
            "{prefix} {wide_bar} {pos}/{len} steps  {msg}  {eta_precise} left",
        );
    }

    fn step(&mut self, record: &StepRecord) {
        let speed = record.images as f64 / record.seconds.max(1e-9);
        if let Some(bar) = &self.bar {
            bar.set_prefix(format!("epoch {}/{}", record.epoch + 1, self.epochs));
            bar.set_message(format!("loss {:.4}  {speed:.0} images/s", record.loss));
            bar.set_position(record.step + 1);
        }
        if self.is_plain() && self.last_line.elapsed() >= PLAIN_PAUSE {
            self.last_line = Instant::now();
            eprintln!(
                "epoch {}/{}  step {}/{}  loss {:.4}  {speed:.0} images/s",
                record.epoch + 1,
                self.epochs,
                record.step + 1,
                self.epochs * self.steps_per_epoch,
                record.loss,
            );
        }
    }

    fn evaluated(&mut self, record: &EvaluationRecord) {
        let values: Vec<_> = record
            .evaluation
            .values
            .iter()
            .map(|(metric, value)| format!("{metric} {value:.4}"))
            .collect();
        self.say(&format!(
            "after epoch {}: {}",
            record.epoch,
            values.join("  ")
        ));
    }

    fn note(&mut self, note: &str) {
        self.say(note);
    }

    fn end(&mut self) {
        self.counting_done();
    }
}
