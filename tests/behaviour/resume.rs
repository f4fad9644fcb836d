//! A run that is stopped, however it is stopped, and goes on ends as if it had never been.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::tempdir;

use crate::support::{checkpoint, command, metrics, refuse, succeed};

/// A second or two of training, with everything that has a state: moments, moving average, schedule.
const SETTINGS: [&str; 12] = [
    "epochs=3",
    "batch.size=64",
    "batch.chunk=40",
    "model.widths=[4,8]",
    "model.grid=2",
    "model.dim=16",
    "optimiser.average=0.9",
    "optimiser.clip_norm=0.5",
    "optimiser.milestones=[2]",
    "evaluation.every=1",
    "evaluation.gallery=1",
    "checkpoint.keep=3",
];

fn run(dir: &Path, out: &str, extra: &[&str]) -> assert_cmd::Command {
    let mut command = command(dir, &["--backend", "flex", "--quiet", "--out", out]);
    for setting in SETTINGS.iter().chain(extra) {
        command.args(["--set", setting]);
    }
    command
}

fn resume(dir: &Path, from: &str) -> assert_cmd::Command {
    command(dir, &["--backend", "flex", "--quiet", "--resume", from])
}

/// What a run left: its records, and every file of its last and best checkpoint that is no clock.
fn left_by(run: &Path) -> (Vec<Value>, Vec<Vec<u8>>) {
    let files = ["model", "trained", "optimiser"];
    let files = ["last", "best"].into_iter().flat_map(|which| {
        files.map(|file| {
            let file = format!("{file}.safetensors");
            fs::read(checkpoint(run, which).join(file)).unwrap()
        })
    });
    (metrics(run), files.collect())
}

fn assert_same(run: &Path, straight: &Path) {
    let ((records, files), (expected, expected_files)) = (left_by(run), left_by(straight));
    assert_eq!(records, expected);
    assert!(files == expected_files, "the weights differ");
}

/// The folders of checkpoints, the earliest first.
fn checkpoints(run: &Path) -> Vec<String> {
    let entries = fs::read_dir(run.join("checkpoints")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.starts_with("step-")).collect();
    names.sort();
    names
}

