//! Whether a step of the backbones comes to the same on a backend as on the CPU: there on tensor operations,
//! here on kernels of their own.

use std::io::Write;

use anyhow::{Context, ensure};
use recall_train::{Engine, ModelFiles, NamedBackend, Pixels, RunConfig, StepRequest, StepResult};

use crate::gpu::Extent;

/// A backbone, and what is computed with it.
#[derive(Clone, Copy)]
pub struct Case {
    pub backbone: &'static str,
    /// Settings besides.
    pub set: &'static [&'static str],
    pub images: usize,
    /// Pixels of a side.
    pub side: usize,
    /// Steps, one after the other.
    pub steps: usize,
    pub learning_rate: f64,
    /// How far embeddings may be apart, of at most 1, and losses as a share of the CPU's.
    pub tolerance: f64,
    /// How far the lengths of gradients may be apart, as a share of the CPU's.
    pub of_gradients: f64,
}

/// Of a step as it is on a GPU, which may multiply in less than f32. Burn's products with few rows and outputs of an odd
/// multiple of 8 are wrong there (`recall_nn::project`).
const ON_A_GPU: Case = Case {
    backbone: "",
    set: &["model.dim=24"],
    images: 16,
    side: 128,
    steps: 1,
    learning_rate: 1e-4,
    tolerance: 2e-3,
    of_gradients: 2e-3,
};
const BACKBONES: [&str; 3] = ["convnet", "vit-b32", "resnet50"];

/// Prints a row for each backbone, and gives the number of failures.
pub fn check(backend: NamedBackend, extent: Extent) -> anyhow::Result<usize> {
    // As little as the backbones take: a software renderer takes minutes for more. Images of one patch are
    // also what a transformer's gradient was once wrong for on CubeCL's backends.
    let (images, side) = match extent {
        Extent::Emulated | Extent::Quick => (4, 32),
        Extent::Whole => (16, 128),
    };
    let cases = BACKBONES.map(|backbone| Case {
        backbone,
        images,
        side,
        ..ON_A_GPU
    });
    compare(backend, &cases)
}

/// Prints a row for each case, and gives the number of failures.
pub fn compare(backend: NamedBackend, cases: &[Case]) -> anyhow::Result<usize> {
    println!(
        "\nSteps of the backbones, against the CPU\n{:<12} {:>7} {:>5} {:>12} {:>10} {:>10} {:>15}",
        "", "weights", "steps", "embeddings", "loss", "gradient", "after the steps"
    );
    let mut failures = 0;
    for case in cases {
        let backbone = case.backbone;
        let (alike, errors) = errors(backend, case).with_context(|| backbone.to_owned())?;
        let [before, loss, gradient, after] = errors;
        let others = [before, loss, after];
        let ok = alike
            && others.iter().all(|error| *error <= case.tolerance)
            && gradient <= case.of_gradients;
        failures += usize::from(!ok);
        println!(
            "{backbone:<12} {:>7} {:>5} {before:>12.0e} {loss:>10.0e} {gradient:>10.0e} {after:>15.0e}  {}",
            if alike { "same" } else { "others" },
            case.steps,
            if ok { "ok" } else { "WRONG" }
        );
        std::io::stdout().flush()?;
    }
    Ok(failures)
}

/// The settings of a run with a backbone on small images.
pub fn config(case: &Case) -> anyhow::Result<RunConfig> {
    let side = case.side;
    let mut set = vec![
        format!("model.backbone={}", case.backbone),
        format!("image.train.size=[{side}, {side}]"),
        format!("image.eval.crop={side}"),
        format!("image.eval.resize={side}"),
    ];
    set.extend(case.set.iter().map(ToString::to_string));
    Ok(RunConfig::read(None, &set)?)
}

/// Whether one seed draws the same weights, and the largest differences of the embeddings, of the losses, of the lengths of the gradients, and of the embeddings after the
/// last step.
fn errors(backend: NamedBackend, case: &Case) -> anyhow::Result<(bool, [f64; 4])> {
    let config = config(case)?.engine();
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name);
    let files = ModelFiles {
        judged: path("model.safetensors"),
        trained: path("model.safetensors"),
        optimiser: path("optimiser.safetensors"),
        loss: path("loss.safetensors"),
    };
    let mut ours = NamedBackend::FLEX.open()?.engine(&config)?;
    let mut theirs = backend.open()?.engine(&config)?;
    let alike = ours.weights_hash() == theirs.weights_hash();
    // Both start with the weights that the CPU drew, whatever the other one drew.
    ours.save(&files)?;
    theirs.load(&files)?;

    let expected = results(&mut *ours, case)?;
    let found = results(&mut *theirs, case)?;
    let share = |value: fn(&StepResult) -> Option<f64>| -> anyhow::Result<f64> {
        let mut largest = 0.0;
        for (ours, theirs) in expected.1.iter().zip(&found.1) {
            let (a, b) = value(ours)
                .zip(value(theirs))
                .context("a number of a step is not finite")?;
            largest = f64::max(largest, (a - b).abs() / a.abs());
        }
        Ok(largest)
    };
    let errors = [
        apart(&expected.0, &found.0),
        share(|step| step.loss)?,
        share(|step| step.gradient_norm)?,
        apart(&expected.2, &found.2),
    ];
    Ok((alike, errors))
}

/// Embeddings, steps, and embeddings after them.
fn results(
    engine: &mut dyn Engine,
    case: &Case,
) -> anyhow::Result<(Vec<f32>, Vec<StepResult>, Vec<f32>)> {
    let &Case { images, side, .. } = case;
    let bytes: Vec<u8> = (0..images * 3 * side * side)
        .map(|at| (at * at / 7 % 251) as u8)
        .collect();
    let pixels = Pixels {
        bytes: &bytes,
        shape: [images, 3, side, side],
    };
    let labels: Vec<i64> = (0..images as i64).map(|row| row / 2).collect();
    let before = engine.embed(pixels.into())?;
    let mut steps = Vec::new();
    for seed in 0..case.steps as u64 {
        let step = engine.step(
            &StepRequest {
                inputs: pixels.into(),
                labels: &labels,
                chunk: images / 2,
                first_chunk: 0,
                learning_rate: case.learning_rate,
                model_seed: seed,
                loss_seed: seed,
            },
            &mut |_, _| (),
        )?;
        ensure!(step.broken.is_none(), "a step is not finite: {step:?}");
        steps.push(step);
    }
    let after = engine.embed(pixels.into())?;
    Ok((before.as_slice().to_vec(), steps, after.as_slice().to_vec()))
}

fn apart(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| f64::from((a - b).abs()))
        .fold(0.0, f64::max)
}
