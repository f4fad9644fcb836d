//! The same loss in PyTorch, where there is a Python that has it.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};

use super::case::Case;
use super::measure::Measured;
use crate::bench::process::with_threads;
use crate::bench::python::{Packages, Python};

pub const PACKAGES: Packages = Packages {
    peer: "PyTorch",
    names: "torch",
    program: "import torch; print(f'PyTorch {torch.__version__}')",
};

/// Losses further apart than this, relatively, are not of the same function.
const LOSS_TOLERANCE: f64 = 1e-4;

/// Norms of gradients are sums over many more roundings.
const GRAD_TOLERANCE: f64 = 1e-3;

/// Norms below this are rounding alone.
const NO_GRADIENT: f64 = 1e-6;

/// The ways to compute the loss in PyTorch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Vectorised, the gradient by autograd, 1,000 queries at a time: what one writes.
    Autograd,
    /// The same with as many queries at a time as keep the comparisons in the cache.
    Tuned,
    /// The gradient by hand, every buffer used again: what tensor operations can do.
    Formula,
}

impl Way {
    /// All, in the order of the table.
    pub const ALL: [Self; 3] = [Self::Autograd, Self::Tuned, Self::Formula];

    /// For messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Autograd => "autograd",
            Self::Tuned => "autograd in tuned blocks",
            Self::Formula => "formula",
        }
    }

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Autograd => &["--way", "autograd", "--block", "1000"],
            Self::Tuned => &["--way", "autograd"],
            Self::Formula => &["--way", "formula"],
        }
    }
}

/// A Python with PyTorch and how it shall run.
#[derive(Debug)]
pub struct Peer<'a> {
    pub python: Python,
    pub device: &'a str,
    pub compile: bool,
    pub threads: usize,
}

impl Peer<'_> {
    /// Measures a case, on the very numbers that ours is measured on.
    pub fn measure(&self, case: &Case, way: Way) -> anyhow::Result<Measured> {
        let mut program = self
            .python
            .program(include_str!("../../../peers/loss.py"))?;
        write(case, program.folder())?;
        let data = program.folder().to_owned();
        let command = with_threads(&mut program.command, self.threads);
        command
            .arg(data)
            .args(way.arguments())
            .args(["--threads", &self.threads.to_string()])
            .args(["--device", self.device])
            .args(["--budget", &case.budget.to_string()]);
        if self.compile {
            command.arg("--compile");
        }
        program.measured()
    }
}

/// Refuses to compare times of two programs that do not compute the same.
pub fn check_agreement(ours: &Measured, theirs: &Measured) -> anyhow::Result<()> {
    let differ = |a: f64, b: f64, tolerance: f64| (a - b).abs() > tolerance * a.abs().max(b.abs());
    if differ(ours.loss, theirs.loss, LOSS_TOLERANCE) {
        bail!("the loss is {} here and {} there", ours.loss, theirs.loss);
    }
    if ours.grad_norm.max(theirs.grad_norm) > NO_GRADIENT
        && differ(ours.grad_norm, theirs.grad_norm, GRAD_TOLERANCE)
    {
        bail!(
            "the norm of the gradient is {} here and {} there",
            ours.grad_norm,
            theirs.grad_norm
        );
    }
    Ok(())
}

/// The case as settings and arrays of bare numbers, which any Python reads.
fn write(case: &Case, folder: &Path) -> anyhow::Result<()> {
    let save = |name: &str, bytes: Vec<u8>| {
        fs::write(folder.join(name), bytes).with_context(|| format!("cannot write {name}"))
    };
    let floats = |values: &[f32]| values.iter().flat_map(|x| x.to_ne_bytes()).collect();
    let ints = |values: &[i64]| values.iter().flat_map(|x| x.to_ne_bytes()).collect();
    save("case.json", serde_json::to_vec(case)?)?;
    save("embeddings.f32", floats(&case.embeddings()))?;
    save("labels.i64", ints(&case.labels()))?;
    if let Some(mixup) = case.pairs() {
        let pairs: Vec<_> = mixup.pairs().collect();
        let first: Vec<_> = pairs.iter().map(|pair| pair.0 as i64).collect();
        let second: Vec<_> = pairs.iter().map(|pair| pair.1 as i64).collect();
        let alpha: Vec<_> = pairs.iter().map(|pair| pair.2 as f32).collect();
        save("first.i64", ints(&first))?;
        save("second.i64", ints(&second))?;
        save("alpha.f32", floats(&alpha))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(loss: f64, grad_norm: f64) -> Measured {
        Measured {
            seconds: 1.0,
            median_seconds: 1.0,
            loss,
            grad_norm,
            peak_mb: 1.0,
            matmul_seconds: 1.0,
        }
    }

    #[test]
    fn only_equal_computations_are_compared() {
        let ours = measured(0.5, 0.01);
        assert!(check_agreement(&ours, &measured(0.50001, 0.010_001)).is_ok());
        assert!(check_agreement(&ours, &measured(0.501, 0.01)).is_err());
        assert!(check_agreement(&ours, &measured(0.5, 0.02)).is_err());
        let flat = measured(1.0, 1e-13);
        assert!(check_agreement(&flat, &measured(1.0, 0.0)).is_ok());
    }
}
