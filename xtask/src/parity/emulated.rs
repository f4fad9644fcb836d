//! What is checked besides the kernels of the loss where CUDA is emulated: whole steps, and what they are said to
//! take.

use anyhow::{Context, ensure};
use recall_train::{NamedBackend, plan};

use super::models::{self, Case};

/// Three steps, as equal to the CPU's as rounding allows: nothing here multiplies in less than f32 on its own.
const STEPS: Case = Case {
    backbone: "convnet",
    set: &["model.dim=8"],
    images: 4,
    side: 16,
    steps: 3,
    tolerance: 1e-5,
};

const CASES: [Case; 4] = [
    Case {
        set: &["model.dim=8", "model.widths=[4, 8]", "model.grid=2"],
        ..STEPS
    },
    Case {
        backbone: "resnet50",
        side: 32,
        ..STEPS
    },
    Case {
        backbone: "vit-s16",
        ..STEPS
    },
    Case {
        backbone: "dinov2-s14",
        side: 14,
        steps: 1,
        ..STEPS
    },
];

/// Prints what is found, and gives the number of failures.
pub fn check(backend: NamedBackend) -> anyhow::Result<usize> {
    let failures = models::compare(backend, &CASES)?;
    memory(backend)?;
    Ok(failures)
}

/// `recall-train plan` measures on the device what its allocator takes.
fn memory(backend: NamedBackend) -> anyhow::Result<()> {
    let mut config = models::config(&CASES[0])?;
    config.batch.size = recall_train::BatchSize::Images(16);
    let device = backend.open()?;
    let costs = plan::measure(&config, None, &*device, &mut |_| ())?;
    let peak = costs.peak(4).context("the plan tells no memory")?;
    let room = device
        .memory()
        .room()
        .context("the device does not tell how much memory there is")?;
    println!("\nA plan of the convnet: {peak} bytes of {room}");
    ensure!(peak > 0 && peak < room, "the plan takes more than there is");
    Ok(())
}
