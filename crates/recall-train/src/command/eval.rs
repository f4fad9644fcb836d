//! Judging a trained model, or embeddings from anywhere.

mod file_args;
mod files;
mod refining;

use std::fmt::Display;
use std::path::PathBuf;

use anyhow::ensure;
use clap::{Args, ValueEnum};
use recall_data::{Benchmark, DataSpec, Dataset, Protocol};
use recall_eval::{Bootstrap, EmptyQueries, EvalError, Metric, Policy, RandomGallery, Ties};
use serde::Serialize;

use super::common::{BackboneArgs, CommonArgs, DistractorArgs, open_checkpoint};
use super::print::print;
use super::split::SplitName;
use super::terminal::Terminal;
use super::trained::{Images, Judged, TrainedClasses};
use crate::embed::need_labels;
use crate::judge::{JudgeConfig, Problem, Ranking, metrics};
use crate::run::{Checkpoint, Progress, missing, sentence};
use crate::{NamedBackend, TrainedModel};
use file_args::FileArgs;
use refining::RefineArgs;

/// Options of judging.
#[derive(Debug, Args)]
pub(super) struct EvalArgs {
    /// The folder of a run, or of one of its checkpoints: its model embeds the images of --data.
    #[arg(long, value_name = "DIR", conflicts_with = "embeddings")]
    checkpoint: Option<PathBuf>,
    #[command(flatten)]
    backbone: BackboneArgs,
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    distractors: DistractorArgs,
    /// Which images to judge by.
    #[arg(long, value_enum, default_value_t = SplitName::Test, conflicts_with = "embeddings")]
    split: SplitName,
    #[command(flatten, next_help_heading = "Embeddings from files")]
    files: FileArgs,
    #[command(flatten, next_help_heading = "Judging")]
    judging: JudgeArgs,
    #[command(flatten, next_help_heading = "After the network")]
    refining: RefineArgs,
}

