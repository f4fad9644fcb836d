//! What a run will cost, before it is begun.

use anyhow::bail;
use burn::tensor::backend::AutodiffBackend;
use clap::Args;
use recall_loss::RecallBackend;
use serde::Serialize;

use super::CommonArgs;
use super::print::print;
use super::settings::{Document, SettingsArgs};
use super::terminal::Terminal;
use crate::backend::OnBackend;
use crate::plan::{Costs, available_memory, human, measure, steps_per_epoch};
use crate::run::duration;
use crate::{Loading, RunConfig, RunError};

/// Options of planning.
#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    settings: SettingsArgs,
    /// The memory that the run may take, such as 8GB or 500MB: the largest chunk that fits is told. Without
    /// it: what the machine has left.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    memory: Option<u64>,
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
    steps_per_epoch: Option<usize>,
    run_seconds: Option<f64>,
    costs: Costs,
}

impl PlanArgs {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let document = self.settings.document()?;
        let mut config = RunConfig::layered(
            self.settings.preset,
            document.as_ref().map(Document::parts),
            &self.settings.set,
        )?;
        // A preset is planned without data unless some are named.
        let has_data = self.common.data.is_some() || self.settings.preset.is_none();
        if let Some(data) = &self.common.data {
            config.data = data.clone();
        }
        let mut terminal = Terminal::new(self.common.quiet);
        terminal.say("measuring small chunks");
        let loading = has_data.then(|| self.common.loading());
        let costs = self.common.backend.run(PlanJob {
            config: &config,
            loading: loading.as_ref(),
        })??;
        let steps_per_epoch = match has_data {
            true => Some(steps_per_epoch(&config)?),
            false => None,
        };
        let limit = self.memory.or_else(available_memory);
        let limit = limit.filter(|_| costs.memory.is_some());
        let chunk = config.batch.chunk;
        let step_seconds = costs.step(chunk);
        let plan = Plan {
            chunk,
            step_seconds,
            peak_memory: costs.peak(chunk),
            memory_limit: limit,
            largest_chunk: limit.and_then(|limit| costs.largest_chunk(limit)),
            steps_per_epoch,
            run_seconds: steps_per_epoch
                .map(|steps| step_seconds * (steps as u64 * config.epochs) as f64),
            costs,
        };
        if self.json {
            print(&serde_json::to_string(&plan)?)?;
        } else {
            print(&plan.text(&config))?;
        }
        if let (Some(limit), None) = (plan.memory_limit, plan.largest_chunk) {
            bail!("not even a chunk of one image fits into {}", human(limit));
        }
        Ok(())
    }
}

impl Plan {
    fn text(&self, config: &RunConfig) -> String {
        let costs = &self.costs;
        let mut lines = Vec::new();
        let mut row = |name: &str, value: String| lines.push(format!("{name:13}  {value}"));
        row(
            "step",
            format!(
                "{} for {} images in chunks of {} ({:.1} images/s)",
                span(self.step_seconds),
                costs.batch,
                self.chunk,
                costs.batch as f64 / self.step_seconds
            ),
        );
        if let (Some(steps), Some(seconds)) = (self.steps_per_epoch, self.run_seconds) {
            row(
                "run",
                format!(
                    "{} for {} epochs of {steps} steps, evaluation left out",
                    duration(seconds),
                    config.epochs
                ),
            );
        }
        match self.peak_memory {
            Some(peak) => row("peak memory", human(peak)),
            None => row("peak memory", "not told by this backend".to_owned()),
        }
        if let Some(limit) = self.memory_limit {
            row(
                "largest chunk",
                match self.largest_chunk {
                    Some(chunk) => format!("{chunk} within {}", human(limit)),
                    None => "none".to_owned(),
                },
            );
        }
        let parts = [
            (
                "first pass",
                costs.step(self.chunk) - costs.step(costs.batch),
            ),
            ("second pass", costs.batch as f64 * costs.forward_backward),
            ("loss", costs.loss),
            ("update", costs.update),
            ("images", costs.batch as f64 * costs.load.unwrap_or(0.0)),
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

struct PlanJob<'a> {
    config: &'a RunConfig,
    loading: Option<&'a Loading>,
}

impl OnBackend for PlanJob<'_> {
    type Output = Result<Costs, RunError>;

    fn run<B: AutodiffBackend<InnerBackend: RecallBackend>>(
        self,
        device: &B::Device,
    ) -> Self::Output {
        measure::<B>(self.config, self.loading, device)
    }
}

/// Seconds, with what tells short ones apart.
fn span(seconds: f64) -> String {
    match seconds < 1.0 {
        true => format!("{:.0} ms", seconds * 1e3),
        false => duration(seconds),
    }
}

/// A number of bytes: `8GB`, `500MB`, `1.5e9`.
fn parse_size(text: &str) -> Result<u64, String> {
    let units = [
        ("GB", 1e9),
        ("GiB", 1073741824.0),
        ("MB", 1e6),
        ("MiB", 1048576.0),
    ];
    let trimmed = text.trim();
    let (number, unit) = units
        .iter()
        .find_map(|(name, size)| Some((trimmed.strip_suffix(name)?, *size)))
        .unwrap_or((trimmed, 1.0));
    match number.trim().parse::<f64>() {
        Ok(number) if number.is_finite() && number > 0.0 => Ok((number * unit) as u64),
        _ => Err("write a size such as 8GB or 500MB".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_size("8GB"), Ok(8_000_000_000));
        assert_eq!(parse_size("1.5 MiB"), Ok(1_572_864));
        assert_eq!(parse_size("123"), Ok(123));
        assert!(parse_size("8 gigs").is_err() && parse_size("-1GB").is_err());
    }
}
