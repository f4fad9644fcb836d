//! PyTorch, where there is a Python that has it.

use super::case::{Case, Measured};
use crate::bench::python::{Packages, Python};

pub const PACKAGES: Packages = Packages {
    peer: "PyTorch",
    names: "torch, torchvision and timm",
    program: "import torch, torchvision, timm\n\
              print(f'PyTorch {torch.__version__}, timm {timm.__version__}')",
};

/// Measures the same network.
pub fn measure(python: &Python, case: &Case) -> anyhow::Result<Measured> {
    let mut program = python.program(include_str!("../../../peers/models.py"))?;
    program.command.arg(serde_json::to_string(case)?);
    program.measured()
}
