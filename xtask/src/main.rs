//! What a maintainer of recall runs: `cargo xtask COMMAND`.

mod bench;
mod emoji;
mod glyphs;
mod gpu;
#[cfg(any(feature = "cuda", feature = "wgpu"))]
mod parity;
mod study;

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
    /// Draw a large retrieval set of Chinese characters with the fonts of this machine
    Glyphs(glyphs::Args),
    /// Check the kernels of this machine's GPU
    Gpu(gpu::Args),
    /// Measure the claims of the paper again, for docs/study.md
    Study(study::Args),
    /// Measure, for docs/benchmarks.md
    #[command(subcommand)]
    Bench(bench::Bench),
}

fn main() -> anyhow::Result<ExitCode> {
    // As the command does whose parts are measured here.
    recall_train::command::keep_freed_memory();
    match Cli::parse().command {
        Command::Emoji(args) => emoji::run(&args)?,
        Command::Glyphs(args) => glyphs::run(&args)?,
        Command::Gpu(args) => return gpu::run(&args),
        Command::Study(args) => study::run(&args)?,
        Command::Bench(bench) => bench::run(&bench)?,
    }
    Ok(ExitCode::SUCCESS)
}
