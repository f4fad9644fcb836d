//! PyTorch, where there is a Python that has it.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use super::case::{Case, Measured};

/// A Python with torch, torchvision and timm.
#[derive(Debug)]
pub struct Peer {
    python: PathBuf,
    /// Of all that takes part.
    pub version: String,
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
        let program = "import torch, torchvision, timm\n\
                       print(f'PyTorch {torch.__version__}, timm {timm.__version__}')";
        let output = Command::new(&python)
            .args(["-c", program])
            .output()
            .map_err(|error| format!("{name} does not start: {error}"))?;
        if !output.status.success() {
            return Err(format!("{name} cannot import torch, torchvision and timm"));
        }
        Ok(Self {
            version: String::from_utf8_lossy(&output.stdout).trim().to_string(),
            python,
        })
    }

    /// Measures the same network.
    pub fn measure(&self, case: &Case) -> anyhow::Result<Measured> {
        let folder = tempfile::tempdir().context("no folder for the program of a peer")?;
        let program = folder.path().join("models.py");
        fs::write(&program, include_str!("../../peers/models.py"))
            .with_context(|| format!("cannot write {}", program.display()))?;
        let output = Command::new(&self.python)
            .arg(program)
            .arg(serde_json::to_string(case)?)
            .stderr(Stdio::inherit())
            .output()?;
        ensure!(
            output.status.success(),
            "PyTorch failed ({})",
            output.status
        );
        serde_json::from_slice(&output.stdout).context("the peer printed something else")
    }
}
