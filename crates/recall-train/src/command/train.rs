use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::bail;
use clap::Args;

use super::common::CommonArgs;
use super::hub;
use super::interrupt;
use super::print::{print, quoted, say};
use super::ranks::{self, Job};
use super::seeds::{Series, Stage};
use super::settings::{Document, SettingsArgs};
use super::terminal::Terminal;
use crate::compare::{CompareConfig, FinishedRun};
use crate::judge::side_by_side;
use crate::records::{EvaluationRecord, Judged};
use crate::run::{Finished, Place, TrainingRun, duration};
use crate::{Bytes, Checkpoint, Ranks, RunConfig, RunError};

/// Options of training.
#[derive(Debug, Args)]
pub(super) struct TrainArgs {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    settings: SettingsArgs,
    /// Weights to start from: .safetensors, or a state dict that PyTorch saved (.pth, .bin), with the
    /// names of torchvision, timm, open_clip or a checkpoint; or hf:OWNER/NAME[@REVISION][/FILE], which fetches a
    /// file of the Hugging Face Hub once. Short for --set model.weights=FILE.
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// The folder of the run; it must be new or empty. Without it: the next free one in runs/.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Train once for each seed, one after the other, and compare them: in the folders seed-N of --out, or
    /// of the next free folder in runs/.
    #[arg(long, value_name = "SEEDS", value_delimiter = ',')]
    seeds: Vec<u64>,
    /// Begin a new run with the weights and the optimiser's state of this run's last checkpoint, or of this
    /// checkpoint: with its settings, changed by --config and --set; epochs and learning rate begin anew.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["preset", "weights"])]
    from: Option<PathBuf>,
    /// Go on with the run in this folder from its last checkpoint, or from the checkpoint in this folder,
    /// to the same end as if it had never stopped; or with the runs of --seeds in this folder. --data says
    /// where the images are, if they were moved.
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with_all = ["preset", "seeds", "weights", "from", "out"]
    )]
    resume: Option<PathBuf>,
    /// Under mpirun, the seconds after which a rank that does not answer is given up and the job ends.
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 600,
        value_parser = clap::value_parser!(u64).range(1..=1_000_000)
    )]
    rank_timeout: u64,
}

