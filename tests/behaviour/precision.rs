//! Runs in half precision: their steps that overflow, their checkpoints, and what cannot run so.

use std::fs;

use serde_json::Value;
use tempfile::tempdir;

use crate::support::{TINY, checkpoint, command, metrics, refuse, succeed, table};

/// A moment of training whose first gradients are beyond `f16` at the first scale: a small temperature makes them long.
fn run(dir: &std::path::Path, out: &str, extra: &[&str]) -> assert_cmd::Command {
    let mut command = command(dir, &["--backend", "flex", "--out", out]);
    let settings = [
        "batch.size=64",
        "batch.chunk=40",
        "epochs=2",
        "evaluation.every=1",
        "evaluation.gallery=1",
        "loss.kind=info-nce",
        "loss.temperature=0.0003",
        "optimiser.average=0.9",
    ];
    let tiny = TINY.iter().filter(|setting| !setting.starts_with("loss."));
    for setting in tiny.chain(&settings).chain(extra) {
        command.args(["--set", setting]);
    }
    command
}

fn steps(records: &[Value]) -> Vec<&Value> {
    let steps = records.iter().filter(|record| record["kind"] == "step");
    steps.collect()
}

#[test]
fn overflows_of_f16_are_counted_and_a_resumed_run_goes_on_with_its_scale() {
    let dir = tempdir().unwrap();
    let half = ["precision=f16"];
    let (_, stderr) = succeed(&mut run(dir.path(), "run", &half));
    let out = dir.path().join("run");
    let records = metrics(&out);
    let all = steps(&records);
    let (mut scale, mut overflows) = (65_536.0, 0);
    for step in &all {
        assert_eq!(step["loss_scale"], scale);
        assert!(step["loss"].is_f64());
        // Left out: no gradient, no rate, and half of the scale for the next one.
        if step["gradient_norm"].is_null() {
            assert_eq!(step["learning_rate"], 0.0);
            overflows += 1;
            scale /= 2.0;
        } else {
            assert!(step["learning_rate"].as_f64().unwrap() > 0.0);
        }
        assert_eq!(step["overflows"], overflows);
    }
    assert!((1..10).contains(&overflows), "{overflows}");
    assert!(all.len() as u64 > 2 * overflows);
    let told = format!("{overflows} step");
    let told = stderr
        .lines()
        .any(|line| line.contains(&told) && line.contains("overflowed f16"));
    assert!(told, "{stderr}");

    // Checkpoints are f32, and the first one has all that the rest needs.
    let last = checkpoint(&out, "last");
    let files = |of: &str| fs::read(last.join(of)).unwrap();
    let names = [
        "model.safetensors",
        "trained.safetensors",
        "optimiser.safetensors",
    ];
    let before = names.map(files);
    let weights = safetensors::SafeTensors::deserialize(&before[0]).unwrap();
    assert!(
        weights
            .tensors()
            .iter()
            .all(|(_, tensor)| tensor.dtype() == safetensors::Dtype::F32)
    );
    let folders = fs::read_dir(out.join("checkpoints")).unwrap();
    let names_of = folders.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let first = names_of
        .filter(|name| name.starts_with("step-"))
        .min()
        .unwrap();
    let from = format!("run/checkpoints/{first}");
    succeed(&mut command(
        dir.path(),
        &["--backend", "flex", "--resume", &from],
    ));
    assert_eq!(metrics(&out), records);
    assert!(names.map(files) == before, "the weights differ");
}

#[test]
fn threads_change_no_bit_of_half_precision() {
    let dir = tempdir().unwrap();
    for precision in ["precision=bf16", "precision=f16"] {
        let with = |threads: &str| {
            let out = format!("{precision}-{threads}");
            let mut command = run(dir.path(), &out, &[precision, "model.widths=[16,32]"]);
            succeed(command.env("RAYON_NUM_THREADS", threads));
            metrics(&dir.path().join(out))
        };
        let one = with("1");
        assert_eq!(with("2"), one);
        // A scale is of f16 alone.
        let scaled = steps(&one).iter().all(|step| step["loss_scale"].is_f64());
        assert_eq!(scaled, precision == "precision=f16");
    }
}

#[test]
fn a_backend_or_model_without_half_precision_is_refused_by_name() {
    let dir = tempdir().unwrap();
    let on_ndarray = [
        "--backend",
        "ndarray",
        "--out",
        "run",
        "--set",
        "precision=bf16",
    ];
    let message = refuse(&mut command(dir.path(), &on_ndarray));
    assert!(
        message.contains("precision is `bf16`, and ndarray"),
        "{message}"
    );
    assert!(!dir.path().join("run").exists());
    let message = refuse(&mut run(dir.path(), "run", &["precision=half"]));
    assert!(message.contains("precision"), "{message}");
}

#[test]
fn a_trained_model_embeds_as_it_was_trained_or_as_it_is_told() {
    let dir = tempdir().unwrap();
    succeed(&mut run(dir.path(), "run", &["precision=bf16", "epochs=1"]));
    let embed = |out: &str, more: &[&str]| {
        let mut command = command(dir.path(), &["embed", "--backend", "flex", "--quiet"]);
        succeed(
            command
                .args(["--checkpoint", "run", "--output", out])
                .args(more),
        );
        fs::read(dir.path().join(out)).unwrap()
    };
    let own = embed("own.npy", &[]);
    assert_eq!(embed("same.npy", &["--backbone-precision", "bf16"]), own);
    assert_ne!(embed("f16.npy", &["--backbone-precision", "f16"]), own);
    let single = embed("f32.npy", &["--backbone-precision", "f32"]);
    assert_ne!(single, own);

    let eval = |more: &[&str]| {
        let mut command = command(dir.path(), &["eval", "--checkpoint", "run", "--quiet"]);
        command.args(["--resamples", "0"]).args(more);
        command
    };
    let (stdout, _) = succeed(eval(&[]).args(["--backend", "flex"]));
    assert!(!table(&stdout).is_empty());
    let refused = refuse(eval(&[]).args(["--backend", "ndarray"]));
    assert!(refused.contains("ndarray"), "{refused}");
    succeed(eval(&["--backbone-precision", "f32"]).args(["--backend", "ndarray"]));
}
