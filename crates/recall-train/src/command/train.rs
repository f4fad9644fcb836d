use std::path::{Path, PathBuf};

use burn::tensor::backend::AutodiffBackend;
use clap::Args;
use recall_loss::RecallBackend;

use super::print::{print, say};
use super::settings::{Document, SettingsArgs};
use super::terminal::Terminal;
use super::{CommonArgs, interrupt};
use crate::backend::OnBackend;
use crate::compare::{CompareConfig, FinishedRun};
use crate::run::{EvaluationRecord, Finished, Judged, Place, TrainingRun, duration};
use crate::{Bytes, RunConfig, RunError};

/// Options of training.
#[derive(Debug, Args)]
pub(super) struct TrainArgs {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    settings: SettingsArgs,
    /// Weights to start from: .safetensors, or a state dict that PyTorch saved (.pth, .bin), with the
    /// names of torchvision, timm or a checkpoint. Short for --set model.weights=FILE.
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// The folder of the run; it must be new or empty. Without it: the next free one in runs/.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Train once for each seed, one after the other, and compare them: in the folders seed-N of --out, or
    /// in the next free ones in runs/.
    #[arg(long, value_name = "SEEDS", value_delimiter = ',')]
    seeds: Vec<u64>,
    /// Go on with the run in this folder from its last checkpoint, or from the checkpoint in this folder,
    /// to the same end as if it had never stopped. --data says where its images are, if they were moved.
    #[arg(
        long,
        value_name = "DIR",
        conflicts_with_all = ["preset", "seeds", "config", "set", "weights", "out"]
    )]
    resume: Option<PathBuf>,
}

impl TrainArgs {
    pub(super) fn run(self) -> anyhow::Result<()> {
        interrupt::listen();
        let run = match &self.resume {
            Some(path) => self.resumed_run(path)?,
            None => self.new_run()?,
        };
        match &self.seeds[..] {
            [] => self.train(&run).map(|_| ()),
            seeds => self.train_each(&run, seeds),
        }
    }

    /// Trains once and prints the result.
    fn train(&self, run: &TrainingRun) -> anyhow::Result<Finished> {
        let mut terminal = Terminal::new(self.common.quiet);
        let finished = self.common.backend.run(TrainJob {
            run,
            terminal: &mut terminal,
        })??;
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
                lines.push(evaluation.to_string());
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

    /// Trains once for each seed and compares the results.
    fn train_each(&self, run: &TrainingRun, seeds: &[u64]) -> anyhow::Result<()> {
        let mut runs = Vec::with_capacity(seeds.len());
        let mut chunk = run.config.batch.chunk;
        for &seed in seeds {
            let mut run = run.clone();
            run.config.seed = seed;
            run.config.batch.chunk = chunk;
            let out = self
                .out
                .as_ref()
                .map(|out| out.join(format!("seed-{seed}")));
            run.place = Place::New(out);
            // Only a heading: whether results can be printed is seen with the first.
            let _ = print(&format!("seed {seed}"));
            let finished = self.train(&run)?;
            if finished.result.is_none() {
                // Nothing judged it, so there is nothing to compare.
                continue;
            }
            let folder = finished.report.parent().map(Path::to_owned);
            let finished = FinishedRun::open(folder.unwrap_or_default())?;
            // Where memory decided on the chunk, it does so once.
            chunk = finished.config.batch.chunk;
            runs.push(finished);
        }
        if !runs.is_empty() {
            tell(&format!("\n{}", CompareConfig::default().compare(&runs)?));
        }
        Ok(())
    }

    fn resumed_run(&self, path: &Path) -> anyhow::Result<TrainingRun> {
        let mut run = TrainingRun::resumed(path, self.common.loading(), command_line())?;
        if let Some(data) = &self.common.data {
            run.config.data = data.clone();
        }
        Ok(run)
    }

    fn new_run(&self) -> anyhow::Result<TrainingRun> {
        let document = self.settings.document()?;
        let config = RunConfig::for_training(
            self.settings.preset,
            document.as_ref().map(Document::parts),
            &self.settings.set,
            self.common.data.clone(),
            self.weights.clone(),
        )?;
        Ok(TrainingRun {
            config,
            place: Place::New(self.out.clone()),
            loading: self.common.loading(),
            command_line: command_line(),
        })
    }
}

struct TrainJob<'a> {
    run: &'a TrainingRun,
    terminal: &'a mut Terminal,
}

impl OnBackend for TrainJob<'_> {
    type Output = Result<Finished, RunError>;

    fn run<B: AutodiffBackend<InnerBackend: RecallBackend>>(
        self,
        device: &B::Device,
    ) -> Self::Output {
        self.run.train::<B>(device, self.terminal)
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
    let arguments = std::env::args_os().skip(1).map(|argument| {
        let argument = argument.to_string_lossy().into_owned();
        match argument.contains(|c: char| c.is_whitespace() || "'\"$*".contains(c)) {
            true => format!("'{}'", argument.replace('\'', r"'\''")),
            false => argument,
        }
    });
    std::iter::once("recall-train".to_owned())
        .chain(arguments)
        .collect::<Vec<_>>()
        .join(" ")
}
