//! Rows of features through a head: as many as there are, a block at a time.

use std::path::Path;

use anyhow::{bail, ensure};
use recall_data::{CorruptPolicy, DataSpec, row_problem};
use recall_eval::{EmbeddingsFile, EmbeddingsWriter};

use super::super::common::holds_labels;
use super::super::origin::Origin;
use super::super::output::{Inputs, Staged};
use super::super::print::print;
use super::super::terminal::Terminal;
use super::EmbedArgs;
use crate::{Checkpoint, TrainedModel};

/// Rows that are in memory at once.
const ROWS: usize = 8192;

impl EmbedArgs {
    pub(super) fn embed_features(
        &self,
        checkpoint: &Checkpoint,
        file: &Path,
    ) -> anyhow::Result<()> {
        let config = &checkpoint.config;
        let Some(dim) = config.model.features else {
            bail!(
                "{} takes images, and --features has rows for a head: give --data, or the checkpoint of a head",
                config.model.backbone
            );
        };
        ensure!(
            self.common.loading().corrupt == CorruptPolicy::Error,
            "--skip-corrupt would leave rows of --features out, and rows are known by their place: mend the file"
        );
        let rows = EmbeddingsFile::open(file)?;
        ensure!(
            rows.dim() == dim,
            "the rows of {} have {} numbers, and the head of {} takes {dim}",
            file.display(),
            rows.dim(),
            checkpoint.path().display()
        );
        let origin = Origin::path_beside(&self.output);
        let mut inputs = Inputs::default();
        inputs.add("--features", file);
        inputs.add("--checkpoint", checkpoint.path());
        self.whitening.add_to(&mut inputs);
        self.force
            .check(&[self.output.clone(), origin.clone()], &inputs)?;
        let labels = match holds_labels(&self.output) {
            true => rows.integers("labels")?,
            false => None,
        };
        let mut writer = EmbeddingsWriter::create_in(&self.output, self.precision.into())?;
        let mut terminal = Terminal::new(self.common.quiet);
        let device = self.common.backend.open()?;
        let model = TrainedModel::on(&*device, checkpoint.clone())?;
        let model = self.whitening.behind(model)?;
        terminal.count("embedding", rows.rows());
        let mut values = vec![0.0; ROWS.min(rows.rows()) * dim];
        let mut unit_length = true;
        for start in (0..rows.rows()).step_by(ROWS) {
            let end = rows.rows().min(start + ROWS);
            let block = &mut values[..(end - start) * dim];
            rows.read(start..end, block)?;
            for (row, values) in (start..).zip(block.chunks_exact(dim)) {
                if let Some(problem) = row_problem(values) {
                    bail!("row {row} of {} {problem}: mend the file", file.display());
                }
            }
            let embedded = model.embed_rows(block)?;
            unit_length &= embedded.is_normalised();
            writer.push(&embedded)?;
            terminal.counted(end);
        }
        terminal.counting_done();
        let data = DataSpec::Embeddings {
            file: file.to_owned(),
            labels: None,
        };
        let shape @ [count, numbers] = [writer.rows(), writer.dim()];
        let about = Origin::new(&model, &data, "all".to_owned(), shape, unit_length)?;
        let mut staged = Staged::default();
        staged.add_text(&origin, &about.to_json()?)?;
        writer.finish(labels.as_deref())?;
        staged.publish()?;
        print(&format!("{count} embeddings of {numbers} numbers"))?;
        for file in [&self.output, &origin] {
            print(&format!("wrote  {}", file.display()))?;
        }
        Ok(())
    }
}
