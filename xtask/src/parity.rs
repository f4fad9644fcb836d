//! Whether the kernels of a backend compute the loss that the reference files and plain tensor
//! operations in f64 say, and whether it ranks as the CPU does.

mod case;
mod convolutions;
pub mod emulated;
pub mod models;
mod random;
mod ranks;
mod reference;
mod tensors;

use std::{io::Write, marker::PhantomData};

use burn_fusion::{Fusion, FusionBackend};
use recall_loss::RecallBackend;
use recall_nn::NnBackend;

use self::case::{Case, Errors};
use crate::gpu::Extent;

/// Checks a backend as it is used, and inside Fusion, and gives the number of failures.
///
/// Inside Fusion only what it hands to the backend whole: what Burn merges there may be wrong (docs/cuda.md). `exact` is
/// whether matrix products are those of f32, and `with_losses` whether losses of recall-baselines are looked at.
pub fn with_and_without_fusion<B>(
    name: &str,
    _: PhantomData<B>,
    extent: Extent,
    exact: bool,
    with_losses: bool,
) -> anyhow::Result<usize>
where
    B: FusionBackend + RecallBackend + NnBackend,
{
    let mut cases = reference::cases()?;
    cases.extend(random::cases(extent)?);
    let fused_name = format!("{name} inside Fusion");
    // Of a large class they are a great many launches, and of products in TF32 they say nothing.
    let plain = |case: &Case| extent != Extent::Emulated || (exact && case.labels.len() <= FEW);
    let bare = check::<B>(name, &cases, plain, exact)?;
    let fused = check::<Fusion<B>>(&fused_name, &cases, |_| false, exact)?;
    let mut tensors = tensors::check::<B>(name, exact, exact, with_losses)?;
    tensors += tensors::check::<Fusion<B>>(&fused_name, exact, false, false)?;
    let convolved = convolutions::check::<B>(name, exact)?;
    let ranked = ranks::check::<B>(name, extent)?;
    Ok(fused + bare + tensors + convolved + ranked)
}

/// Items of a batch whose plain tensor operations are emulated.
const FEW: usize = 40;

/// Runs every case on the default device of a backend and prints a row for each; some by `plain` tensor operations, too.
fn check<B: RecallBackend>(
    name: &str,
    cases: &[Case],
    plain: impl Fn(&Case) -> bool,
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
        let plain = plain(case)
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
