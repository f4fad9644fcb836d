use std::io::{ErrorKind, Write, stdout};

/// Prints a result. The exit code tells what was found, even to someone who reads the first lines only
/// (`| head`).
pub(super) fn print(text: &str) -> std::io::Result<()> {
    let mut out = stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}
