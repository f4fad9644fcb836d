//! `cargo xtask gpu`: everything that only a machine with a GPU can tell, in one command.

mod emulate;
mod nvrtc;
mod standins;
#[cfg(test)]
mod tests;

use std::process::ExitCode;

use anyhow::Context;
use clap::ValueEnum;
use recall_train::{BackendError, NamedBackend};

use crate::bench::loss;
#[cfg(any(feature = "cuda", feature = "wgpu"))]
use crate::parity;

/// Arguments of `gpu`.
#[derive(clap::Args)]
pub struct Args {
    /// The backend to check; without it the first of CUDA and wgpu that answers
    #[arg(long)]
    backend: Option<Gpu>,
    /// Leave out the batches of thousands, which a software renderer takes long for, and the table
    #[arg(long)]
    quick: bool,
    #[command(flatten)]
    emulation: emulate::Options,
}

/// How much is checked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// What is executed on the processor in minutes.
    Emulated,
    /// Without what a software renderer takes long for.
    Quick,
    Whole,
}

#[derive(Clone, Copy, ValueEnum)]
enum Gpu {
    Cuda,
    Wgpu,
}

/// 0 if everything agrees, 1 if something does not, 2 if there is no such backend.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if cfg!(not(any(feature = "cuda", feature = "wgpu"))) {
        return built_with_backends();
    }
    if let Some(code) = args.emulation.run()? {
        return Ok(code);
    }
    let emulated = args.emulation.emulated;
    let backend = match resolve(args.backend.or(emulated.then_some(Gpu::Cuda))) {
        Ok(backend) => backend,
        Err(error) => {
            eprintln!("Error: {error}");
            return Ok(ExitCode::from(2));
        }
    };
    let extent = match (emulated, args.quick) {
        (true, _) => Extent::Emulated,
        (false, true) => Extent::Quick,
        (false, false) => Extent::Whole,
    };
    let with_losses = extent != Extent::Emulated || args.emulation.losses;
    let failures = check(backend, extent, args.emulation.is_exact(), with_losses)?;
    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    let failures = failures
        + match extent {
            Extent::Emulated => parity::emulated::check(
                backend,
                &args.emulation.backbones,
                args.emulation.is_exact(),
            )?,
            Extent::Quick | Extent::Whole => parity::models::check(backend, extent)?,
        };
    if failures > 0 {
        eprintln!("Error: {failures} of the results above are not what they should be");
        return Ok(ExitCode::FAILURE);
    }
    println!("\nAll results are what they should be.");
    // What is fast must be right first.
    if extent == Extent::Whole {
        measure(backend)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs this command again, built with the backends that it was built without.
fn built_with_backends() -> anyhow::Result<ExitCode> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = std::process::Command::new(cargo)
        .args(["run", "--package", "xtask", "--release"])
        .args(["--features", "cuda,wgpu,recall-train/default", "--"])
        .args(std::env::args_os().skip(1))
        .status()
        .context("cargo does not start, and this was built without cuda and wgpu")?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(1)))
}

fn resolve(backend: Option<Gpu>) -> Result<NamedBackend, BackendError> {
    match backend {
        Some(Gpu::Cuda) => NamedBackend::CUDA.resolve(),
        Some(Gpu::Wgpu) => NamedBackend::WGPU.resolve(),
        None => NamedBackend::CUDA
            .resolve()
            .or_else(|_| NamedBackend::WGPU.resolve()),
    }
}

/// Checks the kernels and gives the number of failures.
#[cfg_attr(
    not(any(feature = "cuda", feature = "wgpu")),
    expect(unused_variables, reason = "nothing to check")
)]
fn check(
    backend: NamedBackend,
    extent: Extent,
    exact: bool,
    with_losses: bool,
) -> anyhow::Result<usize> {
    match backend {
        #[cfg(feature = "cuda")]
        NamedBackend::CUDA => parity::with_and_without_fusion(
            "cuda",
            std::marker::PhantomData::<burn_cuda::Cuda>,
            extent,
            exact,
            with_losses,
        ),
        #[cfg(feature = "wgpu")]
        NamedBackend::WGPU => parity::with_and_without_fusion(
            "wgpu",
            std::marker::PhantomData::<burn_wgpu::Wgpu>,
            extent,
            exact,
            with_losses,
        ),
        other => anyhow::bail!("{other} is no GPU"),
    }
}

/// Prints the tables of `bench loss`, beside PyTorch as it is and compiled by `torch.compile`.
fn measure(backend: NamedBackend) -> anyhow::Result<()> {
    let backend = match backend {
        NamedBackend::CUDA => "cuda",
        _ => "wgpu",
    };
    let backend = loss::BackendName::from_str(backend, false).map_err(anyhow::Error::msg)?;
    for compiled in [false, true] {
        let way = if compiled { "compiled" } else { "eager" };
        println!("\nBeside PyTorch, {way}:\n");
        loss::run(&loss::Args::on_gpu(backend, compiled))?;
    }
    Ok(())
}