impl TrainArgs {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let job = ranks::join(Duration::from_secs(self.rank_timeout))?;
        if !job.ranks.are_several() {
            // Several are ended by their launcher, which does not wait for a step.
            interrupt::listen();
        }
        if let Some(path) = &self.resume {
            return self.resume(path, &job);
        }
        if !self.seeds.is_empty() {
            ranks::refuse("--seeds")?;
        }
        let run = self.new_run()?;
        match &self.seeds[..] {
            [] => self.train(&run, &job).map(|_| ()),
            seeds => {
                let seeds = seeds.to_vec();
                self.train_each(
                    &Series::create(self.out.as_deref(), run.config, seeds)?,
                    &job,
                )
            }
        }
    }

    /// Goes on with a run, or with some.
    fn resume(&self, path: &Path, job: &Job) -> anyhow::Result<()> {
        if let Some(changes) = self.settings.changes() {
            bail!(
                "--resume goes on with the settings that a run began with; recall-train --from {} {changes} \
                 starts a new run from its weights and optimiser",
                quoted(&path.display().to_string())
            );
        }
        if Series::is_one(path) {
            ranks::refuse("going on with the runs of --seeds")?;
        }
        if let Some(series) = Series::reopen(path)? {
            return self.train_each(&series, job);
        }
        self.train(&self.resumed_run(path)?, job).map(|_| ())
    }

    /// Trains once and prints the result.
    fn train(&self, run: &TrainingRun, job: &Job) -> anyhow::Result<Finished> {
        let mut terminal = Terminal::new(self.common.quiet);
        let device = self.common.backend.open_for(job.local_rank)?;
        let run = TrainingRun {
            ranks: job.ranks.clone(),
            ..run.clone()
        };
        if !job.ranks.leads() {
            // One speaks for all.
            return Ok(run.train(&*device, &mut ())?);
        }
        let finished = run.train(&*device, &mut terminal)?;
        let memory = match finished.peak_memory {
            Some(peak) => format!(", in at most {} of memory", Bytes(peak).rounded()),
            None => String::new(),
        };
        let took = duration(finished.training_seconds);
        let epoch = finished.epoch;
        let mut lines = Vec::new();
        match &finished.result {
            Some(EvaluationRecord {
                split, evaluation, ..
            }) => {
                terminal.say(&format!(
                    "trained for {took}{memory}; judged on the {split} images, after epoch {epoch}:"
                ));
                lines.push(match &finished.comparison {
                    Some(comparison) => side_by_side(comparison, ["features", "head"]),
                    None => evaluation.to_string(),
                });
                let without = evaluation.without_positives;
                if without > 0 {
                    lines.push(format!(
                        "{without} queries without another image of their class are left out"
                    ));
                }
                if *split == Judged::Validation {
                    lines.push(
                        "of the validation images, which chose the epoch: there are no test images"
                            .to_owned(),
                    );
                }
            }
            None => terminal.say(&format!(
                "trained for {took}{memory}; neither test nor validation images were there to judge it by"
            )),
        }
        lines.push(format!("model   {}", finished.checkpoint.display()));
        lines.push(format!("report  {}", finished.report.display()));
        tell(&lines.join("\n"));
        Ok(finished)
    }

    /// Trains once for each seed, where that is not done yet, and compares the results.
    fn train_each(&self, series: &Series, job: &Job) -> anyhow::Result<()> {
        let mut runs: Vec<FinishedRun> = Vec::with_capacity(series.seeds.len());
        for &seed in &series.seeds {
            let run = match series.stage(seed)? {
                Stage::Done(finished) => {
                    Terminal::new(self.common.quiet).say(&format!("seed {seed} is done"));
                    runs.extend(finished.map(|finished| *finished));
                    continue;
                }
                Stage::Begun(place) => self.resumed_run(&place)?,
                Stage::NotBegun(place) => {
                    let mut config = series.config.clone();
                    config.seed = seed;
                    if let Some(data) = &self.common.data()? {
                        config.data = data.clone();
                    }
                    // Where memory decided on the chunk, it does so once.
                    if let Some(before) = runs.last() {
                        config.batch.chunk = before.config.batch.chunk;
                    }
                    TrainingRun {
                        config,
                        place: Place::New(Some(place)),
                        loading: self.common.loading(),
                        command_line: command_line(),
                        ranks: job.ranks.clone(),
                    }
                }
            };
            // Only a heading: whether results can be printed is seen with the first.
            let _ = print(&format!("seed {seed}"));
            let finished = self.train(&run, job).map_err(|error| series.ended(error))?;
            if finished.result.is_none() {
                // Nothing judged it, so there is nothing to compare.
                continue;
            }
            let folder = finished.report.parent().map(Path::to_owned);
            runs.push(FinishedRun::open(folder.unwrap_or_default())?);
        }
        if !runs.is_empty() {
            tell(&format!("\n{}", CompareConfig::default().compare(&runs)?));
        }
        Ok(())
    }

    fn resumed_run(&self, path: &Path) -> anyhow::Result<TrainingRun> {
        let mut run = TrainingRun::resumed(path, self.common.loading(), command_line())?;
        if let Some(data) = &self.common.data()? {
            run.config.data = data.clone();
        }
        Ok(run)
    }

    fn new_run(&self) -> anyhow::Result<TrainingRun> {
        let document = self.settings.document()?;
        let document = document.as_ref().map(Document::parts);
        let (set, data) = (&self.settings.set, self.common.data()?);
        let config = match &self.from {
            Some(path) => {
                let from = Checkpoint::open_last(path)?;
                // A checkpoint of its own, wherever the run will be resumed: a run's last one may be
                // another by then.
                let place = std::path::absolute(from.path())
                    .map_err(RunError::file("use the folder", from.path()))?;
                from.config.beginning_with(place, document, set, data)?
            }
            None => {
                let with = |weights: Option<PathBuf>| {
                    let preset = self.settings.preset;
                    RunConfig::for_training(preset, document, set, data.clone(), weights)
                };
                let config = with(self.weights.clone())?;
                // Once everything else makes sense.
                match hub::named(config.model.weights.as_deref()) {
                    Some(name) => {
                        let mut terminal = Terminal::new(self.common.quiet);
                        with(Some(hub::fetched(name, &mut terminal)?))?
                    }
                    None => config,
                }
            }
        };
        Ok(TrainingRun {
            config,
            place: Place::New(self.out.clone()),
            loading: self.common.loading(),
            command_line: command_line(),
            ranks: Ranks::default(),
        })
    }
}

/// Prints what a run came to. That is in its folder, too: where it cannot be printed the run is none the
/// worse, and those after it are trained.
fn tell(text: &str) {
    if let Err(error) = print(text) {
        say(&format!("{error}; the folder of the run has all results"));
    }
}

/// The command as typed, without the path of the executable.
fn command_line() -> String {
    let arguments = std::env::args_os().skip(1);
    let arguments = arguments.map(|argument| quoted(&argument.to_string_lossy()));
    std::iter::once("recall-train".to_owned())
        .chain(arguments)
        .collect::<Vec<_>>()
        .join(" ")
}
