//! Whether the kernels of a backend compute the loss that the reference files and plain tensor
//! operations in f64 say, and whether it ranks as the CPU does.

mod case;
pub mod emulated;
pub mod models;
mod random;
mod ranks;
mod reference;
mod tensors;

use std::{io::Write, marker::PhantomData};

use burn_fusion::{Fusion, FusionBackend};
use recall_loss::RecallBackend;

use self::case::{Case, Errors};
use crate::gpu::Extent;

/// Checks a backend as it is used, and the one inside its Fusion, and gives the number of failures.
///
/// `exact` is whether matrix products are those of f32, and `with_losses` whether losses of recall-baselines are looked at.
pub fn with_and_without_fusion<B>(
    name: &str,
    _: PhantomData<Fusion<B>>,
    extent: Extent,
    exact: bool,
    with_losses: bool,
) -> anyhow::Result<usize>
where
    B: FusionBackend + RecallBackend,
{
    let mut cases = reference::cases()?;
    cases.extend(random::cases(extent)?);
    let bare_name = format!("{name} without fusion");
    let fused = check::<Fusion<B>>(name, &cases, extent, exact)?;
    let bare = check::<B>(&bare_name, &cases, extent, exact)?;
    let mut tensors = tensors::check::<Fusion<B>>(name, exact, with_losses)?;
    tensors += tensors::check::<B>(&bare_name, exact, false)?;
    let ranked = ranks::check::<Fusion<B>>(name, extent)?;
    Ok(fused + bare + tensors + ranked)
}

/// Items of a batch whose plain tensor operations are emulated.
const FEW: usize = 40;

/// Runs every case on the default device of a backend and prints a row for each.
fn check<B: RecallBackend>(
    name: &str,
    cases: &[Case],
    extent: Extent,
    exact: bool,
) -> anyhow::Result<usize> {
    let device = B::Device::default();
    println!("\n{name}: {}", B::name(&device));
    println!(
        "{:<42} {:^26}  {:^17}  {:^17}",
        "", "kernels", "through autodiff", "plain"
    );
    println!(
        "{:<42} {:>8} {:>8} {:>8}  {:>8} {:>8}  {:>8} {:>8}",
        "case", "recall", "loss", "gradient", "loss", "gradient", "loss", "gradient"
    );
    let mut failures = 0;
    for case in cases {
        let kernels = case.by_kernels::<B>(&device)?;
        let autodiff = case.by_autodiff::<B>(&device)?;
        // Of a large class they are a great many launches, and of products in TF32 they say nothing.
        let with_plain = extent != Extent::Emulated || (exact && case.labels.len() <= FEW);
        let plain = with_plain
            .then(|| case.by_plain::<B>(&device))
            .transpose()?;
        // Where a backend multiplies in less than f32 these are shown as a yardstick and not judged.
        let plain_ok = !exact || plain.as_ref().is_none_or(|plain| case.allows(plain));
        let ok = case.allows(&kernels) && case.allows(&autodiff) && plain_ok;
        failures += usize::from(!ok);
        println!(
            "{:<42} {:>8.0e} {}  {}  {}  {}",
            case.name,
            kernels.recall,
            pair(&kernels),
            pair(&autodiff),
            plain.as_ref().map_or_else(|| format!("{:>17}", "-"), pair),
            if ok { "ok" } else { "WRONG" },
        );
        std::io::stdout().flush()?;
    }
    B::sync(&device)?;
    Ok(failures)
}

fn pair(errors: &Errors) -> String {
    format!("{:>8.0e} {:>8.0e}", errors.loss, errors.grad)
}