/// How to judge.
#[derive(Debug, Args)]
struct JudgeArgs {
    /// Metrics to report, for example recall@1,recall@10,r_precision,map@r. Without it: of a
    /// benchmark those that are published, otherwise those of the run; of files recall@1,10,100,1000,
    /// r_precision and map@r; of a ground truth average precision.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    metrics: Vec<Metric>,
    /// Queries with nothing to find: skip, zero or error.
    #[arg(long, value_name = "POLICY", value_enum, default_value_t = Empty::Skip, hide_possible_values = true)]
    empty: Empty,
    /// Items of equal similarity: stable (by id), pessimistic (right ones last) or optimistic.
    #[arg(long, value_name = "ORDER", value_enum, default_value_t = TiesName::Stable, hide_possible_values = true)]
    ties: TiesName,
    /// Instead of the published protocol: each-against-rest or random-gallery.
    #[arg(long, value_name = "NAME", value_enum, hide_possible_values = true)]
    protocol: Option<ProtocolName>,
    /// Test images of classes that the model was trained on: refuse, leave-out or judge, which says so
    /// below the figures.
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = TrainedClasses::Refuse,
          requires = "checkpoint", hide_possible_values = true)]
    trained_classes: TrainedClasses,
    /// Where similarities are multiplied and compared: cpu, whose results depend on nothing else, or
    /// device, the GPU of --backend, for large sets.
    #[arg(long, value_name = "WHERE", value_enum, default_value_t = RankOn::Cpu, hide_possible_values = true)]
    rank_on: RankOn,
    /// Draws of a random gallery.
    #[arg(long, value_name = "N", default_value_t = RandomGallery::default().draws)]
    draws: usize,
    /// Report the means over classes, too.
    #[arg(long)]
    by_class: bool,
    /// Resamples of the queries for the intervals behind the figures; 0 leaves them out.
    #[arg(long, value_name = "N", default_value_t = Bootstrap::default().resamples)]
    resamples: usize,
    /// Share of the resamples within an interval.
    #[arg(long, value_name = "LEVEL", default_value_t = Bootstrap::default().level)]
    level: f64,
    /// Resample whole classes: queries of a class resemble each other.
    #[arg(long)]
    resample_classes: bool,
    /// Seed of resamples and random galleries.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    seed: u64,
    /// Print one JSON object whose keys are the names of the metrics.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Empty {
    Skip,
    Zero,
    Error,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum TiesName {
    Stable,
    Pessimistic,
    Optimistic,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum ProtocolName {
    EachAgainstRest,
    RandomGallery,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
enum RankOn {
    Cpu,
    Device,
}

impl EvalArgs {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let drawn = self.judging.protocol == Some(ProtocolName::RandomGallery);
        (self.refining).check(self.judging.rank_on == RankOn::Device, drawn)?;
        match &self.checkpoint {
            Some(dir) => {
                let mut terminal = Terminal::new(self.common.quiet || self.judging.json);
                let checkpoint = self.backbone.of(open_checkpoint(dir)?)?;
                let images = Images::open_with(&self.common, &self.distractors, &checkpoint)?;
                let dataset = &images.dataset;
                terminal.notes(dataset);
                need_labels(dataset, "judging")?;
                let protocol = self.judging.protocol();
                ensure!(
                    protocol.is_none() || dataset.ground_truth().is_empty(),
                    "{} says by lists what each query should find: leave --protocol out",
                    dataset.name()
                );
                let ids = self.split.items(dataset, &checkpoint.config)?;
                // Whoever judges other images knows what they are.
                let judged = match self.split {
                    SplitName::Test => {
                        images.judged(&ids, self.judging.trained_classes, &mut terminal)?
                    }
                    _ => Judged::all(ids),
                };
                let device = self.common.backend.open()?;
                let model =
                    TrainedModel::on(&*device, checkpoint.clone())?.loading(self.common.loading());
                let model = self.refining.whitening.behind(model)?;
                terminal.count("embedding", judged.ids.len());
                let (embeddings, kept) = model.embed_items(dataset, &judged.ids, |done| {
                    terminal.counted(done);
                    Ok(())
                })?;
                terminal.counting_done();
                if let Some(unread) = sentence(missing(dataset, &judged.ids, &kept)) {
                    terminal.warn(&unread);
                }
                let problems = match self.split {
                    SplitName::Test => Problem::of_dataset(dataset, embeddings, &kept, protocol)?,
                    _ => vec![Problem::of_split(dataset, embeddings, &kept, protocol)?],
                };
                let usual = usual_metrics(&images.data, dataset, &checkpoint);
                let mut config = self.judging.config(usual);
                config.refinement = self.refining.refinement();
                let judgement = (self.judging).ranked(self.common.backend, &|ranking| {
                    config.judge_by(&problems, ranking)
                })?;
                print(&match self.judging.json {
                    true => judged.json(&judgement)?,
                    false => judged.text(&judgement),
                })
            }
            None => {
                ensure!(
                    !self.distractors.are_named(),
                    "--distractors are images for a model to embed: give --checkpoint, too; embeddings of distractors \
                     are named by --distractor-embeddings"
                );
                let mut terminal = Terminal::new(self.common.quiet);
                let mut files = self.files;
                files.labels = self.common.labels;
                files.judge(
                    &self.judging,
                    &self.refining,
                    self.common.backend,
                    &mut terminal,
                )
            }
        }
    }
}

/// What is reported of a data set that was not asked for anything else.
fn usual_metrics(data: &DataSpec, dataset: &Dataset, checkpoint: &Checkpoint) -> Vec<Metric> {
    match data {
        // As their publications report.
        DataSpec::Benchmark(Benchmark::Gldv2Retrieval, _) => vec![Metric::MapAt(100)],
        DataSpec::Benchmark(Benchmark::Ilias, _) => vec![Metric::MapAt(1000)],
        _ if dataset.protocols() == [Protocol::Lists] => of_lists(dataset.is_graded()),
        DataSpec::Benchmark(benchmark, _) => metrics(benchmark.ks()),
        _ => checkpoint.config.evaluation.reported(),
    }
}

/// Those of the revisited benchmarks, or of your own lists.
fn of_lists(graded: bool) -> Vec<Metric> {
    match graded {
        true => vec![
            Metric::MapTrapezoid,
            Metric::MpAt(1),
            Metric::MpAt(5),
            Metric::MpAt(10),
        ],
        false => vec![
            Metric::Map,
            Metric::RecallAt(1),
            Metric::RecallAt(10),
            Metric::Mrr,
        ],
    }
}

impl JudgeArgs {
    fn protocol(&self) -> Option<Protocol> {
        self.protocol.map(|name| match name {
            ProtocolName::EachAgainstRest => Protocol::EachAgainstRest,
            ProtocolName::RandomGallery => Protocol::RandomGallery,
        })
    }

    fn config(&self, usual: Vec<Metric>) -> JudgeConfig {
        let metrics = match self.metrics.is_empty() {
            true => usual,
            false => self.metrics.clone(),
        };
        JudgeConfig {
            policy: Policy {
                empty: match self.empty {
                    Empty::Skip => EmptyQueries::Skip,
                    Empty::Zero => EmptyQueries::Zero,
                    Empty::Error => EmptyQueries::Error,
                },
                ties: match self.ties {
                    TiesName::Stable => Ties::Stable,
                    TiesName::Pessimistic => Ties::Pessimistic,
                    TiesName::Optimistic => Ties::Optimistic,
                },
            },
            bootstrap: (self.resamples > 0).then_some(Bootstrap {
                resamples: self.resamples,
                level: self.level,
                seed: self.seed,
            }),
            resample_classes: self.resample_classes,
            by_class: self.by_class,
            random_gallery: RandomGallery {
                draws: self.draws,
                seed: self.seed,
            },
            ..JudgeConfig::new(metrics)
        }
    }

    /// Does `what` with ranks from where they are wanted.
    fn ranked<T>(
        &self,
        backend: NamedBackend,
        what: &dyn Fn(&Ranking<'_>) -> Result<T, EvalError>,
    ) -> anyhow::Result<T> {
        match self.rank_on {
            RankOn::Cpu => Ok(what(&|retrieval| retrieval.ranks())?),
            RankOn::Device => {
                let device = backend.open()?;
                Ok(what(&|retrieval| device.ranks(retrieval))?)
            }
        }
    }

    fn print(&self, result: &(impl Serialize + Display)) -> anyhow::Result<()> {
        print(&match self.json {
            true => serde_json::to_string(result)?,
            false => result.to_string(),
        })
    }
}
