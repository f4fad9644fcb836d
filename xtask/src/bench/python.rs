//! What is compared with: programs in Python, where there is a Python that has their packages.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use super::process::printed;

/// The packages that a peer needs.
#[derive(Debug)]
pub struct Packages {
    /// The peer, for messages.
    pub peer: &'static str,
    /// What is imported, for messages.
    pub names: &'static str,
    /// A program that imports them and prints the versions of all that takes part.
    pub program: &'static str,
}

/// A Python that has the packages of a peer.
#[derive(Debug)]
pub struct Python {
    path: PathBuf,
    /// Of all that takes part.
    pub version: String,
}

impl Python {
    /// The Python that was named, or else that of `RECALL_PYTHON`, or else `python3`; none where that
    /// one has not the packages, which is said, or where no peer is wanted.
    pub fn with(packages: &Packages, named: Option<&Path>, unwanted: bool) -> Option<Self> {
        if unwanted {
            return None;
        }
        Self::find(packages, named)
            .inspect_err(|reason| eprintln!("without {}: {reason}", packages.peer))
            .ok()
    }

    fn find(packages: &Packages, named: Option<&Path>) -> Result<Self, String> {
        let path = named
            .map(|path| path.as_os_str().to_owned())
            .or_else(|| env::var_os("RECALL_PYTHON"))
            .unwrap_or_else(|| OsString::from("python3"));
        let path = PathBuf::from(path);
        let name = path.display();
        let output = Command::new(&path)
            .args(["-c", packages.program])
            .output()
            .map_err(|error| format!("{name} does not start: {error}"))?;
        if !output.status.success() {
            return Err(format!("{name} cannot import {}", packages.names));
        }
        Ok(Self {
            version: String::from_utf8_lossy(&output.stdout).trim().to_string(),
            path,
        })
    }

    /// Starts a program: its source travels with this one, to machines without its sources.
    pub fn program(&self, source: &str) -> anyhow::Result<Program> {
        let folder = tempfile::tempdir().context("no folder for the program of a peer")?;
        let path = folder.path().join("peer.py");
        fs::write(&path, source).with_context(|| format!("cannot write {}", path.display()))?;
        let mut command = Command::new(&self.path);
        command.arg(path);
        Ok(Program { folder, command })
    }
}

/// A program of a peer, in a folder of its own that goes with it.
#[derive(Debug)]
pub struct Program {
    folder: TempDir,
    /// To be given arguments.
    pub command: Command,
}

impl Program {
    /// Where data for it can lie.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs it and reads the last line it prints.
    pub fn measured<T: DeserializeOwned>(mut self) -> anyhow::Result<T> {
        printed(&mut self.command)
    }
}
