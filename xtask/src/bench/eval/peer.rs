//! faiss, where there is a Python that has it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::case::Case;
use crate::bench::python::{Packages, Python};

pub const PACKAGES: Packages = Packages {
    peer: "faiss",
    names: "faiss",
    program: "import faiss, numpy\n\
              print(f'faiss {faiss.__version__}, numpy {numpy.__version__}')",
};

/// What it found.
#[derive(Debug, Clone, Deserialize)]
pub struct PeerMeasured {
    pub search_seconds: f64,
    pub metric_seconds: f64,
    pub values: BTreeMap<String, f64>,
}

/// Judges the very files that ours are judged from.
pub fn measure(python: &Python, case: &Case) -> anyhow::Result<PeerMeasured> {
    let mut program = python.program(include_str!("../../../peers/eval.py"))?;
    program
        .command
        .args([&case.embeddings, &case.labels])
        .args(["--threads", &case.threads.to_string()]);
    program.measured()
}
