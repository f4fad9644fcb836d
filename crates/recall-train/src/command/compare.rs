//! Finished runs side by side.

use std::path::PathBuf;

use clap::Args;
use recall_eval::Bootstrap;

use super::output::{self, ForceArg, Inputs};
use super::print::print;
use crate::compare::{CompareConfig, CompareError, FinishedRun};

/// Options of comparing.
#[derive(Debug, Args)]
pub(super) struct CompareArgs {
    /// The folders of finished runs. Those that differ in their seed alone are taken together; the
    /// first is what others are compared with.
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// Write a page with the table and the curves of all runs.
    #[arg(long, value_name = "FILE.html")]
    output: Option<PathBuf>,
    #[command(flatten)]
    force: ForceArg,
    /// Resamples of the queries for the tests.
    #[arg(long, value_name = "N", default_value_t = Bootstrap::default().resamples)]
    resamples: usize,
    /// Resample whole classes: queries of a class resemble each other.
    #[arg(long)]
    resample_classes: bool,
    /// Seed of the resamples.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    seed: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl CompareArgs {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let config = CompareConfig {
            bootstrap: Bootstrap {
                resamples: self.resamples,
                seed: self.seed,
                ..Bootstrap::default()
            },
            resample_classes: self.resample_classes,
        };
        if let Some(path) = &self.output {
            let mut inputs = Inputs::default();
            for file in self.runs.iter().flat_map(|run| FinishedRun::files(run)) {
                inputs.add("RUN", &file);
            }
            self.force.check(std::slice::from_ref(path), &inputs)?;
        }
        let runs = self.runs.into_iter().map(FinishedRun::open);
        let runs = runs.collect::<Result<Vec<_>, _>>()?;
        let comparison = config.compare(&runs)?;
        if let Some(path) = &self.output {
            let page = comparison
                .page(&runs)
                .render()
                .map_err(CompareError::from)?;
            output::write(path, &page)?;
        }
        print(&match self.json {
            true => serde_json::to_string(&comparison)?,
            false => comparison.to_string(),
        })?;
        if let (Some(path), false) = (&self.output, self.json) {
            print(&format!("wrote  {}", path.display()))?;
        }
        Ok(())
    }
}
