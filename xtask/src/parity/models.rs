//! Whether a step of the backbones comes to the same on a backend as on the CPU: there on tensor operations,
//! here on kernels of their own.

use std::io::Write;

use anyhow::{Context, ensure};
use recall_train::{Engine, ModelFiles, NamedBackend, Pixels, RunConfig, StepRequest, StepResult};

/// Images of a batch and their pixels a side.
#[derive(Clone, Copy)]
struct Size {
    images: usize,
    side: usize,
}

/// As little as the backbones take: a software renderer takes minutes for more. Images of one patch are
/// also what a transformer's gradient was once wrong for on CubeCL's backends.
const QUICK: Size = Size {
    images: 4,
    side: 32,
};
const WHOLE: Size = Size {
    images: 16,
    side: 128,
};
/// How far embeddings may be apart, of at most 1, and other results as a share of the CPU's.
const TOLERANCE: f64 = 2e-3;

/// Prints a row for each backbone, and gives the number of failures.
pub fn check(backend: NamedBackend, quick: bool) -> anyhow::Result<usize> {
    let size = if quick { QUICK } else { WHOLE };
    println!(
        "\nA step of the backbones, against the CPU\n{:<12} {:>12} {:>10} {:>10} {:>14}",
        "", "embeddings", "loss", "gradient", "after the step"
    );
    let mut failures = 0;
    for backbone in ["convnet", "vit-b32", "resnet50"] {
        let errors = errors(backend, backbone, size).with_context(|| backbone.to_owned())?;
        let ok = errors.iter().all(|error| *error <= TOLERANCE);
        failures += usize::from(!ok);
        let [before, loss, gradient, after] = errors;
        println!(
            "{backbone:<12} {before:>12.0e} {loss:>10.0e} {gradient:>10.0e} {after:>14.0e}  {}",
            if ok { "ok" } else { "WRONG" }
        );
        std::io::stdout().flush()?;
    }
    Ok(failures)
}

/// Of the embeddings, the loss, the length of the gradient, and the embeddings after the step.
fn errors(backend: NamedBackend, backbone: &str, size: Size) -> anyhow::Result<[f64; 4]> {
    let side = size.side;
    let set = [
        format!("model.backbone={backbone}"),
        format!("image.train.size=[{side}, {side}]"),
        format!("image.eval.crop={side}"),
        format!("image.eval.resize={side}"),
    ];
    let config = RunConfig::read(None, &set)?.engine();
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    let files = ModelFiles {
        judged: path("model.safetensors"),
        trained: path("model.safetensors"),
        optimiser: path("optimiser.safetensors"),
        loss: path("loss.safetensors"),
    };
    // Both start with the weights that the CPU drew.
    let mut ours = NamedBackend::FLEX.open()?.engine(&config)?;
    ours.save(&files)?;
    let mut theirs = backend.open()?.engine(&config)?;
    theirs.load(&files)?;

    let expected = results(&mut *ours, size)?;
    let found = results(&mut *theirs, size)?;
    let share = |value: fn(&StepResult) -> Option<f64>| -> anyhow::Result<f64> {
        let [a, b] = [&expected.1, &found.1].map(value);
        let (a, b) = a.zip(b).context("a number of the step is not finite")?;
        Ok((a - b).abs() / a.abs())
    };
    Ok([
        apart(&expected.0, &found.0),
        share(|step| step.loss)?,
        share(|step| step.gradient_norm)?,
        apart(&expected.2, &found.2),
    ])
}

/// Embeddings, a step, and embeddings after it.
fn results(
    engine: &mut dyn Engine,
    Size { images, side }: Size,
) -> anyhow::Result<(Vec<f32>, StepResult, Vec<f32>)> {
    let bytes: Vec<u8> = (0..images * 3 * side * side)
        .map(|at| (at * at / 7 % 251) as u8)
        .collect();
    let pixels = Pixels {
        bytes: &bytes,
        shape: [images, 3, side, side],
    };
    let labels: Vec<i64> = (0..images as i64).map(|row| row / 2).collect();
    let before = engine.embed(pixels.into())?;
    let step = engine.step(
        &StepRequest {
            inputs: pixels.into(),
            labels: &labels,
            chunk: images / 2,
            first_chunk: 0,
            learning_rate: 1e-4,
            model_seed: 0,
            loss_seed: 0,
        },
        &mut |_, _| (),
    )?;
    ensure!(step.broken.is_none(), "the step is not finite: {step:?}");
    let after = engine.embed(pixels.into())?;
    Ok((before.as_slice().to_vec(), step, after.as_slice().to_vec()))
}

fn apart(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| f64::from((a - b).abs()))
        .fold(0.0, f64::max)
}
