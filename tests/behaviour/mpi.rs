//! Runs of several processes under mpirun: they end as those of one, however they are interrupted.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use safetensors::SafeTensors;
use serde_json::Value;
use tempfile::tempdir;

use crate::support::{checkpoint, class_folders, command, metrics, succeed};

/// Some seconds of training, with everything that has a state.
const SETTINGS: [&str; 12] = [
    "epochs=3",
    "batch.size=64",
    "batch.chunk=10",
    "loss.mixup=true",
    "model.widths=[4,8]",
    "model.grid=2",
    "model.dim=16",
    "optimiser.average=0.9",
    "optimiser.clip_norm=0.5",
    "evaluation.every=1",
    "evaluation.gallery=1",
    "checkpoint.keep=3",
];

/// Epochs of 30 steps: what differs by rounding at first has grown a hundredfold after 100.
const SHORT: &str = "batch.size=96";
const ONE_EPOCH: &str = "epochs=1";
/// One before the first checkpoint, and one after it.
const TWO_EPOCHS: &str = "epochs=2";

/// Where there is no mpirun, a test says so and does nothing.
fn is_there() -> bool {
    let there = Command::new("mpirun").arg("--version").output().is_ok();
    if !there {
        println!("SKIPPED: there is no mpirun");
    }
    there
}

/// `arguments` for the command, as one process.
fn training(out: &str, extra: &[&str]) -> Vec<String> {
    let options = [
        "--backend",
        "flex",
        "--quiet",
        "--threads",
        "1",
        "--out",
        out,
    ];
    let mut arguments = options.map(str::to_owned).to_vec();
    for setting in SETTINGS.iter().chain(extra) {
        arguments.extend(["--set".to_owned(), (*setting).to_owned()]);
    }
    arguments
}

fn resuming(from: &str) -> Vec<String> {
    let options = [
        "--backend",
        "flex",
        "--quiet",
        "--threads",
        "1",
        "--resume",
        from,
    ];
    options.map(str::to_owned).to_vec()
}

/// The command as so many ranks, more than there may be cores.
fn ranks(dir: &Path, count: usize, arguments: &[String]) -> Command {
    let mut mpirun = Command::new("mpirun");
    mpirun
        .current_dir(dir)
        .args([
            "--oversubscribe",
            "--bind-to",
            "none",
            "-n",
            &count.to_string(),
        ])
        .arg(env!("CARGO_BIN_EXE_recall-train-under-test"))
        .args(arguments)
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
        // Containers do not allow what it would copy by.
        .env("OMPI_MCA_btl_vader_single_copy_mechanism", "none")
        .env("RAYON_NUM_THREADS", "1");
    mpirun
}

