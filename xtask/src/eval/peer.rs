//! faiss, where there is a Python that has it.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde::Deserialize;

use super::case::Case;

/// A Python with faiss.
#[derive(Debug)]
pub struct Peer {
    python: PathBuf,
    /// Of all that takes part.
    pub version: String,
}

/// What it found.
#[derive(Debug, Clone, Deserialize)]
pub struct PeerMeasured {
    pub search_seconds: f64,
    pub metric_seconds: f64,
    pub values: BTreeMap<String, f64>,
}

impl Peer {
    /// The Python that was named, or else that of `RECALL_PYTHON`, or else `python3`; or why it is of
    /// no use.
    pub fn find(python: Option<&Path>) -> Result<Self, String> {
        let python = python
            .map(|path| path.as_os_str().to_owned())
            .or_else(|| env::var_os("RECALL_PYTHON"))
            .unwrap_or_else(|| OsString::from("python3"));
        let python = PathBuf::from(python);
        let name = python.display();
        let program = "import faiss, numpy\n\
                       print(f'faiss {faiss.__version__}, numpy {numpy.__version__}')";
        let output = Command::new(&python)
            .args(["-c", program])
            .output()
            .map_err(|error| format!("{name} does not start: {error}"))?;
        if !output.status.success() {
            return Err(format!("{name} cannot import faiss"));
        }
        Ok(Self {
            version: String::from_utf8_lossy(&output.stdout).trim().to_string(),
            python,
        })
    }

    /// Judges the very files that ours are judged from.
    pub fn measure(&self, case: &Case) -> anyhow::Result<PeerMeasured> {
        let folder = tempfile::tempdir().context("no folder for the program of a peer")?;
        let program = folder.path().join("eval.py");
        fs::write(&program, include_str!("../../peers/eval.py"))
            .with_context(|| format!("cannot write {}", program.display()))?;
        let output = Command::new(&self.python)
            .arg(program)
            .args([&case.embeddings, &case.labels])
            .args(["--threads", &case.threads.to_string()])
            .stderr(Stdio::inherit())
            .output()?;
        ensure!(output.status.success(), "faiss failed ({})", output.status);
        serde_json::from_slice(&output.stdout).context("the peer printed something else")
    }
}
