//! `cargo xtask bench`: the measurements of docs/benchmarks.md.
//!
//! A bench is a [`Table`](table::Table) of cases. Each of them is measured in a
//! [process of its own](process), and beside a peer in [Python](python) where there is one.

mod agreement;
mod eval;
mod features;
mod images;
pub mod loss;
pub mod machine;
mod models;
mod plan;
mod process;
mod python;
mod ranks;
mod rivals;
mod step;
mod table;

use clap::Subcommand;

use self::process::CaseArgs;

#[derive(Subcommand)]
pub enum Bench {
    /// Peak memory and time of a two-pass step, for several batch sizes at one chunk size
    Step(step::Args),
    /// Time and peak memory of the loss and its gradient, beside PyTorch and beside the two matrix
    /// products that no implementation avoids
    Loss(loss::Args),
    /// Time and peak memory of the losses that Recall@k is compared with, beside PyTorch
    Rivals(rivals::Args),
    /// Images a second from JPEG files to batches, beside torchvision with Pillow
    Images(images::Args),
    /// Time and peak memory of an exact evaluation, beside faiss
    Eval(eval::Args),
    /// Images a second through the models, forward and in a two-pass step, beside PyTorch
    Models(models::Args),
    /// Time and peak memory of training a head on rows of features, beside PyTorch and beside what no
    /// implementation avoids
    Features(features::Args),
    /// How far the time and memory that `recall-train plan` tells are from those of the run
    Plan(plan::Args),
    /// Images a second of several processes under mpirun, one thread each, beside one process
    Ranks(ranks::Args),
    /// One case of `step`, in this process
    #[command(hide = true)]
    StepCase(CaseArgs),
    /// One case of `loss`, in this process
    #[command(hide = true)]
    LossCase(CaseArgs),
    /// One case of `rivals`, in this process
    #[command(hide = true)]
    RivalsCase(CaseArgs),
    /// One case of `images`, in this process
    #[command(hide = true)]
    ImagesCase(CaseArgs),
    /// One case of `eval`, in this process
    #[command(hide = true)]
    EvalCase(CaseArgs),
    /// One case of `models`, in this process
    #[command(hide = true)]
    ModelsCase(CaseArgs),
    /// One case of `features`, in this process
    #[command(hide = true)]
    FeaturesCase(CaseArgs),
    /// A command of `recall-train`, in this process
    #[command(hide = true)]
    FeaturesPart(CaseArgs),
    /// One case of `plan`, in this process
    #[command(hide = true)]
    PlanCase(CaseArgs),
}

/// Prints a table, or measures one case of it.
pub fn run(bench: &Bench) -> anyhow::Result<()> {
    match bench {
        Bench::Step(args) => step::run(args),
        Bench::Loss(args) => loss::run(args),
        Bench::Rivals(args) => rivals::run(args),
        Bench::Images(args) => images::run(args),
        Bench::Eval(args) => eval::run(args),
        Bench::Models(args) => models::run(args),
        Bench::Features(args) => features::run(args),
        Bench::Plan(args) => plan::run(args),
        Bench::Ranks(args) => ranks::run(args),
        Bench::StepCase(args) => process::run::<step::Case>(args),
        Bench::LossCase(args) => process::run::<loss::Case>(args),
        Bench::RivalsCase(args) => process::run::<rivals::Case>(args),
        Bench::ImagesCase(args) => process::run::<images::Case>(args),
        Bench::EvalCase(args) => process::run::<eval::Case>(args),
        Bench::ModelsCase(args) => process::run::<models::Case>(args),
        Bench::FeaturesCase(args) => process::run::<features::Case>(args),
        Bench::FeaturesPart(args) => process::run::<features::Part>(args),
        Bench::PlanCase(args) => process::run::<plan::Case>(args),
    }
}
