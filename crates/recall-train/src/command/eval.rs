use std::sync::Arc;

use anyhow::{bail, ensure};
use burn::tensor::backend::AutodiffBackend;
use clap::Args;
use recall_data::{Dataset, Split};
use recall_eval::{Evaluation, Metric};
use recall_loss::RecallBackend;

use super::terminal::Terminal;
use super::{CheckpointArg, CommonArgs};
use crate::Loading;
use crate::RunError;
use crate::backend::OnBackend;
use crate::embed::{Gallery, embed_items, items_of, metrics};
use crate::run::Checkpoint;

/// Options of judging.
#[derive(Debug, Args)]
pub(super) struct EvalArgs {
    #[command(flatten)]
    checkpoint: CheckpointArg,
    #[command(flatten)]
    common: CommonArgs,
    /// Metrics to report, for example recall@1,recall@10,r_precision,map@r; without it those of the
    /// run.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    metrics: Vec<Metric>,
    /// Print one JSON object whose keys are the names of the metrics.
    #[arg(long)]
    json: bool,
}

impl EvalArgs {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let checkpoint = Checkpoint::open(&self.checkpoint.checkpoint)?;
        let dataset = Arc::new(checkpoint.config.image.open(&self.common.data)?);
        if !dataset.ground_truth().is_empty() {
            let dataset = dataset.name().to_owned();
            bail!(RunError::JudgedByLists { dataset });
        }
        let metrics = match self.metrics.is_empty() {
            true => metrics(&checkpoint.config.evaluation.ks),
            false => self.metrics,
        };
        let mut terminal = Terminal::new(self.common.quiet || self.json);
        dataset.notes().iter().for_each(|note| terminal.say(note));
        let job = EvalJob {
            checkpoint: &checkpoint,
            dataset: &dataset,
            loading: self.common.loading(),
            metrics: &metrics,
            terminal: &mut terminal,
        };
        let evaluation = self.common.backend.run(job)??;
        if self.json {
            println!("{}", serde_json::to_string(&evaluation)?);
            return Ok(());
        }
        println!("{evaluation}");
        if evaluation.without_positives > 0 {
            let without = evaluation.without_positives;
            println!("{without} queries without another image of their class are left out");
        }
        ensure!(evaluation.queries > 0, "there was no query");
        Ok(())
    }
}

struct EvalJob<'a> {
    checkpoint: &'a Checkpoint,
    dataset: &'a Arc<Dataset>,
    loading: Loading,
    metrics: &'a [Metric],
    terminal: &'a mut Terminal,
}

impl OnBackend for EvalJob<'_> {
    type Output = Result<Evaluation, RunError>;

    fn run<B: AutodiffBackend<InnerBackend: RecallBackend>>(
        self,
        device: &B::Device,
    ) -> Self::Output {
        let config = &self.checkpoint.config;
        let model = self.checkpoint.load::<B::InnerBackend>(device)?;
        let loader =
            self.loading
                .loader(self.dataset, &config.image, config.image.eval, config.seed)?;
        let ids = items_of(self.dataset, Split::Test)?;
        self.terminal.count("embedding", ids.len());
        let (embeddings, kept) = embed_items(
            &model,
            &loader,
            ids,
            config.evaluation.chunk,
            &config.image.standardise,
            device,
            |done| self.terminal.counted(done),
        )?;
        self.terminal.counting_done();
        if kept.len() < ids.len() {
            self.terminal.warn(&format!(
                "{} images could not be read",
                ids.len() - kept.len()
            ));
        }
        Ok(Gallery::new(self.dataset, embeddings, kept)?.evaluate(self.metrics)?)
    }
}
