use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::ensure;
use clap::Args;
use recall_data::check::CheckConfig;
use recall_data::{BatchSamplerConfig, DataSpec, SmallClasses};
use serde::Deserialize;
use serde::de::IntoDeserializer;

use super::common::{DistractorArgs, with_labels};
use super::print::print;
use super::terminal::Terminal;
use crate::{BatchSize, RunConfig};

/// Options of a look at a data set.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    #[arg(value_name = "SPEC", help = super::common::data_help())]
    data: DataSpec,
    #[command(flatten)]
    distractors: DistractorArgs,
    /// The labels of embeddings:FILE, if they are not in it or beside it.
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Print one JSON object, with all cases of each finding.
    #[arg(long)]
    json: bool,
    /// Read the images, but do not decode them: quicker, and damage is not found.
    #[arg(long)]
    no_decode: bool,
    /// Images in a batch. Without it: as in a run without settings, 256, or all rows of features.
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,
    /// Images of each class in a batch.
    #[arg(long, value_name = "K", default_value_t = RunConfig::default().batch.samples_per_class)]
    samples_per_class: usize,
    /// What happens to classes with fewer images: leave-out, take-all, take-singletons or repeat. Without it: as in a run
    /// without settings.
    #[arg(long, value_name = "POLICY", value_parser = small_classes)]
    small_classes: Option<SmallClasses>,
    /// Share of the training classes that training holds out for validation.
    #[arg(long, value_name = "SHARE", default_value_t = RunConfig::default().evaluation.validation)]
    validation: f64,
    /// Threads that read and decode images; 0 takes one for each core.
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// Print results only, no progress.
    #[arg(long)]
    quiet: bool,
}

/// The names that a configuration has for them.
fn small_classes(name: &str) -> Result<SmallClasses, serde::de::value::Error> {
    SmallClasses::deserialize(name.into_deserializer())
}

/// Exit code of a data set with errors.
const DATA_ERRORS: u8 = 1;

impl CheckArgs {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        ensure!(
            (0.0..1.0).contains(&self.validation),
            "--validation is {}: give a share from 0 up to 1",
            self.validation
        );
        let config = CheckConfig {
            decode: !self.no_decode,
            threads: self.threads,
            validation: self.validation,
            whole: self.batch_size.is_none() && matches!(self.data, DataSpec::Embeddings { .. }),
            ..CheckConfig::new(self.sampler())
        };
        // What is not there is for the report to tell.
        let data = with_labels(Some(&self.data), self.labels.as_deref())?;
        let dataset = data.unwrap_or_default().index()?;
        let dataset = self.distractors.added(dataset, DataSpec::index)?;
        let mut terminal = Terminal::new(self.quiet || self.json);
        terminal.count("checking", dataset.items().len());
        let report = config.run(&dataset, |done| terminal.counted(done));
        terminal.counting_done();
        let report = report?;
        print(&match self.json {
            true => serde_json::to_string(&report)?,
            false => report.to_string(),
        })?;
        Ok(match report.errors {
            0 => ExitCode::SUCCESS,
            _ => ExitCode::from(DATA_ERRORS),
        })
    }

    fn sampler(&self) -> BatchSamplerConfig {
        let mut config = RunConfig::default();
        if let Some(images) = self.batch_size {
            config.batch.size = BatchSize::Images(images);
        }
        config.batch.samples_per_class = self.samples_per_class;
        if let Some(policy) = self.small_classes {
            config.batch.small_classes = policy;
        }
        config.sampler()
    }
}
