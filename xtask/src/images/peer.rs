//! torchvision with Pillow, where there is a Python that has them.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::case::{BATCH, Case, Measured, printed};

/// A Python with torchvision.
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
        let program = "import torch, torchvision, PIL\n\
                       print(f'PyTorch {torch.__version__}, torchvision {torchvision.__version__}, \
                       Pillow {PIL.__version__}')";
        let output = Command::new(&python)
            .args(["-c", program])
            .output()
            .map_err(|error| format!("{name} does not start: {error}"))?;
        if !output.status.success() {
            return Err(format!("{name} cannot import torchvision"));
        }
        Ok(Self {
            version: String::from_utf8_lossy(&output.stdout).trim().to_string(),
            python,
        })
    }

    /// Measures a case, on the very files that ours is measured on.
    pub fn measure(&self, case: &Case, count: usize) -> anyhow::Result<Measured> {
        let folder = tempfile::tempdir().context("no folder for the program of a peer")?;
        let program = folder.path().join("images.py");
        fs::write(&program, include_str!("../../peers/images.py"))
            .with_context(|| format!("cannot write {}", program.display()))?;
        let mut command = Command::new(&self.python);
        command
            .arg(program)
            .arg(&case.folder)
            .args(["--count", &count.to_string()])
            .args(["--batch", &BATCH.to_string()])
            .args(["--workers", &case.threads.to_string()]);
        if !case.work.trains() {
            command.arg("--eval");
        }
        printed(&mut command)
    }
}
