//! What a maintainer of recall runs: `cargo xtask COMMAND`.

mod emoji;
mod eval;
mod gpu;
mod images;
mod loss;
mod machine;
mod models;
#[cfg(any(feature = "cuda", feature = "wgpu"))]
mod parity;
mod plan;
mod step;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Maintenance commands of the recall workspace.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    version,
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Rebuild the embedded emoji data set from the published icon sets
    Emoji(emoji::Args),
    /// Check the kernels of this machine's GPU
    Gpu(gpu::Args),
    /// Measure, for docs/benchmarks.md
    #[command(subcommand)]
    Bench(Bench),
}

#[derive(Subcommand)]
enum Bench {
    /// Peak memory and time of a two-pass step, for several batch sizes at one chunk size
    Step(step::Args),
    /// Time and peak memory of the loss and its gradient, beside PyTorch and beside the two matrix
    /// products that no implementation avoids
    Loss(loss::Args),
    /// Images a second from JPEG files to batches, beside torchvision with Pillow
    Images(images::Args),
    /// Time and peak memory of an exact evaluation, beside faiss
    Eval(eval::Args),
    /// Images a second through the models, forward and in a two-pass step, beside PyTorch
    Models(models::Args),
    /// How far the time and memory that `recall-train plan` tells are from those of the run
    Plan(plan::Args),
    /// One case of `plan`, in this process
    #[command(hide = true)]
    PlanCase(plan::CaseArgs),
    /// One case of `models`, in this process
    #[command(hide = true)]
    ModelsCase(models::CaseArgs),
    /// One case of `eval`, in this process
    #[command(hide = true)]
    EvalCase(eval::CaseArgs),
    /// One case of `images`, in this process
    #[command(hide = true)]
    ImagesCase(images::CaseArgs),
    /// One case of `loss`, in this process
    #[command(hide = true)]
    LossCase(loss::CaseArgs),
}

fn main() -> anyhow::Result<ExitCode> {
    match Cli::parse().command {
        Command::Emoji(args) => emoji::run(&args)?,
        Command::Gpu(args) => return gpu::run(&args),
        Command::Bench(Bench::Step(args)) => step::run(&args)?,
        Command::Bench(Bench::Loss(args)) => loss::run(&args)?,
        Command::Bench(Bench::Images(args)) => images::run(&args)?,
        Command::Bench(Bench::Eval(args)) => eval::run(&args)?,
        Command::Bench(Bench::Models(args)) => models::run(&args)?,
        Command::Bench(Bench::Plan(args)) => plan::run(&args)?,
        Command::Bench(Bench::PlanCase(args)) => plan::run_case(&args)?,
        Command::Bench(Bench::ModelsCase(args)) => models::run_case(&args)?,
        Command::Bench(Bench::EvalCase(args)) => eval::run_case(&args)?,
        Command::Bench(Bench::ImagesCase(args)) => images::run_case(&args)?,
        Command::Bench(Bench::LossCase(args)) => loss::run_case(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}
