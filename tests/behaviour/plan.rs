//! `recall-train plan`, and chunks that memory decides on.

use std::fs;

use recall_train::{ChunkSize, RunConfig};
use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::support::{TINY, class_folders, command, metrics, refuse, succeed, tiny};

const DATA: [&str; 2] = ["--data", "folder:images"];

fn with_images() -> TempDir {
    let dir = tempdir().unwrap();
    class_folders(&dir.path().join("images/train"), 0..8, 4);
    class_folders(&dir.path().join("images/test"), 8..12, 4);
    dir
}

fn plan(dir: &TempDir, arguments: &[&str]) -> assert_cmd::Command {
    let mut command = command(dir.path(), &["plan", "--backend", "flex"]);
    for setting in TINY {
        command.args(["--set", setting]);
    }
    command.args(DATA).args(arguments);
    command
}

/// A model of which one image takes a while: something is said before all is measured.
#[test]
fn a_plan_of_a_large_model_tells_a_first_guess_at_once() {
    let dir = with_images();
    let mut command = plan(&dir, &["--set", "batch.chunk=1"]);
    for setting in [
        "model.backbone=resnet50",
        "image.train.size=[64,64]",
        "image.eval.resize=64",
        "image.eval.crop=64",
        "evaluation.chunk=1",
    ] {
        command.args(["--set", setting]);
    }
    let (stdout, stderr) = succeed(&mut command);
    assert!(stdout.starts_with("step"), "{stdout}");
    let begins = "a first guess, from one image: about ";
    let guess = stderr.lines().find(|line| line.starts_with(begins));
    let guess = guess.expect(&stderr);
    assert!(
        guess.ends_with(" for 4 steps; measuring goes on"),
        "{guess}"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_plan_in_words_and_in_numbers() {
    let dir = with_images();
    let late = ["--set", "epochs=1", "--set", "optimiser.milestones=[1]"];
    let settings = [&["--set", "batch.chunk=4"][..], &late].concat();
    let (stdout, stderr) = succeed(&mut plan(&dir, &settings));
    // As a run warns of it.
    let (warning, rest) = stderr.split_once('\n').unwrap();
    assert!(
        warning.contains("optimiser.milestones: 1 is never reached in 1 epoch"),
        "{stderr}"
    );
    // On a machine that is busy it says more in the meantime.
    let first_guess = |line: &str| line.starts_with("a first guess, from one image");
    let (measuring, meantime) = rest.split_once('\n').unwrap();
    assert_eq!(measuring, "measuring small chunks", "{stderr}");
    assert!(meantime.lines().all(first_guess), "{stderr}");
    for row in ["step", "run", "peak memory", "largest chunk", "of the step"] {
        assert!(
            stdout.lines().any(|line| line.starts_with(row)),
            "{row}\n{stdout}"
        );
    }
    assert!(stdout.contains("for 8 images in chunks of 4 ("), "{stdout}");
    // Eight classes of four, in batches of eight.
    assert!(stdout.contains("for 4 steps, 4 in an epoch;"), "{stdout}");

    let (json, stderr) = succeed(&mut plan(
        &dir,
        &[
            "--quiet",
            "--json",
            "--memory",
            "20GB",
            "--set",
            "batch.chunk=auto",
        ],
    ));
    assert_eq!(stderr, "");
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["memory_limit"], 20_000_000_000_u64);
    assert_eq!(
        (&json["chunk"], &json["largest_chunk"]),
        (&8.into(), &8.into())
    );
    assert!(json["step_seconds"].as_f64().unwrap() > 0.0);
    assert!(json["peak_memory"].as_u64().unwrap() > 1_000_000);

    // What does not fit is told after all that can be told.
    let mut command = plan(&dir, &["--memory", "1MB"]);
    let message = refuse(&mut command);
    assert!(
        message.starts_with("batch.chunk: not even a chunk of one image"),
        "{message}"
    );
    assert!(message.contains("fits into 1 MB"), "{message}");
    let stdout = String::from_utf8(command.output().unwrap().stdout).unwrap();
    assert!(stdout.contains("peak memory"), "{stdout}");
}

#[test]
fn what_cannot_be_planned() {
    let dir = with_images();
    fs::rename(dir.path().join("images"), dir.path().join("gone")).unwrap();
    let message = refuse(&mut plan(&dir, &[]));
    assert!(message.contains("images is not there"), "{message}");
    fs::rename(dir.path().join("gone"), dir.path().join("images")).unwrap();
    let message = refuse(&mut plan(&dir, &["--memory", "8 gigs"]));
    assert!(message.contains("such as 8GB or 500MB"), "{message}");
    let message = refuse(&mut plan(&dir, &["--set", "batch.size=80"]));
    assert_eq!(
        message,
        "batch.size: a batch of 80 images, 2 of each class, needs 40 classes, but 8 of the 8 classes have \
         enough images; the largest that works is 16: give batch.size=16, or batch.size=auto, which takes it"
    );
}

#[test]
fn a_plan_for_ranks_is_for_one_of_them() {
    let dir = with_images();
    let settings = ["--set", "batch.chunk=2", "--ranks", "3"];
    let (stdout, _) = succeed(&mut plan(&dir, &settings));
    // Four chunks: two of them on one rank.
    assert!(
        stdout.contains("for 8 images in chunks of 2, 4 on each of 3 ranks ("),
        "{stdout}"
    );
    let (stdout, _) = succeed(plan(&dir, &settings).arg("--json"));
    let planned: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(planned["costs"]["ranks"], 3);
    assert!(refuse(&mut plan(&dir, &["--ranks", "0"])).contains("--ranks"));
}

/// The run writes down the number that memory came to, so it is repeated and resumed without looking
/// at memory again.
#[cfg(target_os = "linux")]
#[test]
fn memory_decides_on_the_chunk_of_a_run() {
    let dir = with_images();
    for (out, size) in [("auto", "auto"), ("limit", "9GB")] {
        let chunk = format!("batch.chunk={size}");
        let (_, stderr) = succeed(tiny(dir.path(), &DATA).args(["--set", &chunk, "--out", out]));
        let note = format!("batch.chunk: {size} comes to 8 images");
        assert!(stderr.lines().any(|line| line == note), "{stderr}");
        let text = fs::read_to_string(dir.path().join(out).join("config.toml")).unwrap();
        let config = RunConfig::read(Some(("run", &text)), &[]).unwrap();
        assert_eq!(config.batch.chunk, ChunkSize::Images(8));
        let report = fs::read_to_string(dir.path().join(out).join("report.html")).unwrap();
        assert!(report.contains("peak memory"));
    }
    // The same as if the number had been given.
    let given = ["--set", "batch.chunk=8", "--out", "given"];
    succeed(tiny(dir.path(), &DATA).args(given));
    let records = |out| metrics(&dir.path().join(out));
    assert_eq!(records("auto"), records("given"));
    assert_eq!(records("limit"), records("given"));
    succeed(&mut command(
        dir.path(),
        &["--backend", "flex", "--resume", "auto"],
    ));

    let small = ["--set", "batch.chunk=1MB", "--out", "small"];
    let message = refuse(tiny(dir.path(), &DATA).args(small));
    assert!(
        message.contains("not even a chunk of one image"),
        "{message}"
    );
    assert!(!dir.path().join("small").exists());
    // A folder that is taken is refused before anything is measured.
    let taken = ["--set", "batch.chunk=auto", "--out", "auto"];
    let mut command = tiny(dir.path(), &DATA);
    let message = refuse(command.args(taken));
    assert!(message.contains("auto is not empty"), "{message}");
    let stderr = String::from_utf8(command.output().unwrap().stderr).unwrap();
    assert!(!stderr.contains("measuring"), "{stderr}");
    let unknown = ["--set", "batch.chunk=all", "--out", "small"];
    let message = refuse(tiny(dir.path(), &DATA).args(unknown));
    assert!(
        message.contains("`all` is no chunk: write a number of images"),
        "{message}"
    );
}
