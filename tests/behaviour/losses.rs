//! Every loss trains, and what it keeps of its own survives as the model does.

use std::fs;
use std::path::Path;

use tempfile::tempdir;

use crate::support::{checkpoint, command, metrics, refuse, succeed};

/// Two epochs of emoji, at a rate at which each of the losses has learned something by then.
const SETTINGS: [&str; 7] = [
    "epochs=2",
    "batch.size=64",
    "optimiser.learning_rate=1e-4",
    "optimiser.warmup_steps=3",
    "evaluation.every=2",
    "evaluation.gallery=1",
    "evaluation.validation=0",
];

fn run(dir: &Path, out: &str, settings: &[&str]) -> assert_cmd::Command {
    let mut command = command(dir, &["--backend", "flex", "--quiet", "--out", out]);
    for setting in settings {
        command.args(["--set", setting]);
    }
    command
}

/// Trains, and asserts that recall@1 of classes that were never seen has risen.
fn raises_recall(kind: &str, extra: &[&str]) {
    let dir = tempdir().unwrap();
    let kind = format!("loss.kind={kind}");
    let settings = [&SETTINGS[..], &[&kind], extra].concat();
    let (_, said) = succeed(&mut run(dir.path(), "run", &settings));
    assert!(!said.contains("training made it worse"), "{said}");
    let records = metrics(&dir.path().join("run"));
    let recall = |of: &dyn Fn(&serde_json::Value) -> bool| {
        let record = records.iter().rfind(|record| of(record)).unwrap();
        record["recall@1"].as_f64().unwrap()
    };
    let before = recall(&|record| record["kind"] == "baseline");
    let after = recall(&|record| record["kind"] == "evaluation" && record["split"] == "test");
    println!("{kind} {extra:?}: {before:.4} to {after:.4}");
    assert!(after > before, "{kind}: {before} to {after}");
}

#[test]
fn rankings_raise_recall() {
    for kind in [
        "recall-at-k",
        "smooth-ap",
        "listwise-ap",
        "fast-ap",
        "blackbox-ap",
        "blackbox-recall",
    ] {
        raises_recall(kind, &[]);
    }
    raises_recall("smooth-ap", &["loss.mixup=true"]);
}

#[test]
fn pairs_raise_recall() {
    for kind in [
        "contrastive",
        "triplet",
        "margin",
        "n-pair",
        "multi-similarity",
        "histogram",
    ] {
        raises_recall(kind, &[]);
    }
    raises_recall("lifted", &["loss.length=3", "optimiser.learning_rate=2e-5"]);
    raises_recall(
        "contrastive",
        &["loss.memory={size=256,start=10,weight=0.5}"],
    );
}

#[test]
fn contrasts_and_mixtures_raise_recall() {
    for kind in [
        "angular",
        "sup-con",
        "info-nce",
        "metrix",
        "symmetrical-synthesis",
    ] {
        raises_recall(kind, &[]);
    }
    let few = [
        "loss.hardest=64",
        "loss.mixtures=16",
        "loss.query_mixtures=4",
    ];
    let slow = "optimiser.learning_rate=3e-5";
    raises_recall("hard-negative-mixing", &[&few[..], &[slow]].concat());
}

#[test]
fn proxies_raise_recall() {
    for kind in [
        "proxy-nca",
        "proxy-nca-pp",
        "soft-triple",
        "norm-softmax",
        "cos-face",
        "arc-face",
    ] {
        raises_recall(kind, &[]);
    }
    let sphere = ["loss.length=20", "loss.multiplier=2"];
    raises_recall("sphere-face", &sphere);
    // In a narrow cone, as the untrained network has it, positives are not far until the margin says so.
    raises_recall("proxy-anchor", &["loss.delta=0.95"]);
    let around = ["loss.synthesis={alpha=0.4}", "batch.sampling=shuffled"];
    raises_recall("norm-softmax", &around);
}

/// A second of training.
const TINY: [&str; 8] = [
    "epochs=3",
    "batch.size=64",
    "batch.chunk=40",
    "model.widths=[4,8]",
    "model.grid=2",
    "model.dim=16",
    "evaluation.every=1",
    "evaluation.gallery=1",
];

/// What a run left: its records, and the weights, moments and state of the loss of its last checkpoint.
fn left_by(run: &Path) -> (Vec<serde_json::Value>, Vec<Vec<u8>>) {
    let files = ["model", "optimiser", "loss"];
    let files = files.map(|file| {
        let file = checkpoint(run, "last").join(format!("{file}.safetensors"));
        fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    });
    (metrics(run), files.to_vec())
}

