use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{FormattedDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};
use recall_data::names;

use super::interrupt;
use super::print::say;
use crate::records::{EvaluationRecord, Judged, StepRecord};
use crate::run::Progress;

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
    /// When training began, in this process.
    began: Instant,
    left: TimeLeft,
}

/// The time that a run still takes, by the steps that this process took.
#[derive(Default)]
struct TimeLeft {
    taken: u64,
    left: u64,
}

impl TimeLeft {
    fn new(left: u64) -> Self {
        Self { taken: 0, left }
    }

    /// One more step is done, `elapsed` after the first was begun. Evaluations in between count, too: there
    /// will be more of them.
    fn after_a_step(&mut self, elapsed: Duration) -> Duration {
        self.taken += 1;
        self.left = self.left.saturating_sub(1);
        let seconds = elapsed.as_secs_f64() / self.taken as f64 * self.left as f64;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }
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
            began: Instant::now(),
            left: TimeLeft::default(),
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

    /// So many bytes of a file are here.
    #[cfg(feature = "hub")]
    pub(super) fn bytes(&mut self, done: u64, total: u64) {
        if self.bar.is_none() {
            let bytes = "{prefix} {bar:40} {binary_bytes}/{binary_total_bytes}  {eta}";
            self.start(total, bytes);
        }
        if let Some(bar) = &self.bar {
            bar.set_prefix("fetching weights");
            bar.set_position(done);
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
            "{prefix} {wide_bar} {pos}/{len} steps  {msg}",
        );
        // What another process did says nothing about the time that is left.
        self.left = TimeLeft::new((epochs * steps_per_epoch).saturating_sub(done));
        self.began = Instant::now();
        if let Some(bar) = &self.bar {
            bar.set_position(done);
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

    fn counting(&mut self, what: &str, done: usize, total: usize) {
        if self.bar.is_none() {
            self.count(what, total);
        }
        self.counted(done);
        if done == total {
            self.counting_done();
        }
    }

    fn step(&mut self, record: &StepRecord) {
        let speed = record.images as f64 / record.seconds.max(1e-9);
        let shown =
            |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.4}"));
        self.epoch = format!("epoch {}/{}", record.epoch + 1, self.epochs);
        let left = self.left.after_a_step(self.began.elapsed());
        let told = format!(
            "loss {}  recall {}  {speed:.0} images/s  {} left",
            shown(record.loss),
            shown(record.recall),
            FormattedDuration(left)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_of_a_resumed_run_is_right_from_its_first_step() {
        // 990 of 1000 steps were taken before; a step takes two seconds.
        let mut left = TimeLeft::new(10);
        for step in 1..=10 {
            let told = left.after_a_step(Duration::from_secs(2 * step));
            assert_eq!(told, Duration::from_secs(2 * (10 - step)));
        }
        // Beyond the end, as of a step that was taken twice, none is left.
        assert_eq!(left.after_a_step(Duration::from_secs(22)), Duration::ZERO);
        let mut endless = TimeLeft::new(u64::MAX);
        let long = Duration::from_secs(u64::MAX / 2);
        assert_eq!(endless.after_a_step(long), Duration::MAX);
    }
}