/// Starts a command and ends it by `signal` after `delay`, unless it ends before. Returns its exit code,
/// if it has one.
#[cfg(unix)]
fn stopped(command: &assert_cmd::Command, signal: &str, delay: Duration) -> Option<i32> {
    let mut process = std::process::Command::new(command.get_program());
    process.args(command.get_args());
    process.current_dir(command.get_current_dir().unwrap());
    let mut child = process
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while start.elapsed() < delay {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let kill = std::process::Command::new("kill")
        .args([signal, &child.id().to_string()])
        .stderr(Stdio::null())
        .status();
    kill.unwrap();
    child.wait().unwrap().code()
}

/// `RECALL_KILLS` sets how often the run is killed.
#[cfg(unix)]
#[test]
fn a_run_that_is_killed_again_and_again_ends_as_the_straight_one() {
    let kills: u32 = std::env::var("RECALL_KILLS").map_or(4, |count| count.parse().unwrap());
    let dir = tempdir().unwrap();
    let start = Instant::now();
    succeed(&mut run(dir.path(), "straight", &[]));
    let took = start.elapsed();

    // Checkpoints as often as they can be written, so that many of the kills hit one.
    let often = ["checkpoint.every_minutes=0.0001"];
    let mut command = run(dir.path(), "killed", &often);
    let (mut done, mut tries) = (0, 0_u32);
    let status = loop {
        // Moments spread over the run without a pattern: multiples of the golden ratio.
        tries += 1;
        let share = (f64::from(tries) * 0.618_034).fract();
        let delay = match done < kills {
            true => Duration::from_millis(150) + took.mul_f64(share * 3.0 / f64::from(kills)),
            false => Duration::from_secs(600),
        };
        match stopped(&command, "-KILL", delay) {
            Some(code) => break code,
            None => done += 1,
        }
        if dir.path().join("killed/config.toml").is_file() {
            command = resume(dir.path(), "killed");
        } else {
            let _ = fs::remove_dir_all(dir.path().join("killed"));
        }
    };
    assert_eq!(status, 0);
    println!("killed {done} times");
    assert!(2 * done >= kills, "killed {done} times only");
    let (straight, killed) = (dir.path().join("straight"), dir.path().join("killed"));
    assert_same(&killed, &straight);
    let left: Vec<_> = fs::read_dir(killed.join("checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("unfinished"))
        .collect();
    assert_eq!(left, Vec::<String>::new());
}

#[cfg(unix)]
#[test]
fn ctrl_c_finishes_the_step_and_saves() {
    let dir = tempdir().unwrap();
    let start = Instant::now();
    succeed(&mut run(dir.path(), "straight", &[]));
    let took = start.elapsed();
    for (out, share) in [("a", 0.4), ("b", 0.7)] {
        let code = stopped(&run(dir.path(), out, &[]), "-INT", took.mul_f64(share));
        // A machine that is suddenly faster may be done before.
        if code == Some(0) {
            continue;
        }
        assert_eq!(code, Some(130));
        let records = metrics(&dir.path().join(out));
        succeed(&mut resume(dir.path(), out));
        assert!(records.len() < metrics(&dir.path().join(out)).len());
        assert_same(&dir.path().join(out), &dir.path().join("straight"));
    }
}

#[test]
fn a_run_goes_on_from_the_checkpoint_it_is_told() {
    let dir = tempdir().unwrap();
    let out = dir.path().join("run");
    succeed(&mut run(dir.path(), "run", &[]));
    let (records, files) = left_by(&out);
    let names = checkpoints(&out);
    assert_eq!(names.len(), 3);
    // From the first one, and once more from the end, where only the judgement is left.
    for from in [
        format!("run/checkpoints/{}", names[0]),
        "run".to_owned(),
        "run/checkpoints/last".to_owned(),
    ] {
        succeed(&mut resume(dir.path(), &from));
        let again = left_by(&out);
        assert_eq!(again.0, records, "{from}");
        assert!(again.1 == files, "{from}");
    }
}

#[test]
fn damage_is_named_and_the_one_before_is_offered() {
    let dir = tempdir().unwrap();
    let out = dir.path().join("run");
    succeed(&mut run(dir.path(), "run", &[]));
    let (records, files) = left_by(&out);
    let last = checkpoint(&out, "last");
    let names = checkpoints(&out);
    let intact: Vec<(String, Vec<u8>)> = fs::read_dir(&last)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect();
    assert!(intact.len() >= 7, "{intact:?}");
    let before = format!("--resume run/checkpoints/{}", names[1]);
    for (name, bytes) in &intact {
        let path = last.join(name);
        let mut flipped = bytes.clone();
        flipped[bytes.len() / 2] ^= 4;
        for damaged in [&bytes[..bytes.len() / 2], &flipped, b""] {
            fs::write(&path, damaged).unwrap();
            let message = refuse(&mut resume(dir.path(), "run"));
            assert!(message.contains("damaged"), "{message}");
            // A hash in the manifest that is not that of the file accuses the file.
            let accused = name == "manifest.json" && message.contains("not as it was written");
            assert!(message.contains(name) || accused, "{name}: {message}");
            assert!(message.contains(&before), "{message}");
        }
        fs::remove_file(&path).unwrap();
        let message = refuse(&mut resume(dir.path(), "run"));
        assert!(message.contains(&format!("{name} is missing")), "{message}");
        // Judging a damaged model would be worse than not judging it.
        let message = refuse(&mut command(
            dir.path(),
            &["eval", "--checkpoint", "run/checkpoints/last"],
        ));
        assert!(message.contains(name), "{message}");
        fs::write(&path, bytes).unwrap();
    }
    // Told so, it uses the one before, and what was damaged is made anew.
    fs::write(last.join("model.safetensors"), b"").unwrap();
    succeed(&mut resume(
        dir.path(),
        &format!("run/checkpoints/{}", names[1]),
    ));
    let again = left_by(&out);
    assert_eq!(again.0, records);
    assert!(again.1 == files);
}

#[test]
fn what_does_not_belong_together_is_refused() {
    let dir = tempdir().unwrap();
    succeed(&mut run(dir.path(), "run", &["epochs=1"]));
    succeed(&mut run(dir.path(), "other", &["epochs=1", "seed=1"]));
    let name = checkpoints(&dir.path().join("other")).pop().unwrap();
    let run_folder = dir.path().join("run");

    // The checkpoint of another run.
    let foreign = run_folder.join("checkpoints/step-99999999");
    fs::create_dir(&foreign).unwrap();
    let from = dir.path().join("other/checkpoints").join(name);
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, foreign.join(path.file_name().unwrap())).unwrap();
    }
    let message = refuse(&mut resume(dir.path(), "run"));
    assert!(message.contains("other settings"), "{message}");
    fs::remove_dir_all(&foreign).unwrap();

    // Records that were cut off.
    let lines = run_folder.join("metrics.jsonl");
    let text = fs::read_to_string(&lines).unwrap();
    let first = text.lines().next().unwrap();
    fs::write(&lines, format!("{first}\n")).unwrap();
    let message = refuse(&mut resume(dir.path(), "run"));
    assert!(message.contains("1 lines"), "{message}");
    fs::write(&lines, &text).unwrap();
    succeed(&mut resume(dir.path(), "run"));

    // No run at all, and settings that would be another run.
    let message = refuse(&mut resume(dir.path(), "nowhere"));
    assert!(message.contains("nowhere"), "{message}");
    let mut more = resume(dir.path(), "run");
    let message = refuse(more.args(["--set", "epochs=9"]));
    assert!(message.contains("--resume"), "{message}");
}

#[test]
fn a_step_that_is_not_finite_stops_the_run_or_is_left_out() {
    let dir = tempdir().unwrap();
    // A learning rate at which the first steps already throw the weights beyond all numbers.
    let wild = ["optimiser.learning_rate=1e38", "optimiser.warmup_steps=1"];
    let message = refuse(&mut run(dir.path(), "stop", &wild));
    assert!(message.contains("not finite"), "{message}");
    assert!(message.contains("step 1"), "{message}");
    let skip = [wild[0], wild[1], "optimiser.non_finite=skip"];
    let mut command = run(dir.path(), "skip", &skip);
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    // Weights that are broken stay broken: after ten such steps in a row it gives up.
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert_eq!(stderr.matches("left out: ").count(), 9, "{stderr}");
    let records = metrics(&dir.path().join("skip"));
    let left_out = records
        .iter()
        .filter(|record| record["loss"].is_null() && record["kind"] == "step");
    assert_eq!(left_out.count(), 9);
}

#[test]
fn classes_are_held_out_for_validation_and_choose_the_best() {
    let dir = tempdir().unwrap();
    let out = dir.path().join("run");
    succeed(&mut run(dir.path(), "run", &["checkpoint.keep=1"]));
    let records = metrics(&out);
    let judged = |split: &str| -> Vec<(u64, f64)> {
        let of_split = records.iter().filter(|record| record["split"] == split);
        of_split
            .map(|record| {
                let epoch = record["epoch"].as_u64().unwrap();
                (epoch, record["recall@1"].as_f64().unwrap())
            })
            .collect()
    };
    let validation = judged("validation");
    assert_eq!(validation.len(), 4);
    let best = validation[1..].iter().copied().reduce(
        |best, next| {
            if next.1 > best.1 { next } else { best }
        },
    );
    let (epoch, value) = best.unwrap();
    let text = fs::read(checkpoint(&out, "last").join("state.json")).unwrap();
    let state: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(state["best"]["epoch"].as_u64(), Some(epoch));
    assert_eq!(state["best"]["value"].as_f64(), Some(value));
    // The test images are looked at once, with the best model.
    let test = judged("test");
    assert_eq!(test.len(), 1);
    assert_eq!(test[0].0, epoch);
    // Without validation nothing is chosen, and the test images can be watched.
    let none = [
        "evaluation.validation=0",
        "evaluation.test_during_training=true",
    ];
    succeed(&mut run(dir.path(), "none", &none));
    let records = metrics(&dir.path().join("none"));
    assert!(records.iter().all(|record| record["split"] != "validation"));
    let tests = records.iter().filter(|record| record["split"] == "test");
    assert_eq!(tests.count(), 5);
    assert!(!dir.path().join("none/checkpoints/best").exists());
}
