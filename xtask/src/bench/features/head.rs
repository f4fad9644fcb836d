//! Whether the lines that docs/features.md and docs/models.md give for Python embed with a head as we do.
//!
//! The lines are taken from the pages (`peers/head.py`), so that what is written there is what is checked.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use recall_eval::{Embeddings, save_labels};

use super::data::Rows;
use super::part::Part;
use crate::bench::process::{Measure, printed};
use crate::bench::python::{Packages, Python};

const PACKAGES: Packages = Packages {
    peer: "the check of the pages",
    names: "torch, numpy and safetensors",
    program: "import torch, numpy, safetensors.numpy, safetensors.torch\n\
              print(f'PyTorch {torch.__version__}, NumPy {numpy.__version__}')",
};

/// How far numbers of embeddings may be apart that were computed in another order.
const TOLERANCE: f64 = 1e-5;

/// Few rows, whose head is trained in a moment, and still more than one block of them.
const ROWS: usize = 9_000;
const DIM: usize = 24;

/// Trains a head of each kind, and embeds rows with it in all ways.
pub fn check(python: Option<&Path>) -> anyhow::Result<()> {
    let Some(python) = Python::with(&PACKAGES, python, false) else {
        return Ok(());
    };
    println!("{}", python.version);
    let folder = tempfile::tempdir().context("no folder for the heads")?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    let rows = Rows {
        classes: ROWS / 30,
        dim: DIM,
    };
    Embeddings::new(rows.values(0..ROWS), DIM)?.save(path("rows.npy"))?;
    save_labels(path("rows.labels.npy"), &rows.labels(0..ROWS))?;
    let data = format!("embeddings:{}", path("rows.npy"));
    let quiet = ["--backend", "flex", "--quiet"];
    let part = |arguments: &[&str]| Part::new(&[arguments, &quiet].concat()).measure_apart();
    for head in ["linear", "residual"] {
        let (run, ours) = (path(head), path(&format!("{head}.npy")));
        let backbone = format!("model.backbone={head}");
        // Enough steps for a hidden layer that begins with zeros to say something.
        let settings = ["epochs=3", "model.dim=16", &backbone];
        let settings: Vec<&str> = (settings.into_iter())
            .flat_map(|setting| ["--set", setting])
            .collect();
        part(&[&["train", "--data", &data, "--out", &run][..], &settings].concat())?;
        let rows = path("rows.npy");
        let files = ["--features", &rows, "--output", &ours];
        part(&[&["embed", "--checkpoint", &run][..], &files].concat())?;

        let mut program = python.program(include_str!("../../../peers/head.py"))?;
        let pages = [
            ("features.md", include_str!("../../../../docs/features.md")),
            ("models.md", include_str!("../../../../docs/models.md")),
        ];
        for (name, text) in pages {
            let page = program.folder().join(name);
            fs::write(&page, text).with_context(|| format!("cannot write {}", page.display()))?;
        }
        let pages = program.folder().to_owned();
        let checkpoint = recall_train::Checkpoint::open(Path::new(&run))?;
        program.command.arg(pages).arg(checkpoint.path());
        program.command.args([&rows, &ours]);
        let found: BTreeMap<String, f64> = printed(&mut program.command)?;
        for (lines, difference) in found {
            println!("{head}, {lines}: at most {difference:.1e} apart");
            ensure!(
                difference <= TOLERANCE,
                "the lines of {lines} do not embed with a {head} head as we do"
            );
        }
    }
    Ok(())
}
