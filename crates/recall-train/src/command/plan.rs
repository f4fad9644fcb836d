//! What a run will cost, before it is begun.

use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use super::common::CommonArgs;
use super::print::print;
use super::settings::{Document, SettingsArgs};
use super::terminal::Terminal;
use crate::plan::{Costs, Measured, SHARE_OF_FREE, measure};
use crate::run::duration;
use crate::{Bytes, ChunkSize, RunConfig};

/// How long nothing is said at least, but for the first guess.
const PAUSE: Duration = Duration::from_secs(2);

/// Options of planning.
#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    settings: SettingsArgs,
    /// The memory that the run may take, such as 8GB or 500MB: the largest chunk that fits is reported. Without
    /// it: four fifths of what is free.
    #[arg(long, value_name = "SIZE")]
    memory: Option<Bytes>,
    /// Processes that will share out the run, each with a device and a processor of its own: plan for one of
    /// them. What they send each other is not measured.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    ranks: u16,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Plan {
    chunk: usize,
    step_seconds: f64,
    peak_memory: Option<u64>,
    memory_limit: Option<u64>,
    largest_chunk: Option<usize>,
    run_seconds: Option<f64>,
    costs: Costs,
}

impl PlanArgs {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let document = self.settings.document()?;
        let data = self.common.data()?;
        let mut config = RunConfig::for_data(
            self.settings.preset,
            document.as_ref().map(Document::parts),
            &self.settings.set,
            data.clone(),
        )?;
        // A preset is planned without data unless some are named.
        let has_data = data.is_some() || self.settings.preset.is_none();
        if let (Some(memory), ChunkSize::Auto) = (self.memory, config.batch.chunk) {
            config.batch.chunk = ChunkSize::Memory(memory);
        }
        let mut terminal = Terminal::new(self.common.quiet);
        if let Some(warning) = config.optimiser.never_reached(config.epochs) {
            terminal.warn(&warning);
        }
        terminal.say("measuring small chunks");
        let mut last_line = Instant::now();
        let loading = has_data.then(|| self.common.loading());
        let device = self.common.backend.open()?;
        let costs = measure(&config, loading.as_ref(), &*device, &mut |measured| {
            // What is measured in a moment needs no line.
            let due = last_line.elapsed() >= PAUSE;
            if due || matches!(measured, Measured::Guess { .. }) {
                last_line = Instant::now();
                terminal.say(&measured.to_string());
            }
        })?
        .over(self.ranks.into());
        let limit = match self.memory {
            Some(memory) => costs.memory.map(|_| memory.0),
            None => costs.free(),
        };
        let chunk = costs.chunk(config.batch.chunk)?;
        let step_seconds = costs.step(chunk);
        let steps_per_epoch = costs.steps_per_epoch;
        let plan = Plan {
            chunk,
            step_seconds,
            peak_memory: costs.peak(chunk),
            memory_limit: limit,
            largest_chunk: limit.and_then(|limit| costs.largest_chunk(limit)),
            run_seconds: steps_per_epoch
                .map(|steps| step_seconds * (steps as u64 * config.epochs) as f64),
            costs,
        };
        if self.json {
            print(&serde_json::to_string(&plan)?)?;
        } else {
            print(&plan.text(&config, self.memory.is_none()))?;
        }
        if let Some(limit) = plan.memory_limit {
            // What does not fit at all is an error, after all that can be told.
            plan.costs.chunk(ChunkSize::Memory(Bytes(limit)))?;
        }
        Ok(())
    }
}

impl Plan {
    /// The lines; `of_free` is whether the limit is a share of what is free.
    fn text(&self, config: &RunConfig, of_free: bool) -> String {
        let costs = &self.costs;
        let mut lines = Vec::new();
        let mut row = |name: &str, value: String| lines.push(format!("{name:13}  {value}"));
        row(
            "step",
            format!(
                "{} for {} images in chunks of {}{} ({:.1} images/s)",
                span(self.step_seconds),
                costs.batch,
                self.chunk,
                match costs.ranks {
                    1 => String::new(),
                    ranks => format!(", {} on each of {ranks} ranks", costs.share(self.chunk)),
                },
                costs.batch as f64 / self.step_seconds
            ),
        );
        if let (Some(steps), Some(seconds)) = (costs.steps_per_epoch, self.run_seconds) {
            row(
                "run",
                format!(
                    "{} for {} steps, {steps} in an epoch; evaluation left out",
                    duration(seconds),
                    steps as u64 * config.epochs
                ),
            );
        }
        match self.peak_memory {
            Some(peak) => row("peak memory", Bytes(peak).rounded()),
            None => row("peak memory", "not told by this backend".to_owned()),
        }
        if let (Some(limit), Some(largest)) = (self.memory_limit, self.largest_chunk) {
            let share = match of_free {
                true => format!(", {:.0} % of what is free", SHARE_OF_FREE * 100.0),
                false => String::new(),
            };
            let limit = Bytes(limit).rounded();
            row("largest chunk", format!("{largest} within {limit}{share}"));
        }
        let share = costs.share(self.chunk);
        let parts = [
            ("first pass", costs.first_pass(self.chunk)),
            ("second pass", share as f64 * costs.forward_backward),
            ("loss", costs.loss),
            ("update", costs.update),
            ("images", share as f64 * costs.load.unwrap_or(0.0)),
        ];
        let parts: Vec<String> = parts
            .into_iter()
            .filter(|(name, _)| *name != "images" || costs.load.is_some())
            .map(|(name, seconds)| format!("{name} {}", span(seconds)))
            .collect();
        row("of the step", parts.join(", "));
        lines.join("\n")
    }
}

/// Seconds, with what tells short ones apart.
fn span(seconds: f64) -> String {
    match seconds < 1.0 {
        true => format!("{:.0} ms", seconds * 1e3),
        false => duration(seconds),
    }
}
