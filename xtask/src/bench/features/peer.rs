//! The same step in PyTorch, where there is a Python that has it.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use serde::Deserialize;

use super::case::{Case, Measured};
use crate::bench::process::with_threads;
use crate::bench::python::{Packages, Python};

pub const PACKAGES: Packages = Packages {
    peer: "PyTorch",
    names: "torch and safetensors",
    program: "import torch, safetensors.torch; print(f'PyTorch {torch.__version__}')",
};

/// Losses further apart than this, relatively, are not of the same function.
const LOSS_TOLERANCE: f64 = 1e-4;

/// Norms of gradients are sums over many more roundings.
const GRAD_TOLERANCE: f64 = 1e-3;

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
        match check_agreement(ours, &theirs) {
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

/// Refuses to compare times of two programs that do not compute the same.
fn check_agreement(ours: &Measured, theirs: &PeerMeasured) -> anyhow::Result<()> {
    let differ = |a: f64, b: f64, tolerance: f64| (a - b).abs() > tolerance * a.abs().max(b.abs());
    if differ(ours.loss, theirs.loss, LOSS_TOLERANCE) {
        bail!("the loss is {} here and {} there", ours.loss, theirs.loss);
    }
    if differ(ours.grad_norm, theirs.grad_norm, GRAD_TOLERANCE) {
        bail!(
            "the norm of the gradient is {} here and {} there",
            ours.grad_norm,
            theirs.grad_norm
        );
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_equal_computations_are_compared() {
        let ours = Measured {
            step_seconds: 1.0,
            loss_seconds: 1.0,
            product_seconds: 1.0,
            ratio: 1.0,
            loss: 0.5,
            grad_norm: 0.01,
            peak_mb: 1.0,
        };
        let theirs = |loss, grad_norm| PeerMeasured {
            step_seconds: 1.0,
            loss,
            grad_norm,
            peak_mb: 1.0,
        };
        assert!(check_agreement(&ours, &theirs(0.50001, 0.010_001)).is_ok());
        assert!(check_agreement(&ours, &theirs(0.501, 0.01)).is_err());
        assert!(check_agreement(&ours, &theirs(0.5, 0.02)).is_err());
    }
}
