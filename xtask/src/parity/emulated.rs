//! What is checked besides the kernels of the loss where CUDA is emulated: whole steps, and what they are said to
//! take.

use anyhow::{Context, ensure};
use recall_train::{BatchSize, ChunkSize, NamedBackend, plan};

use super::models::{self, Case};

/// How far three steps may be from the CPU's where products are those of f32, and where they are rounded to ten
/// digits.
const EXACT: f64 = 1e-5;
const TF32: f64 = 5e-3;

/// Three steps.
const STEPS: Case = Case {
    backbone: "convnet",
    set: &["model.dim=8"],
    images: 4,
    side: 16,
    steps: 3,
    learning_rate: 1e-4,
    tolerance: EXACT,
    of_gradients: EXACT,
};

/// Of a network that no weights were given: its embeddings are nearly all alike. With the usual `tau_rank` of 0.01 what a
/// similarity is rounded by, 10⁻⁶, comes to 10⁻⁴ of the whole gradient, and Adam makes whole steps of what is only rounding. So the
/// loss is flatter here and the steps are shorter; flex and ndarray, on one processor, are then 10⁻⁵ apart.
const UNTRAINED: Case = Case {
    set: &["model.dim=8", "loss.tau_rank=1"],
    learning_rate: 1e-6,
    of_gradients: 3e-5,
    ..STEPS
};

/// As small as the backbones take, because Burn tries all of its kernels for each product and each convolution.
const CASES: [Case; 4] = [
    Case {
        set: &["model.dim=8", "model.widths=[4, 8]", "model.grid=2"],
        ..STEPS
    },
    Case {
        backbone: "resnet50",
        side: 32,
        ..UNTRAINED
    },
    Case {
        backbone: "vit-s16",
        ..UNTRAINED
    },
    Case {
        backbone: "dinov2-s14",
        side: 14,
        ..UNTRAINED
    },
];

/// Prints what is found of some backbones, and gives the number of failures.
pub fn check(backend: NamedBackend, backbones: &[String], exact: bool) -> anyhow::Result<usize> {
    let cases: Vec<_> = CASES
        .into_iter()
        .filter(|case| backbones.iter().any(|name| name == case.backbone))
        .map(|case| Case {
            tolerance: if exact { case.tolerance } else { TF32 },
            of_gradients: if exact { case.of_gradients } else { TF32 },
            ..case
        })
        .collect();
    let failures = models::compare(backend, &cases)?;
    memory(backend)?;
    Ok(failures)
}

/// `recall-train plan` measures on the device what its allocator takes.
fn memory(backend: NamedBackend) -> anyhow::Result<()> {
    let mut config = models::config(&CASES[0])?;
    // Few sizes: Burn tries its kernels again for each.
    config.batch.size = BatchSize::Images(8);
    config.batch.chunk = ChunkSize::Images(2);
    let device = backend.open()?;
    let costs = plan::measure(&config, None, &*device, &mut |_| ())?;
    let peak = costs.peak(2).context("the plan tells no memory")?;
    let room = device
        .memory()
        .room()
        .context("the device does not tell how much memory there is")?;
    println!("\nA plan of the convnet: {peak} bytes of {room}");
    ensure!(peak > 0 && peak < room, "the plan takes more than there is");
    Ok(())
}
