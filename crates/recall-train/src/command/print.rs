//! The one way to the terminal: results to standard output, and what is said on the way to standard
//! error.
//!
//! `println!` and `eprintln!` panic where they cannot write, and a run must not die of that. So they
//! are used nowhere (`clippy::print_stdout`, `clippy::print_stderr`).
//!
//! What is printed holds names and messages from elsewhere, and a name may hold what moves a cursor or
//! clears a screen: such characters are shown as escapes.

use std::io::{ErrorKind, Write, stderr, stdout};

use anyhow::anyhow;
use recall_data::names;

/// Prints a result. That its reader has gone (`| head`) is no error: the exit code still tells what was
/// found. A result that cannot be written for another reason, such as a full disk, is one.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = stdout().lock();
    match writeln!(out, "{}", names::lines(text)).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(unwritten(&error)),
        _ => Ok(()),
    }
}

/// The sentence for a result that could not be printed.
pub(super) fn unwritten(error: &std::io::Error) -> anyhow::Error {
    anyhow!("cannot write to standard output: {error}")
}

/// Says a line on standard error; a line break in it is shown as an escape. Where it cannot be written, what goes on goes on unseen.
pub(super) fn say(line: &str) {
    let _ = stderr().write_all(format!("{}\n", names::one_line(line)).as_bytes());
}

/// An argument as a shell takes it.
pub(super) fn quoted(argument: &str) -> String {
    match argument.contains(|c: char| c.is_whitespace() || "'\"$*".contains(c)) {
        true => format!("'{}'", argument.replace('\'', r"'\''")),
        false => argument.to_owned(),
    }
}
