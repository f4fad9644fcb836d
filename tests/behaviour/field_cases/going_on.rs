//! Runs go on: from where they were killed, as one or as many, or as new ones; starts that fail leave nothing.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tempfile::{TempDir, tempdir};

use crate::support::{checkpoint, class_folders, command, metrics, refuse, succeed, tiny};

const DATA: [&str; 2] = ["--data", "folder:images"];

fn with_images() -> TempDir {
    let dir = tempdir().unwrap();
    class_folders(&dir.path().join("images"), 0..24, 4);
    dir
}

/// Three epochs of a few steps, and what is given besides.
fn train(dir: &Path, arguments: &[&str]) -> assert_cmd::Command {
    let mut command = tiny(dir, &["--set", "epochs=3", "--set", "evaluation.every=1"]);
    command.args(DATA).args(arguments);
    command
}

fn resume(dir: &Path, from: &str) -> assert_cmd::Command {
    command(dir, &["--backend", "flex", "--resume", from])
}

/// The names in a folder, in order.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Kills a command as soon as `file` is there and holds `text`.
fn kill_at(command: &assert_cmd::Command, file: &Path, text: &str) {
    let mut child = std::process::Command::new(command.get_program())
        .args(command.get_args())
        .current_dir(command.get_current_dir().unwrap())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while !fs::read_to_string(file).is_ok_and(|found| found.contains(text)) {
        assert!(start.elapsed() < Duration::from_secs(120), "{file:?}");
        assert!(child.try_wait().unwrap().is_none(), "{command:?} has ended");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_seed_twice_or_a_taken_folder_is_refused_before_the_first_run() {
    let dir = with_images();
    let message = refuse(&mut train(dir.path(), &["--seeds", "0,1,0", "--out", "a"]));
    assert!(message.contains("--seeds names 0 twice"), "{message}");
    fs::create_dir_all(dir.path().join("b/seed-1")).unwrap();
    fs::write(dir.path().join("b/seed-1/file"), "mine").unwrap();
    let message = refuse(&mut train(dir.path(), &["--seeds", "0,1", "--out", "b"]));
    assert!(message.contains("b is not empty"), "{message}");
    assert_eq!(names(dir.path()), ["b", "images"]);
    assert_eq!(names(&dir.path().join("b")), ["seed-1"]);
}

#[test]
fn seeds_that_are_killed_go_on_as_a_whole() {
    let dir = with_images();
    let seeds = |out| train(dir.path(), &["--seeds", "3,1", "--out", out]);
    let (straight, _) = succeed(&mut seeds("straight"));
    // The lines are the same but for the width of the names.
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (_, table) = straight.rsplit_once("seed 1\n").unwrap();
    let table = words(table.split_once("report").unwrap().1);
    let table = table.replace("straight/seed", "killed/seed");
    let table = table.split_once("report.html ").unwrap().1;
    let place = |seed: &str, file: &str| dir.path().join("killed").join(seed).join(file);
    // Within the first seed, then within the second.
    let step = r#""step":4,"#;
    kill_at(&seeds("killed"), &place("seed-3", "metrics.jsonl"), step);
    assert!(!place("seed-1", "config.toml").exists());
    let again = resume(dir.path(), "killed");
    kill_at(&again, &place("seed-1", "metrics.jsonl"), step);
    assert!(place("seed-3", "report.html").is_file());
    // Between two seeds: the next folder is there, and nothing in it.
    fs::remove_dir_all(place("seed-1", "")).unwrap();
    fs::create_dir(place("seed-1", "")).unwrap();
    let (stdout, stderr) = succeed(&mut resume(dir.path(), "killed"));
    assert!(stderr.contains("seed 3 is done"), "{stderr}");
    assert!(stdout.contains("seed 1"), "{stdout}");
    assert!(words(&stdout).ends_with(table), "{stdout}\n{table}");
    for seed in ["seed-3", "seed-1"] {
        let straight = metrics(&dir.path().join("straight").join(seed));
        assert_eq!(metrics(&place(seed, "")), straight, "{seed}");
    }
    // All done: the comparison alone.
    let (stdout, _) = succeed(&mut resume(dir.path(), "killed"));
    assert_eq!(words(&stdout), table);
    let message = refuse(&mut seeds("killed"));
    assert!(message.contains("--resume killed"), "{message}");
}

#[test]
fn seeds_without_a_folder_share_the_next_free_one() {
    let dir = with_images();
    succeed(&mut train(
        dir.path(),
        &["--seeds", "0,1", "--set", "epochs=1"],
    ));
    let runs = names(&dir.path().join("runs"));
    assert_eq!(runs.len(), 1, "{runs:?}");
    let series = format!("runs/{}", runs[0]);
    let inside = names(&dir.path().join(&series));
    for seed in ["seed-0", "seed-1"] {
        assert!(inside.contains(&seed.to_owned()), "{inside:?}");
    }
    succeed(&mut resume(dir.path(), &series));
}

/// Before, the points of the killed attempt stayed beside those of the new one.
#[test]
fn a_run_killed_before_its_first_checkpoint_has_its_events_once() {
    let dir = with_images();
    let run = train(dir.path(), &["--out", "run"]);
    let folder = dir.path().join("run");
    kill_at(&run, &folder.join("metrics.jsonl"), r#""kind":"step""#);
    // As if it had been killed sooner, should a checkpoint have been quick.
    let _ = fs::remove_dir_all(folder.join("checkpoints"));
    succeed(&mut resume(dir.path(), "run"));
    let events: Vec<_> = names(&folder)
        .into_iter()
        .filter(|name| name.starts_with("events.out.tfevents."))
        .collect();
    assert_eq!(events.len(), 1, "{events:?}");
    let bytes = fs::read(folder.join(&events[0])).unwrap();
    let points = bytes.windows(10).filter(|tag| tag == b"train/loss").count();
    let records = metrics(&folder);
    let steps = records.iter().filter(|record| record["kind"] == "step");
    assert_eq!(points, steps.count());
}

#[test]
fn a_finished_run_is_trained_on_by_a_new_one() {
    let dir = with_images();
    let settings = [
        "--set",
        "optimiser.average=0.9",
        "--set",
        "checkpoint.keep=9",
        "--set",
        "evaluation.validation=0.3",
    ];
    succeed(train(dir.path(), &["--out", "first"]).args(settings));
    let (_, stderr) = succeed(&mut resume(dir.path(), "first"));
    let offer = "all 3 epochs are trained; for more start a new run from its weights and optimiser: \
                 recall-train --from first --set epochs=N";
    assert!(stderr.lines().any(|line| line == offer), "{stderr}");
    let message = refuse(resume(dir.path(), "first").args(["--set", "epochs=5"]));
    assert!(
        message.contains("recall-train --from first --set epochs=5 starts a new run"),
        "{message}"
    );

    let from = |from: &str, out: &str, more: &[&str]| {
        let fixed = ["--backend", "flex", "--from", from, "--out", out];
        let mut command = command(dir.path(), &fixed);
        command.args(["--set", "epochs=2"]).args(more);
        command
    };
    let (_, stderr) = succeed(&mut from("first", "second", &[]));
    let last = checkpoint(&dir.path().join("first"), "last");
    let name = last.file_name().unwrap().to_str().unwrap();
    let begins = "begins with the weights and the optimiser's state of ";
    let begins = stderr.lines().find(|line| line.starts_with(begins));
    assert!(begins.is_some_and(|line| line.contains(name)), "{stderr}");
    // It begins where the other ended: the same weights judge the validation classes alike.
    let judged = |run: &str| -> Vec<_> {
        let records = metrics(&dir.path().join(run));
        let validation = records
            .iter()
            .filter(|record| record["split"] == "validation");
        validation.map(|record| record["map@r"].clone()).collect()
    };
    assert_eq!(judged("second").first(), judged("first").last());
    // Moments count: with the weights alone its steps are others.
    let weights = last.join("trained.safetensors").display().to_string();
    let mut alone = train(dir.path(), &["--out", "alone", "--weights", &weights]);
    succeed(alone.args(settings).args(["--set", "epochs=2"]));
    let losses = |run: &str| -> Vec<f64> {
        let records = metrics(&dir.path().join(run));
        let losses = records.iter().filter_map(|record| record["loss"].as_f64());
        losses.collect()
    };
    let (second, alone) = (losses("second"), losses("alone"));
    assert_eq!(second[0], alone[0]);
    assert_ne!(second[1..], alone[1..]);

    // It is a run as any: killed before its first checkpoint it begins there again.
    let again = from("first/checkpoints/last", "third", &[]);
    let place = dir.path().join("third");
    kill_at(&again, &place.join("metrics.jsonl"), r#""kind":"step""#);
    let _ = fs::remove_dir_all(place.join("checkpoints"));
    succeed(&mut resume(dir.path(), "third"));
    assert_eq!(losses("third"), second);

    // What does not fit is refused by its key, and leaves nothing.
    let other = ["--set", "optimiser.kind=adam"];
    let message = refuse(&mut from("first", "fourth", &other));
    assert!(
        message.contains("another optimiser.kind") && message.contains("--weights "),
        "{message}"
    );
    let message = refuse(&mut from("first", "fourth", &["--set", "model.dim=8"]));
    assert!(message.contains("cannot load the weights"), "{message}");
    let message = refuse(&mut from("nowhere", "fourth", &[]));
    assert!(message.contains("nowhere holds no checkpoint"), "{message}");
    assert!(!dir.path().join("fourth").exists());
}

#[test]
fn a_start_that_fails_leaves_no_folder() {
    let dir = with_images();
    // Not decoded before the first batch.
    for class in fs::read_dir(dir.path().join("images")).unwrap() {
        fs::write(class.unwrap().path().join("0.png"), "no picture").unwrap();
    }
    fs::create_dir(dir.path().join("mine")).unwrap();
    refuse(&mut train(dir.path(), &[]));
    refuse(&mut train(dir.path(), &["--out", "new"]));
    refuse(&mut train(dir.path(), &["--out", "mine"]));
    refuse(&mut train(dir.path(), &["--seeds", "0,1"]));
    refuse(&mut train(dir.path(), &["--seeds", "0,1", "--out", "mine"]));
    assert_eq!(names(&dir.path().join("runs")), [""; 0]);
    assert_eq!(names(&dir.path().join("mine")), [""; 0]);
    assert!(!dir.path().join("new").exists());
}
