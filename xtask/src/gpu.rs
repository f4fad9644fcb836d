//! `cargo xtask gpu`: everything that only a machine with a GPU can tell, in one command.

use std::process::ExitCode;

use clap::ValueEnum;
use recall_train::{BackendError, BackendName};

#[cfg(any(feature = "cuda", feature = "wgpu"))]
use crate::parity;

/// Arguments of `gpu`.
#[derive(clap::Args)]
pub struct Args {
    /// The backend to check; without it the first of CUDA and wgpu that answers
    #[arg(long)]
    backend: Option<Gpu>,
    /// Leave out the batches of thousands, which a software renderer takes long for
    #[arg(long)]
    quick: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Gpu {
    Cuda,
    Wgpu,
}

/// 0 if everything agrees, 1 if something does not, 2 if there is no such backend.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let backend = match resolve(args.backend) {
        Ok(backend) => backend,
        Err(error) => {
            eprintln!("Error: {error}");
            return Ok(ExitCode::from(2));
        }
    };
    let failures = on(backend, args.quick)?;
    if failures > 0 {
        eprintln!("Error: {failures} of the results above are not what they should be");
        return Ok(ExitCode::FAILURE);
    }
    println!("\nAll results are what they should be.");
    // The table of `bench loss` on this backend belongs here: what is fast must be right first.
    Ok(ExitCode::SUCCESS)
}

fn resolve(backend: Option<Gpu>) -> Result<BackendName, BackendError> {
    match backend {
        Some(Gpu::Cuda) => BackendName::Cuda.resolve(),
        Some(Gpu::Wgpu) => BackendName::Wgpu.resolve(),
        None => BackendName::Cuda
            .resolve()
            .or_else(|_| BackendName::Wgpu.resolve()),
    }
}

#[allow(unused_variables)]
fn on(backend: BackendName, quick: bool) -> anyhow::Result<usize> {
    match backend {
        #[cfg(feature = "cuda")]
        BackendName::Cuda => parity::with_and_without_fusion(
            "cuda",
            std::marker::PhantomData::<burn_cuda::Cuda>,
            quick,
        ),
        #[cfg(feature = "wgpu")]
        BackendName::Wgpu => parity::with_and_without_fusion(
            "wgpu",
            std::marker::PhantomData::<burn_wgpu::Wgpu>,
            quick,
        ),
        other => anyhow::bail!("{other} is no GPU"),
    }
}
