//! The command line: train, judge a trained model, embed images with it and show what they find,
//! check a data set.

mod check;
mod classes;
mod compare;
mod embed;
mod eval;
mod gallery;
mod guess;
mod interrupt;
mod origin;
mod output;
mod plan;
mod presets;
mod print;
mod seeds;
mod settings;
mod split;
mod terminal;
mod train;
mod trained;

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use recall_data::{Benchmark, CorruptPolicy, DataSpec};

use self::print::{say, unwritten};
use crate::{Checkpoint, Loading, NamedBackend, RunError};

/// Train image-retrieval embeddings on Recall@k itself.
///
/// Without a subcommand it trains; without any option, on the embedded emoji.
#[derive(Debug, Parser)]
#[command(name = "recall-train", version, args_conflicts_with_subcommands = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    train: train::TrainArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train a model and judge it on classes it has not seen (the default).
    Train(train::TrainArgs),
    /// Judge a trained model on the test images of a data set, or embeddings in files.
    Eval(Box<eval::EvalArgs>),
    /// Write the embeddings of a data set's images to a file.
    Embed(embed::EmbedArgs),
    /// Show what images find in an index of embeddings, as a page of pictures.
    Gallery(gallery::GalleryArgs),
    /// Tell what a run will cost, in time and memory, by measuring small chunks.
    Plan(Box<plan::PlanArgs>),
    /// Look at a data set: what is missing, broken, twice there or not as published.
    Check(check::CheckArgs),
    /// Set finished runs side by side.
    Compare(compare::CompareArgs),
    /// List the recipes there are, or print one.
    Presets(presets::PresetsArgs),
}

/// What every command takes.
#[derive(Debug, Args)]
struct CommonArgs {
    /// Where to compute: auto, cuda, wgpu, flex (CPU) or ndarray (CPU, slow reference).
    #[arg(long, value_name = "NAME", default_value = "auto")]
    backend: NamedBackend,
    #[arg(long, value_name = "SPEC", help = data_help())]
    data: Option<DataSpec>,
    /// Threads that decode images; 0 takes one for each core. Results do not depend on it.
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: usize,
    /// Leave out images that cannot be read, and count them, instead of stopping at the first.
    #[arg(long)]
    skip_corrupt: bool,
    /// Print results only, no progress.
    #[arg(long)]
    quiet: bool,
}

/// What names a data set, in the help of whatever takes one.
fn data_help() -> String {
    format!(
        "The images: emoji, folder:DIR, csv:FILE, or a benchmark in the folder DIR, one of {} \
         followed by :DIR. Without it: those of the settings or the checkpoint, else emoji",
        Benchmark::ALL.map(Benchmark::name).join(", ")
    )
}

impl CommonArgs {
    fn loading(&self) -> Loading {
        let corrupt = if self.skip_corrupt {
            CorruptPolicy::Skip
        } else {
            CorruptPolicy::Error
        };
        Loading {
            threads: self.threads,
            corrupt,
        }
    }
}

/// Whether a file of embeddings is of the format that holds labels, too.
fn holds_labels(path: &Path) -> bool {
    let extension = path.extension();
    extension.is_some_and(|extension| extension.eq_ignore_ascii_case("safetensors"))
}

/// Exit code for whatever the user can put right.
const USER_ERROR: u8 = 2;

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    let line = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(error) => return refuse(&error),
    };
    let done = |()| ExitCode::SUCCESS;
    let result = match line.command {
        None => line.train.run().map(done),
        Some(Command::Train(args)) => args.run().map(done),
        Some(Command::Eval(args)) => args.run().map(done),
        Some(Command::Embed(args)) => args.run().map(done),
        Some(Command::Gallery(args)) => args.run().map(done),
        Some(Command::Plan(args)) => args.run().map(done),
        Some(Command::Check(args)) => args.run(),
        Some(Command::Compare(args)) => args.run().map(done),
        Some(Command::Presets(args)) => args.run().map(done),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            if let Some(RunError::Interrupted { .. }) = error.downcast_ref() {
                say(&error.to_string());
                return ExitCode::from(interrupt::INTERRUPTED);
            }
            // Messages name their cause themselves; `{error:#}` would repeat it.
            say(&format!("error: {error}"));
            ExitCode::from(USER_ERROR)
        }
    }
}

/// Help and version as clap prints them; of a mistake the sentence alone, without the usage.
fn refuse(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        return match error.print() {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                say(&format!("error: {}", unwritten(&error)));
                ExitCode::from(USER_ERROR)
            }
            _ => ExitCode::SUCCESS,
        };
    }
    let arguments: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    if let Some(sentence) = guess::guess(error, &CommandLine::command(), &arguments) {
        say(&format!("error: {sentence}"));
        return ExitCode::from(USER_ERROR);
    }
    // What the standard library says of a number names nothing that a user has typed.
    let number = std::error::Error::source(error).and_then(|source| {
        let whole = source
            .is::<std::num::ParseIntError>()
            .then_some("a whole number");
        let real = source
            .is::<std::num::ParseFloatError>()
            .then_some("a number");
        whole.or(real).map(|kind| (source.to_string(), kind))
    });
    let mut rendered = error.to_string();
    if let Some((leaked, kind)) = number {
        rendered = rendered.replace(&leaked, &format!("it takes {kind} within its range"));
    }
    let sentence = rendered.split("\n\n").next().unwrap_or_default();
    let sentence = sentence.split_whitespace().collect::<Vec<_>>().join(" ");
    say(&format!("{sentence} (--help lists the options)"));
    ExitCode::from(USER_ERROR)
}

/// A checkpoint to load, for the commands that need a trained model.
#[derive(Debug, Args)]
struct CheckpointArg {
    /// The folder of a run, or of one of its checkpoints.
    #[arg(long, value_name = "DIR")]
    checkpoint: PathBuf,
}

impl CheckpointArg {
    fn open(&self) -> Result<Checkpoint, RunError> {
        open_checkpoint(&self.checkpoint)
    }
}

/// Opens the checkpoint that `path` leads to, and says what should be said of how it was found.
fn open_checkpoint(path: &Path) -> Result<Checkpoint, RunError> {
    let checkpoint = Checkpoint::open(path)?;
    checkpoint.note().into_iter().for_each(say);
    Ok(checkpoint)
}
