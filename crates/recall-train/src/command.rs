//! The command line: train, judge a trained model, embed images with it and show what they find,
//! check a data set.

mod check;
mod classes;
mod common;
mod compare;
mod embed;
mod eval;
mod gallery;
mod guess;
mod hub;
mod interrupt;
mod memory;
mod origin;
mod output;
mod plan;
mod presets;
mod print;
mod ranks;
mod seeds;
mod settings;
mod split;
mod terminal;
mod train;
mod trained;
mod whiten;
mod whitening;

use std::ffi::OsString;
use std::io::ErrorKind;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

pub use self::memory::keep_freed_memory;
use self::print::{say, unwritten};
use crate::RunError;

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
    /// Learn a whitening from embeddings, for eval and embed to apply.
    Whiten(whiten::WhitenArgs),
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

impl Command {
    /// As it is typed.
    fn name(&self) -> &'static str {
        match self {
            Self::Train(_) => "train",
            Self::Eval(_) => "eval",
            Self::Embed(_) => "embed",
            Self::Whiten(_) => "whiten",
            Self::Gallery(_) => "gallery",
            Self::Plan(_) => "plan",
            Self::Check(_) => "check",
            Self::Compare(_) => "compare",
            Self::Presets(_) => "presets",
        }
    }
}

/// Exit code for whatever the user can put right.
const USER_ERROR: u8 = 2;

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    keep_freed_memory();
    run(std::env::args_os())
}

/// Runs the command of these arguments, of which the first is the name of the program.
pub fn run(arguments: impl IntoIterator<Item = impl Into<OsString>>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    let line = match CommandLine::try_parse_from(&arguments) {
        Ok(line) => line,
        Err(error) => return refuse(&error, &arguments),
    };
    let done = |()| ExitCode::SUCCESS;
    let alone = match &line.command {
        None | Some(Command::Train(_)) => Ok(()),
        Some(other) => ranks::refuse(other.name()),
    };
    let result = match line.command {
        _ if alone.is_err() => alone.map(done),
        None => line.train.run().map(done),
        Some(Command::Train(args)) => args.run().map(done),
        Some(Command::Eval(args)) => args.run().map(done),
        Some(Command::Embed(args)) => args.run().map(done),
        Some(Command::Whiten(args)) => args.run().map(done),
        Some(Command::Gallery(args)) => args.run().map(done),
        Some(Command::Plan(args)) => args.run().map(done),
        Some(Command::Check(args)) => args.run(),
        Some(Command::Compare(args)) => args.run().map(done),
        Some(Command::Presets(args)) => args.run().map(done),
    };
    match result {
        Ok(code) => {
            ranks::leave();
            code
        }
        Err(error) => {
            if let Some(RunError::Interrupted { .. }) = error.downcast_ref() {
                return ranks::end(&error.to_string(), interrupt::INTERRUPTED);
            }
            // Messages name their cause themselves; `{error:#}` would repeat it.
            ranks::end(&format!("error: {error}"), USER_ERROR)
        }
    }
}

/// Help and version as clap prints them; of a mistake the sentence alone, without the usage.
fn refuse(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    if !error.use_stderr() {
        return match error.print() {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                say(&format!("error: {}", unwritten(&error)));
                ExitCode::from(USER_ERROR)
            }
            _ => ExitCode::SUCCESS,
        };
    }
    let arguments: Vec<String> = (arguments.iter())
        .skip(1)
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    if let Some(sentence) = guess::guess(error, &CommandLine::command(), &arguments) {
        return ranks::end(&format!("error: {sentence}"), USER_ERROR);
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
    ranks::end(
        &format!("{sentence} (--help lists the options)"),
        USER_ERROR,
    )
}
