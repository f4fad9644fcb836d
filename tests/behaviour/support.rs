//! Running the command, and images to run it on.

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use image::{Rgb, RgbImage};
use serde_json::Value;

/// Settings under which a run takes a moment.
pub const TINY: [&str; 8] = [
    "epochs=1",
    "batch.size=8",
    "batch.samples_per_class=2",
    "model.widths=[4,8]",
    "model.grid=2",
    "model.dim=16",
    "loss.ks=[1,2]",
    "evaluation.ks=[1,2]",
];

/// `recall-train` with these arguments, to be run in `dir`. Should it panic, it says so at length.
pub fn command(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_recall-train-under-test"));
    command
        .current_dir(dir)
        .args(arguments)
        .env("RUST_BACKTRACE", "1")
        // Without it graphics libraries print lines of their own.
        .env("XDG_RUNTIME_DIR", dir)
        .env_remove("RAYON_NUM_THREADS");
    command
}

/// The command that trains with [`TINY`] settings.
pub fn tiny(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = command(dir, &["--backend", "flex"]);
    for setting in TINY {
        command.args(["--set", setting]);
    }
    command.args(arguments);
    command
}

/// What a command printed that ended well: standard output and standard error.
pub fn succeed(command: &mut Command) -> (String, String) {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{command:?}\n{stdout}{stderr}");
    (stdout, stderr)
}

/// The one sentence with which a command refuses: exit code 2 and nothing else on standard error
/// but what went on before.
pub fn refuse(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let context = format!("{command:?}\n{stderr}");
    assert_eq!(output.status.code(), Some(2), "{context}");
    assert!(!stderr.contains("panicked"), "{context}");
    assert!(!stderr.contains("backtrace"), "{context}");
    let errors = stderr.lines().filter(|line| line.starts_with("error"));
    assert_eq!(errors.count(), 1, "{context}");
    // The cause is told once, not once more for each error that has it as its source.
    assert!(stderr.matches("os error").count() <= 1, "{context}");
    let last = stderr.lines().last().unwrap_or_default();
    let message = last.strip_prefix("error: ").expect(&context);
    assert!(message.len() > 10, "{context}");
    message.to_owned()
}

/// The lines of a run's `metrics.jsonl` without what a clock wrote into them.
pub fn metrics(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines()
        .map(|line| {
            let mut record: Value = serde_json::from_str(line).unwrap();
            let times = record.as_object_mut().unwrap();
            times.remove("waited_seconds");
            times.remove("exchange_seconds");
            let seconds = times.remove("seconds").unwrap();
            assert!(seconds.as_f64().unwrap() >= 0.0);
            record
        })
        .collect()
}

/// The folder that `last` or `best` of a run points to.
pub fn checkpoint(run: &Path, which: &str) -> PathBuf {
    let folder = run.join("checkpoints");
    let name = fs::read_to_string(folder.join(which)).unwrap();
    folder.join(name.trim())
}

/// The names and values of the lines `recall@1  0.6432` that a command printed, without the interval
/// that may stand behind.
pub fn table(stdout: &str) -> Vec<(String, String)> {
    stdout
        .lines()
        .take_while(|line| line.contains('@'))
        .map(|line| {
            let (name, value) = line.split_once("  ").expect(line);
            let value = value.split_whitespace().next().expect(line);
            let fraction: f64 = value.parse().expect(line);
            assert!(
                (0.0..=1.0).contains(&fraction) && value.len() == 6,
                "{line}"
            );
            (name.to_owned(), value.to_owned())
        })
        .collect()
}

/// An image: stripes in the colour of its class, moved and shaded from instance to instance.
pub fn picture(path: &Path, class: u32, instance: u32) {
    let image = RgbImage::from_fn(40, 36, |x, y| {
        let stripe = (x * (class % 3) + y * (class % 4 + 1) + 3 * instance) / 6 % 2;
        let shade = 120 + 100 * stripe + 4 * instance % 30;
        let channel = |shift: u32| (shade * (class * 7 + shift * 5) % 11 * 23) as u8;
        Rgb([channel(0), channel(1), channel(2)])
    });
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    image.save(path).unwrap();
}

/// `dir/class-NN/M.png` for these classes.
pub fn class_folders(dir: &Path, classes: std::ops::Range<u32>, images: u32) {
    for class in classes {
        for instance in 0..images {
            let path = dir.join(format!("class-{class:02}/{instance}.png"));
            picture(&path, class, instance);
        }
    }
}
