//! torchvision with Pillow, where there is a Python that has them.

use super::case::{BATCH, Case, Measured};
use crate::bench::python::{Packages, Python};

pub const PACKAGES: Packages = Packages {
    peer: "torchvision",
    names: "torchvision",
    program: "import torch, torchvision, PIL\n\
              print(f'PyTorch {torch.__version__}, torchvision {torchvision.__version__}, \
              Pillow {PIL.__version__}')",
};

/// Measures a case, on the very files that ours is measured on.
pub fn measure(python: &Python, case: &Case, count: usize) -> anyhow::Result<Measured> {
    let mut program = python.program(include_str!("../../../peers/images.py"))?;
    let command = &mut program.command;
    command
        .arg(&case.folder)
        .args(["--count", &count.to_string()])
        .args(["--batch", &BATCH.to_string()])
        .args(["--workers", &case.threads.to_string()]);
    if !case.work.trains() {
        command.arg("--eval");
    }
    program.measured()
}
