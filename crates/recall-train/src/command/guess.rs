//! What may be meant by an option or a word that does not exist.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, Error};

use crate::Preset;
use crate::config::{called, closest, nearest};

/// Options as other programs have them.
const OTHER_OPTIONS: [(&[&str], &str); 6] = [
    (&["device", "gpu", "cpu", "cuda"], "backend"),
    (
        &["workers", "num-workers", "jobs", "num-threads"],
        "threads",
    ),
    (&["dataset", "data-dir", "data-path", "images"], "data"),
    (
        &["output", "output-dir", "out-dir", "save-dir", "name"],
        "out",
    ),
    (&["pretrained", "init"], "weights"),
    (&["verbose", "silent"], "quiet"),
];

/// Commands as other programs have them.
const OTHER_COMMANDS: [(&[&str], &str); 5] = [
    (&["fit", "run", "finetune"], "train"),
    (&["evaluate", "evaluation", "test", "judge"], "eval"),
    (&["embeddings", "encode", "extract"], "embed"),
    (&["search", "neighbours", "neighbors"], "gallery"),
    (&["validate", "inspect"], "check"),
];

/// A sentence with the way out of what clap refused as unknown, if there is one to be guessed. `command`
/// is the whole command line, `arguments` what was given.
pub(super) fn guess(error: &Error, command: &Command, arguments: &[String]) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let given = match error.kind() {
        ErrorKind::UnknownArgument => text(ContextKind::InvalidArg)?,
        ErrorKind::InvalidSubcommand => text(ContextKind::InvalidSubcommand)?,
        _ => return None,
    };
    // Training, where no command is named.
    let named = (arguments.iter()).find_map(|argument| command.find_subcommand(argument));
    match given.trim_start_matches('-') {
        option if given.starts_with("--") => {
            let name = option.split(['=', ' ']).next()?;
            guess_option(name, named.unwrap_or(command), arguments, error)
        }
        word if !given.starts_with('-') && named.is_none() => guess_word(word, command),
        _ => None,
    }
}

/// What is meant by the option `name`, of `command`.
fn guess_option(
    name: &str,
    command: &Command,
    arguments: &[String],
    error: &Error,
) -> Option<String> {
    let takes = |option: &str| {
        let mut options = command.get_arguments();
        options.any(|argument| argument.get_long() == Some(option))
    };
    let keys = called(name);
    if !keys.is_empty() && takes("set") {
        let value = value_of(name, arguments);
        let sets: Vec<String> = keys
            .iter()
            .map(|key| format!("--set {key}={value}"))
            .collect();
        return Some(format!(
            "there is no option --{name}: settings are given by --set, so write {}",
            sets.join(" or ")
        ));
    }
    let other = OTHER_OPTIONS
        .iter()
        .find(|(names, _)| names.contains(&name));
    if let Some((_, option)) = other.filter(|(_, option)| takes(option)) {
        return Some(format!(
            "there is no option --{name}; it is --{option} here"
        ));
    }
    if let Some(ContextValue::String(option)) = error.get(ContextKind::SuggestedArg) {
        return Some(format!(
            "there is no option --{name}; did you mean {option}?"
        ));
    }
    match (&keys[..], &closest(name)[..]) {
        // What a trained model has as it was trained.
        ([key, ..], _) => Some(format!(
            "{} has no option --{name}; {key} is a setting of training",
            command.get_name()
        )),
        ([], [key, ..]) if takes("set") => Some(format!(
            "there is no option --{name}; did you mean --set {key}={}?",
            value_of(name, arguments)
        )),
        _ => None,
    }
}

/// What was given as the value of `--name`.
fn value_of<'a>(name: &str, arguments: &'a [String]) -> &'a str {
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let after = argument
            .strip_prefix("--")
            .and_then(|of| of.strip_prefix(name));
        let value = match after {
            Some("") => rest
                .next()
                .filter(|next| !next.starts_with("--"))
                .map(String::as_str),
            Some(after) => after.strip_prefix('='),
            None => continue,
        };
        return value.unwrap_or("VALUE");
    }
    "VALUE"
}

