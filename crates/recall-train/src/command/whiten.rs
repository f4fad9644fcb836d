//! Learning a whitening from embeddings.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::Args;
use recall_eval::refine::{PairWhitening, PcaWhitening};
use recall_eval::{Embeddings, EmbeddingsFile, read_labels};

use super::common::open_checkpoint;
use super::origin::Origin;
use super::output::{ForceArg, Inputs, Staged};
use super::print::print;
use crate::RunError;

/// Options of learning a whitening.
#[derive(Debug, Args)]
pub(super) struct WhitenArgs {
    /// Embeddings to learn from, a row for each item, .npy or .safetensors; they are brought to length 1. Take training images: those
    /// that are judged would tell about themselves.
    #[arg(long, value_name = "FILE")]
    embeddings: PathBuf,
    /// The class of each row: learn from all pairs of a class how rows that match differ, instead of principal components
    /// alone.
    #[arg(long, value_name = "FILE", conflicts_with = "pairs")]
    labels: Option<PathBuf>,
    /// The same from pairs of rows that match: a line for each, with the numbers of two rows, counted from 0 and
    /// separated by a comma.
    #[arg(long, value_name = "FILE")]
    pairs: Option<PathBuf>,
    /// Dimensions to keep. Without it: all, of principal components those in which rows vary.
    #[arg(long, value_name = "N")]
    dim: Option<usize>,
    /// How far principal components are whitened: 1 brings all to the same variance, 0 only turns the rows.
    #[arg(long, value_name = "POWER", default_value_t = PcaWhitening::default().power, conflicts_with_all = ["labels", "pairs"])]
    power: f64,
    /// How far the covariance is moved to that of noise, between 0 and 1: for few rows or few pairs.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    shrinkage: f64,
    /// Where to write: NAME.safetensors, for --whiten of embed, eval and gallery.
    #[arg(long, value_name = "FILE", required_unless_present = "checkpoint")]
    output: Option<PathBuf>,
    /// Instead of --output: the folder of a run, or of one of its checkpoints, whose model embedded these rows. From then
    /// on the whitening stands behind this model in embed, eval and gallery.
    #[arg(long, value_name = "DIR", conflicts_with = "output")]
    checkpoint: Option<PathBuf>,
    #[command(flatten)]
    force: ForceArg,
}

impl WhitenArgs {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let output = self.place()?;
        let mut inputs = Inputs::default();
        inputs.add("--embeddings", &self.embeddings);
        for (option, path) in [("--labels", &self.labels), ("--pairs", &self.pairs)] {
            if let Some(path) = path {
                inputs.add(option, path);
            }
        }
        self.force.check(std::slice::from_ref(&output), &inputs)?;
        let rows = Embeddings::open(&self.embeddings)?;
        let rows = rows
            .normalised()
            .map_err(|source| recall_eval::EvalError::Content {
                path: self.embeddings.clone(),
                source: Box::new(source),
            })?;
        let (dim, shrinkage) = (self.dim, self.shrinkage);
        let by_pairs = PairWhitening { dim, shrinkage };
        let whitening = match (&self.labels, &self.pairs) {
            (Some(path), _) => by_pairs.learn_from_labels(&rows, &read_labels(path)?)?,
            (None, Some(path)) => by_pairs.learn_from_pairs(&rows, &read_pairs(path)?)?,
            (None, None) => {
                let power = self.power;
                PcaWhitening {
                    dim,
                    power,
                    shrinkage,
                }
                .learn(&rows)?
            }
        };
        let mut staged = Staged::default();
        staged.add(&output, |place| whitening.save(place))?;
        staged.publish()?;
        print(&format!(
            "whitening of {} dimensions to {}, learned from {} rows",
            whitening.dim(),
            whitening.out(),
            rows.rows()
        ))?;
        print(&format!("wrote  {}", output.display()))
    }

    /// Where the whitening goes; into a checkpoint only that of its own embeddings.
    fn place(&self) -> anyhow::Result<PathBuf> {
        let Some(dir) = &self.checkpoint else {
            let output = self.output.clone().unwrap_or_default();
            ensure!(
                super::common::holds_labels(&output),
                "{}: a whitening is kept in a .safetensors file; use that extension",
                output.display()
            );
            return Ok(output);
        };
        let checkpoint = open_checkpoint(dir)?;
        let file = EmbeddingsFile::open(&self.embeddings)?;
        let (rows, dim) = ([file.rows(), file.dim()], checkpoint.config.model.dim);
        let (shown, of_model) = (self.embeddings.display(), checkpoint.path().display());
        ensure!(
            file.dim() == dim,
            "the embeddings in {shown} have {} numbers and those of the model in {of_model} {dim}: give rows that              this model embedded, not whitened yet",
            file.dim()
        );
        if let Some(origin) = Origin::beside(&self.embeddings, rows)? {
            ensure!(
                origin.model.sha256 == checkpoint.weights_hash()?,
                "{shown} was embedded by another model than that of {of_model}: embed it with this one"
            );
            ensure!(
                origin.whitening.is_none(),
                "{shown} was whitened already: embed it with --no-whitening"
            );
        }
        Ok(checkpoint.whitening_file())
    }
}

fn read_pairs(path: &Path) -> anyhow::Result<Vec<[u32; 2]>> {
    let text = fs::read_to_string(path).map_err(RunError::file("read", path))?;
    let lines = (1..)
        .zip(text.lines())
        .filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(number, line)| {
            let pair = line.split_once(',').and_then(|(a, b)| {
                let [a, b] = [a, b].map(|row| row.trim().parse().ok());
                Some([a?, b?])
            });
            pair.with_context(|| {
                format!(
                    "{}: line {number} is no pair of rows: write two whole numbers, as in 0,12",
                    path.display()
                )
            })
        })
        .collect()
}
