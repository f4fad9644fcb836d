//! A command of `recall-train` in a process of its own, with its time and memory.

use std::process::ExitCode;
use std::time::Instant;

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use crate::bench::machine::peak_memory;
use crate::bench::process::Measure;

/// What stands behind `recall-train` on the command line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Part(Vec<String>);

/// What it took.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measured {
    pub seconds: f64,
    pub peak_bytes: usize,
}

impl Part {
    pub fn new(arguments: &[&str]) -> Self {
        Self(arguments.iter().map(|&argument| argument.into()).collect())
    }
}

impl Measure for Part {
    const COMMAND: &'static str = "features-part";
    type Measured = Measured;

    fn measure(&self) -> anyhow::Result<Self::Measured> {
        let start = Instant::now();
        let program = [String::from("recall-train")];
        let code = recall_train::command::run(program.iter().chain(&self.0));
        ensure!(
            code == ExitCode::SUCCESS,
            "recall-train {} failed",
            self.0.join(" ")
        );
        Ok(Measured {
            seconds: start.elapsed().as_secs_f64(),
            peak_bytes: peak_memory()?,
        })
    }
}