/// What is meant by a word where a command may stand.
fn guess_word(word: &str, command: &Command) -> Option<String> {
    let meant = |meant: &str| Some(format!("there is no command {word}; did you mean {meant}?"));
    let key = word.split_once('=').map(|(key, _)| key);
    if key.is_some_and(|key| !called(key).is_empty()) {
        return meant(&format!("--set {word}"));
    }
    if word.parse::<Preset>().is_ok() {
        return meant(&format!("--preset {word}"));
    }
    if word.parse::<recall_data::DataSpec>().is_ok() {
        return meant(&format!("--data {word}"));
    }
    let other = OTHER_COMMANDS
        .iter()
        .find(|(names, _)| names.contains(&word));
    if let Some((_, name)) = other {
        return meant(name);
    }
    let names = command.get_subcommands().map(Command::get_name);
    let names: Vec<String> = names.map(str::to_owned).collect();
    match nearest(word, names.clone()) {
        Some(name) => meant(&name),
        None => Some(format!(
            "there is no command {word}; there are {}",
            names.join(", ")
        )),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::super::CommandLine;
    use super::*;

    fn guessed(line: &str) -> Option<String> {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let words = std::iter::once("recall-train").chain(line.split_whitespace());
        let error = CommandLine::try_parse_from(words).unwrap_err();
        guess(&error, &CommandLine::command(), &arguments)
    }

    #[test]
    fn options_that_are_settings_get_their_name() {
        for (line, set) in [
            ("--epochs 10", "--set epochs=10"),
            ("--epochs=10", "--set epochs=10"),
            ("train --epochs 10", "--set epochs=10"),
            ("plan --epochs 10", "--set epochs=10"),
            ("--quiet --batch-size 64 --seeds 1", "--set batch.size=64"),
            ("--lr 1e-3", "--set optimiser.learning_rate=1e-3"),
            ("--learning-rate 0.1", "--set optimiser.learning_rate=0.1"),
            ("--seed 3", "--set seed=3"),
            (
                "--chunk 16",
                "--set batch.chunk=16 or --set evaluation.chunk=16",
            ),
            ("--backbone resnet50", "--set model.backbone=resnet50"),
            ("--model vit-b16", "--set model.backbone=vit-b16"),
            ("--optimizer adam", "--set optimiser.kind=adam"),
            (
                "--horizontal-flip --quiet",
                "--set image.train.horizontal_flip=VALUE",
            ),
            ("--epochs", "--set epochs=VALUE"),
        ] {
            let guessed = guessed(line).unwrap();
            let end = format!(": settings are given by --set, so write {set}");
            assert!(guessed.starts_with("there is no option --"), "{guessed}");
            assert!(guessed.ends_with(&end), "{guessed}");
        }
    }

    #[test]
    fn other_options_and_words_are_guessed_as_well() {
        for (line, sentence) in [
            (
                "--wieghts x",
                "there is no option --wieghts; did you mean --weights?",
            ),
            (
                "--device cuda",
                "there is no option --device; it is --backend here",
            ),
            (
                "--num-workers 4",
                "there is no option --num-workers; it is --threads here",
            ),
            (
                "--horizontal-flp 0.5",
                "there is no option --horizontal-flp; did you mean --set \
                 image.train.horizontal_flip=0.5?",
            ),
            (
                "eval --lr 3 --checkpoint x",
                "eval has no option --lr; optimiser.learning_rate is a setting of training",
            ),
            ("trian", "there is no command trian; did you mean train?"),
            (
                "evaluate",
                "there is no command evaluate; did you mean eval?",
            ),
            (
                "folder:photos",
                "there is no command folder:photos; did you mean --data folder:photos?",
            ),
            (
                "cub-vit-b16",
                "there is no command cub-vit-b16; did you mean --preset cub-vit-b16?",
            ),
            (
                "epochs=3",
                "there is no command epochs=3; did you mean --set epochs=3?",
            ),
            (
                "xyzzy",
                "there is no command xyzzy; there are train, eval, embed, whiten, gallery, plan, check, \
                 compare, presets",
            ),
        ] {
            assert_eq!(guessed(line).as_deref(), Some(sentence), "{line}");
        }
    }

    #[test]
    fn what_is_wrong_otherwise_is_left_to_clap() {
        for line in [
            "--threads x",
            "embed",
            "-z",
            "--out",
            "--seeds 1 --resume x",
        ] {
            assert_eq!(guessed(line), None, "{line}");
        }
    }
}
