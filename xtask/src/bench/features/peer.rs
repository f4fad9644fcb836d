//! The same step in PyTorch, where there is a Python that has it.

use std::fs;
use std::path::Path;

use anyhow::Context;
use serde::Deserialize;

use super::case::{Case, Measured};
use crate::bench::agreement::Computed;
use crate::bench::process::with_threads;
use crate::bench::python::{Packages, Python};

pub const PACKAGES: Packages = Packages {
    peer: "PyTorch",
    names: "torch and safetensors",
    program: "import torch, safetensors.torch; print(f'PyTorch {torch.__version__}')",
};

/// The ways to compute the loss in PyTorch, those of `peers/loss.py`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Vectorised, the gradient by autograd, in blocks of queries that fit the cache.
    Autograd,
    /// The gradient by hand, every buffer used again.
    Formula,
}

impl Way {
    /// All, in the order of the table.
    pub const ALL: [Self; 2] = [Self::Autograd, Self::Formula];

    fn name(self) -> &'static str {
        match self {
            Self::Autograd => "autograd",
            Self::Formula => "formula",
        }
    }
}

/// What PyTorch found.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct PeerMeasured {
    pub step_seconds: f64,
    pub loss: f64,
    pub grad_norm: f64,
    pub peak_mb: f64,
}

/// What was found of PyTorch in a case.
#[derive(Debug)]
pub enum Theirs {
    Measured(PeerMeasured),
    /// Measured, but of another function than ours.
    Disagrees,
    Skipped,
    Failed,
}

/// A Python with PyTorch and how it shall run.
#[derive(Debug)]
pub struct Peer {
    pub python: Python,
    pub threads: usize,
}

impl Peer {
    /// Measures a case, and tells what it found only where that is the same as ours.
    pub fn compare(&self, case: &Case, way: Way, ours: &Measured) -> Theirs {
        let theirs = match self.measure(case, way) {
            Ok(theirs) => theirs,
            Err(error) => {
                eprintln!("PyTorch, {}: {error:#}", way.name());
                return Theirs::Failed;
            }
        };
        let computed = |loss, grad_norm| Computed { loss, grad_norm };
        let found = computed(ours.loss, ours.grad_norm);
        match found.check_agreement(computed(theirs.loss, theirs.grad_norm)) {
            Ok(()) => Theirs::Measured(theirs),
            Err(error) => {
                eprintln!("not compared with PyTorch, {}: {error}", way.name());
                Theirs::Disagrees
            }
        }
    }

    fn measure(&self, case: &Case, way: Way) -> anyhow::Result<PeerMeasured> {
        let source = include_str!("../../../peers/features.py");
        let mut program = self.python.program(source)?;
        let folder = program.folder().to_owned();
        write(case, &folder)?;
        with_threads(&mut program.command, self.threads)
            .arg(&folder)
            .args(["--way", way.name()])
            .args(["--threads", &self.threads.to_string()]);
        program.measured()
    }
}

/// The case as settings, bare numbers and the weights of the head, and the program that has the loss.
fn write(case: &Case, folder: &Path) -> anyhow::Result<()> {
    let save = |name: &str, bytes: Vec<u8>| {
        fs::write(folder.join(name), bytes).with_context(|| format!("cannot write {name}"))
    };
    let features = case.features();
    let bytes = features.iter().flat_map(|x| x.to_ne_bytes()).collect();
    save("case.json", serde_json::to_vec(case)?)?;
    save("features.f32", bytes)?;
    save("loss.py", include_bytes!("../../../peers/loss.py").to_vec())?;
    case.save_head(&folder.join("head.safetensors"))
}
