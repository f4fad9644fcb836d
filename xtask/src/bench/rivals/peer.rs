//! The same losses in PyTorch, where there is a Python that has it.

use serde::Deserialize;

use super::case::{Case, Measured};
use crate::bench::process::with_threads;
use crate::bench::python::{Packages, Python};

pub const PACKAGES: Packages = Packages {
    peer: "PyTorch",
    names: "torch",
    program: "import torch\n\
              try:\n import pytorch_metric_learning as p; more = f', pytorch-metric-learning {p.__version__}'\n\
              except ImportError: more = ''\n\
              print(f'PyTorch {torch.__version__}{more}')",
};

/// The ways to compute a loss in PyTorch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// As its authors wrote it down, of whole matrices.
    Formula,
    /// The same by the tensors of the authors' programs, where they lay out more.
    Layout,
    /// The class of pytorch-metric-learning.
    Library,
}

impl Way {
    /// All, in the order of the table.
    pub const ALL: [Self; 3] = [Self::Formula, Self::Layout, Self::Library];

    fn argument(self) -> &'static str {
        match self {
            Self::Formula => "formula",
            Self::Layout => "layout",
            Self::Library => "pml",
        }
    }
}

/// What was found of PyTorch in a case.
#[derive(Debug, Clone)]
pub enum Theirs {
    Measured(Measured),
    /// Measured, but of another function than ours.
    Disagrees,
    /// Why it was not.
    Skipped(String),
    Failed,
}

/// What `peers/rivals.py` prints.
#[derive(Deserialize)]
#[serde(untagged)]
enum Printed {
    Skipped { skipped: String },
    Measured(Measured),
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
        let name = || format!("{}, PyTorch, {}", case.kind.name(), way.argument());
        let theirs = match self.measure(case, way) {
            Ok(Printed::Measured(theirs)) => theirs,
            Ok(Printed::Skipped { skipped }) => return Theirs::Skipped(skipped),
            Err(error) => {
                eprintln!("{}: {error:#}", name());
                return Theirs::Failed;
            }
        };
        let [mut found, mut expected] = [&theirs, ours].map(|of| match way {
            Way::Formula | Way::Layout => of.computed(),
            // It normalises the rows.
            Way::Library => of.computed_along_the_sphere(),
        });
        if case.kind.has_steps() {
            (found.grad_norm, expected.grad_norm) = (0.0, 0.0);
        }
        match expected.check_agreement(found) {
            Ok(()) => Theirs::Measured(theirs),
            Err(error) => {
                eprintln!("not compared: {}: {error}", name());
                Theirs::Disagrees
            }
        }
    }

    fn measure(&self, case: &Case, way: Way) -> anyhow::Result<Printed> {
        let source = include_str!("../../../peers/rivals.py");
        let mut program = self.python.program(source)?;
        with_threads(&mut program.command, self.threads)
            .arg(&case.folder)
            .args(["--way", way.argument()])
            .args(["--threads", &self.threads.to_string()])
            .args(["--repeat", &case.repeat.to_string()]);
        program.measured()
    }
}
