//! Measurements that another process makes and prints as one line of JSON.

use std::env;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use super::case::{Case, Measured};

/// Ours, by this program started again.
pub fn measure_ours(case: &Case, threads: usize) -> anyhow::Result<Measured> {
    let mut command = Command::new(env::current_exe()?);
    command
        .args(["bench", "loss-case"])
        .arg(serde_json::to_string(case)?)
        .stderr(Stdio::inherit());
    measured(&mut command, threads)
}

/// Runs a command with so many threads and reads the last line it prints.
pub fn measured(command: &mut Command, threads: usize) -> anyhow::Result<Measured> {
    let threads = threads.to_string();
    for variable in ["RAYON_NUM_THREADS", "OMP_NUM_THREADS"] {
        command.env(variable, &threads);
    }
    let output = command.stdout(Stdio::piped()).output()?;
    if !output.status.success() {
        bail!("the measurement failed ({})", output.status);
    }
    let printed = String::from_utf8(output.stdout).context("printed something else than text")?;
    let line = printed.lines().last().context("printed nothing")?;
    serde_json::from_str(line).with_context(|| format!("printed {line:?}"))
}
