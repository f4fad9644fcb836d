//! The same loss in PyTorch, where there is a Python that has it.

use std::fs;
use std::path::Path;

use anyhow::Context;

use super::case::Case;
use super::measure::Measured;
use crate::bench::process::with_threads;
use crate::bench::python::{Packages, Python};

pub const PACKAGES: Packages = Packages {
    peer: "PyTorch",
    names: "torch",
    program: "import torch; print(f'PyTorch {torch.__version__}')",
};

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
