//! Measurements in processes of their own: memory that an allocator keeps from one case would count for
//! the next.

use std::env;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What one process measures.
pub trait Measure: Serialize + DeserializeOwned {
    /// The command of `bench` that measures one, see [`run`].
    const COMMAND: &'static str;

    /// What it finds.
    type Measured: Serialize + DeserializeOwned;

    /// In this process.
    fn measure(&self) -> anyhow::Result<Self::Measured>;

    /// This program, to be started again.
    fn command(&self) -> anyhow::Result<Command> {
        let mut command = Command::new(env::current_exe()?);
        command
            .args(["bench", Self::COMMAND])
            .arg(serde_json::to_string(self)?);
        Ok(command)
    }

    /// In a process of its own.
    fn measure_apart(&self) -> anyhow::Result<Self::Measured> {
        printed(&mut self.command()?)
    }
}

/// The one case of such a process.
#[derive(Debug, clap::Args)]
pub struct CaseArgs {
    /// As JSON
    case: String,
}

/// Measures one case and prints what it found.
pub fn run<C: Measure>(args: &CaseArgs) -> anyhow::Result<()> {
    let case: C = serde_json::from_str(&args.case).context("this is no case")?;
    println!("{}", serde_json::to_string(&case.measure()?)?);
    Ok(())
}

/// Runs a command and reads the last line it prints.
pub fn printed<T: DeserializeOwned>(command: &mut Command) -> anyhow::Result<T> {
    let output = command
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(
        output.status.success(),
        "the measurement failed ({})",
        output.status
    );
    let text = String::from_utf8(output.stdout).context("printed something else than text")?;
    let line = text.lines().last().context("printed nothing")?;
    serde_json::from_str(line).with_context(|| format!("printed {line:?}"))
}

/// The same with so many threads, here or in Python.
pub fn with_threads(command: &mut Command, threads: usize) -> &mut Command {
    let threads = threads.to_string();
    command.envs(["RAYON_NUM_THREADS", "OMP_NUM_THREADS"].map(|name| (name, &threads)))
}