/// Kills a run once it has a checkpoint within an epoch, goes on with it, and compares it with the straight run.
#[cfg(unix)]
fn survives_a_kill(settings: &[&str]) {
    let dir = tempdir().unwrap();
    let settings = [&TINY[..], settings].concat();
    succeed(&mut run(dir.path(), "straight", &settings));
    let often = [&settings[..], &["checkpoint.every_minutes=0.0001"]].concat();
    let command_to_kill = run(dir.path(), "killed", &often);
    let mut process = std::process::Command::new(command_to_kill.get_program());
    process
        .args(command_to_kill.get_args())
        .current_dir(dir.path());
    let mut child = process
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let checkpoints = dir.path().join("killed/checkpoints");
    let middle = |entry: std::io::Result<fs::DirEntry>| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        name.ends_with("-mid") && name.as_str() > "step-00000005"
    };
    let started = std::time::Instant::now();
    while !fs::read_dir(&checkpoints).is_ok_and(|mut entries| entries.any(middle)) {
        assert!(
            child.try_wait().unwrap().is_none(),
            "the run was over before it could be killed"
        );
        assert!(started.elapsed().as_secs() < 120, "no checkpoint came");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    succeed(&mut command(
        dir.path(),
        &["--backend", "flex", "--quiet", "--resume", "killed"],
    ));
    let (straight, killed) = (dir.path().join("straight"), dir.path().join("killed"));
    let ((records, files), (expected, expected_files)) = (left_by(&killed), left_by(&straight));
    assert_eq!(records, expected);
    assert!(
        files == expected_files,
        "weights or the state of the loss differ: {settings:?}"
    );
}

#[cfg(unix)]
#[test]
fn proxies_survive_a_kill_bit_for_bit() {
    survives_a_kill(&["loss.kind=proxy-anchor", "loss.start=random"]);
    survives_a_kill(&["loss.kind=margin", "optimiser.clip_norm=0.5"]);
    let mixed = [
        "loss.kind=norm-softmax",
        "loss.input_mixup=0.2",
        "loss.start=class-means",
    ];
    survives_a_kill(&mixed);
}

#[cfg(unix)]
#[test]
fn a_memory_survives_a_kill_bit_for_bit() {
    survives_a_kill(&["loss.kind=contrastive", "loss.memory={size=300,start=3}"]);
}

#[test]
fn a_run_that_begins_with_another_takes_its_proxies_along_if_the_classes_are_the_same() {
    let dir = tempdir().unwrap();
    let settings = [&TINY[..], &["loss.kind=cos-face", "epochs=1"]].concat();
    succeed(&mut run(dir.path(), "first", &settings));
    let begin = |out: &str, extra: &[&str]| {
        let mut command = command(
            dir.path(),
            &[
                "--backend",
                "flex",
                "--quiet",
                "--from",
                "first",
                "--out",
                out,
            ],
        );
        for setting in extra {
            command.args(["--set", setting]);
        }
        succeed(&mut command);
        left_by(&dir.path().join(out)).1.remove(2)
    };
    let proxies = begin("same", &["optimiser.learning_rate=1e-30"]);
    let before = left_by(&dir.path().join("first")).1.remove(2);
    // The moments go on, the proxies stay where they are at such a rate.
    let values = |bytes: &[u8]| {
        let file = safetensors::SafeTensors::deserialize(bytes).unwrap();
        file.tensor("parameters").unwrap().data().to_vec()
    };
    assert!(values(&proxies) == values(&before));
    // Another share of the classes: proxies for others.
    let others = begin("others", &["evaluation.validation=0.3"]);
    assert_ne!(values(&others).len(), values(&before).len());
}

/// At a rate that no warm-up makes bearable.
#[test]
fn a_run_that_makes_the_model_worse_says_so() {
    let dir = tempdir().unwrap();
    let settings = [
        "epochs=2",
        "batch.size=64",
        "evaluation.every=2",
        "evaluation.gallery=1",
        "optimiser.learning_rate=0.1",
    ];
    let (_, said) = succeed(&mut run(dir.path(), "run", &settings));
    assert!(
        said.contains("training made it worse: recall@1 is ")
            && said.contains(" before the first step; "),
        "{said}"
    );
}

#[test]
fn wrong_losses_and_settings_of_others_are_refused() {
    let dir = tempdir().unwrap();
    let refused = |settings: &[&str]| refuse(&mut run(dir.path(), "run", settings));
    let message = refused(&["loss.kind=nonsense"]);
    for kind in [
        "recall-at-k",
        "smooth-ap",
        "soft-triple",
        "symmetrical-synthesis",
    ] {
        assert!(message.contains(kind), "{message}");
    }
    let message = refused(&["loss.kind=smoth-ap"]);
    assert!(message.contains("did you mean smooth-ap"), "{message}");
    let message = refused(&["loss.kind=triplet", "loss.ks=[1]"]);
    assert!(
        message.contains("loss.ks is no setting of triplet"),
        "{message}"
    );
    let message = refused(&["loss.kind=lifted", "loss.form=hinges"]);
    assert!(message.contains("form = hinges"), "{message}");
    let message = refused(&["loss.kind=cos-face", "loss.scale=0"]);
    assert!(message.contains("loss.scale"), "{message}");
    let message = refused(&["loss.kind=sup-con", "batch.sampling=shuffled"]);
    assert!(message.contains("batch.sampling"), "{message}");
    let message = refused(&["loss.kind=contrastive", "loss.memory={size=0}"]);
    assert!(message.contains("loss.memory.size"), "{message}");
    assert!(!dir.path().join("run").exists());
}