fn train(dir: &Path, count: usize, arguments: &[String]) {
    let output = match count {
        1 => {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            succeed(&mut command(dir, &arguments));
            return;
        }
        _ => ranks(dir, count, arguments).output().unwrap(),
    };
    assert!(output.status.success(), "{}", said(&output));
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// The one sentence with which a job ends: exit code 2, and mpirun's own lines around it.
fn refused(output: &Output) -> String {
    let said = said(output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    let mut errors = said.lines().filter_map(|line| line.strip_prefix("error: "));
    let error = errors.next().expect(&said).to_owned();
    assert_eq!(errors.next(), None, "{said}");
    error
}

/// All numbers of the weights that a run ended with.
fn weights(run: &Path) -> Vec<f32> {
    let mut all = Vec::new();
    for file in ["model.safetensors", "trained.safetensors"] {
        let bytes = fs::read(checkpoint(run, "last").join(file)).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let mut tensors = file.tensors();
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        for (_, tensor) in tensors {
            let (words, _) = tensor.data().as_chunks();
            all.extend(words.iter().map(|word| f32::from_le_bytes(*word)));
        }
    }
    all
}

/// The records, whose numbers may differ a little.
fn assert_close(run: &Path, straight: &Path) {
    let (ours, expected) = (metrics(run), metrics(straight));
    assert_eq!(ours.len(), expected.len());
    for (ours, expected) in ours.iter().zip(&expected) {
        for (key, expected) in expected.as_object().unwrap() {
            match (&ours[key], expected) {
                (Value::Number(ours), Value::Number(expected)) => {
                    let (ours, expected) = (ours.as_f64().unwrap(), expected.as_f64().unwrap());
                    let difference = (ours - expected).abs();
                    // Where sigmoids are steep the gradient is what rounding shows in first.
                    let share = if key == "gradient_norm" { 1e-2 } else { 1e-4 };
                    assert!(
                        difference <= share * expected.abs().max(1.0),
                        "{key}: {ours} {expected}"
                    );
                }
                (ours, expected) => assert_eq!(ours, expected, "{key}"),
            }
        }
    }
    let (ours, expected) = (weights(run), weights(straight));
    assert_eq!(ours.len(), expected.len());
    let largest = expected.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
    let difference = ours.iter().zip(&expected).map(|(a, b)| (a - b).abs());
    let difference = difference.fold(0.0_f32, f32::max);
    assert!(difference <= 1e-5 * largest, "{difference} of {largest}");
}

/// Every bit.
fn assert_same(run: &Path, straight: &Path) {
    assert_eq!(metrics(run), metrics(straight));
    let bits = |run| -> Vec<u32> { weights(run).iter().map(|x| x.to_bits()).collect() };
    assert!(bits(run) == bits(straight), "the weights differ");
}

#[test]
fn ranks_train_as_one_process() {
    if !is_there() {
        return;
    }
    let dir = tempdir().unwrap();
    // Chunks that divide the batch, that do not, and that are fewer than ranks.
    for chunk in ["batch.chunk=16", "batch.chunk=10", "batch.chunk=32"] {
        let name = |count: usize, time: usize| format!("{chunk}-{count}-{time}");
        train(
            dir.path(),
            1,
            &training(&name(1, 0), &[chunk, SHORT, ONE_EPOCH]),
        );
        for count in [2, 4] {
            for time in 0..2 {
                train(
                    dir.path(),
                    count,
                    &training(&name(count, time), &[chunk, SHORT, ONE_EPOCH]),
                );
            }
            let run = dir.path().join(name(count, 0));
            assert_close(&run, &dir.path().join(name(1, 0)));
            assert_same(&dir.path().join(name(count, 1)), &run);
            assert!(run.join("report.html").is_file());
            let events = fs::read_dir(&run).unwrap().filter(|entry| {
                let name = entry.as_ref().unwrap().file_name();
                name.to_string_lossy().contains("tfevents")
            });
            assert_eq!(events.count(), 1);
        }
    }
}

#[test]
fn a_run_goes_on_with_another_number_of_ranks() {
    if !is_there() {
        return;
    }
    let dir = tempdir().unwrap();
    train(dir.path(), 2, &training("straight", &[SHORT, TWO_EPOCHS]));
    let straight = dir.path().join("straight");
    let copy = |name: &str| {
        let to = dir.path().join(name);
        let copied = Command::new("cp").arg("-r").args([&straight, &to]).status();
        assert!(copied.unwrap().success());
    };
    let names = fs::read_dir(straight.join("checkpoints")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let first = names
        .filter(|name| name.starts_with("step-"))
        .min()
        .unwrap();
    for count in [1, 2, 3] {
        let name = format!("again-{count}");
        copy(&name);
        train(
            dir.path(),
            count,
            &resuming(&format!("{name}/checkpoints/{first}")),
        );
        match count {
            2 => assert_same(&dir.path().join(name), &straight),
            _ => assert_close(&dir.path().join(name), &straight),
        }
    }
}

/// Waits for a job that should end by itself.
fn ended(mut job: Child, within: Duration) -> Output {
    let start = Instant::now();
    while job.try_wait().unwrap().is_none() {
        if start.elapsed() > within {
            job.kill().unwrap();
            panic!(
                "the job goes on: {}",
                said(&job.wait_with_output().unwrap())
            );
        }
        sleep(Duration::from_millis(20));
    }
    job.wait_with_output().unwrap()
}

/// The processes that mpirun started.
fn processes(job: &Child) -> Vec<String> {
    let parent = job.id().to_string();
    let found = Command::new("pgrep")
        .args(["-P", &parent])
        .output()
        .unwrap();
    let found = String::from_utf8(found.stdout).unwrap();
    found.lines().map(str::to_owned).collect()
}

fn signal(name: &str, process: &str) {
    let sent = Command::new("kill").args([name, process]).status().unwrap();
    assert!(sent.success());
}

/// Starts a job that goes on for long, and waits for its first step.
fn begun(dir: &Path, count: usize, arguments: &[String]) -> Child {
    let mut mpirun = ranks(dir, count, arguments);
    let job = mpirun.stdout(Stdio::piped()).stderr(Stdio::piped());
    let job = job.spawn().unwrap();
    let records = dir.join("run/metrics.jsonl");
    let start = Instant::now();
    while !fs::read_to_string(&records).is_ok_and(|text| text.contains(r#""kind":"step""#)) {
        assert!(
            start.elapsed() < Duration::from_secs(120),
            "no step was taken"
        );
        sleep(Duration::from_millis(10));
    }
    job
}

#[test]
fn a_rank_that_is_killed_ends_all_and_the_run_goes_on() {
    if !is_there() {
        return;
    }
    let kills = std::env::var("RECALL_KILLS").map_or(3, |kills| kills.parse().unwrap());
    let dir = tempdir().unwrap();
    let often = "checkpoint.every_minutes=0.0001";
    let settings = [SHORT, TWO_EPOCHS, often];
    let start = Instant::now();
    train(dir.path(), 2, &training("straight", &settings));
    let most = start.elapsed().mul_f64(0.8);
    for kill in 0..kills {
        let random = RandomState::new().hash_one(kill);
        let victim = usize::from(random % 2 == 1);
        let delay = most.mul_f64((random >> 40) as f64 / (1 << 24) as f64);
        // Bit-equal with as many ranks as before, close with others.
        let count = [2, 1, 3][kill % 3];
        println!("rank {victim} after {delay:?}, resumed with {count}");
        let _ = fs::remove_dir_all(dir.path().join("run"));
        let job = begun(dir.path(), 2, &training("run", &settings));
        sleep(delay);
        // A machine that is suddenly faster may be done before.
        if let Some(process) = processes(&job).get(victim) {
            signal("-KILL", process);
        }
        ended(job, Duration::from_secs(30));
        train(dir.path(), count, &resuming("run"));
        let [run, straight] = ["run", "straight"].map(|name| dir.path().join(name));
        match count {
            2 => assert_same(&run, &straight),
            _ => assert_close(&run, &straight),
        }
    }
}

#[test]
fn a_rank_that_is_frozen_is_named() {
    if !is_there() {
        return;
    }
    let dir = tempdir().unwrap();
    let mut arguments = training("run", &["epochs=1000"]);
    arguments.extend(["--rank-timeout", "3"].map(str::to_owned));
    for victim in [1, 0] {
        let _ = fs::remove_dir_all(dir.path().join("run"));
        let job = begun(dir.path(), 3, &arguments);
        let mut found = processes(&job);
        found.sort_by_key(|process| process.parse::<u32>().unwrap());
        signal("-STOP", &found[victim]);
        let output = ended(job, Duration::from_secs(30));
        let error = refused(&output);
        let named = format!("rank {victim} has not answered for 3 s");
        assert!(error.contains(&named), "{error}");
        assert!(error.contains("--resume run"), "{error}");
    }
}

#[test]
fn what_is_wrong_on_one_rank_ends_all_in_a_sentence() {
    if !is_there() {
        return;
    }
    let dir = tempdir().unwrap();
    class_folders(&dir.path().join("photos/train"), 0..8, 4);
    class_folders(&dir.path().join("photos/test"), 8..12, 4);
    let of = |out: &str| {
        let mut arguments = training(
            out,
            &[
                "batch.size=16",
                "batch.samples_per_class=2",
                "evaluation.validation=0",
            ],
        );
        arguments.extend(["--data", "folder:photos"].map(str::to_owned));
        arguments
    };
    // One that only some rank will come upon.
    fs::write(dir.path().join("photos/train/class-03/2.png"), b"no image").unwrap();
    let start = Instant::now();
    let error = refused(&ranks(dir.path(), 2, &of("broken")).output().unwrap());
    assert!(error.starts_with("rank "), "{error}");
    assert!(error.contains("class-03/2.png"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(30));

    // Left out, it makes batches smaller, and all know.
    let mut skipping = of("skipping");
    skipping.push("--skip-corrupt".to_owned());
    train(dir.path(), 2, &skipping);
    let records = metrics(&dir.path().join("skipping"));
    assert!(records.iter().any(|record| record["skipped"] == 1));

    // A folder that is taken: one sentence for all.
    let error = refused(&ranks(dir.path(), 3, &of("skipping")).output().unwrap());
    assert!(
        error.starts_with("rank 0: skipping is not empty"),
        "{error}"
    );
    let settings = of("mixed");
    let mut mixed = of("mixed");
    mixed.splice(0..0, ["--set", "seed=9"].map(str::to_owned));
    let mut job = ranks(dir.path(), 1, &settings);
    job.args([
        ":",
        "-n",
        "1",
        env!("CARGO_BIN_EXE_recall-train-under-test"),
    ]);
    let error = refused(&job.args(mixed).output().unwrap());
    assert!(
        error.contains("rank 1 has other settings than rank 0"),
        "{error}"
    );
    assert!(!dir.path().join("mixed").exists());

    let error = refused(
        &ranks(dir.path(), 2, &["presets".to_owned()])
            .output()
            .unwrap(),
    );
    assert!(error.contains("presets is work for one process"), "{error}");
}
