//! Settings and options as people write them.

use std::fs;
use std::path::Path;

use recall_train::{BatchSize, RunConfig};
use tempfile::{TempDir, tempdir};

use crate::support::{class_folders, command, metrics, refuse, succeed, tiny};

const DATA: [&str; 2] = ["--data", "folder:images"];

/// A folder `images` with six classes of four images to train on, and four to test.
fn with_images() -> TempDir {
    let dir = tempdir().unwrap();
    class_folders(&dir.path().join("images/train"), 0..6, 4);
    class_folders(&dir.path().join("images/test"), 6..10, 4);
    dir
}

fn config(run: &Path) -> RunConfig {
    let text = fs::read_to_string(run.join("config.toml")).unwrap();
    RunConfig::read(Some(("run", &text)), &[]).unwrap()
}

#[test]
fn numbers_that_make_no_sense_are_refused_by_their_key() {
    let dir = tempdir().unwrap();
    let refused = |setting: &str| refuse(&mut command(dir.path(), &["--set", setting]));
    // As docs/configuration.md has it.
    assert_eq!(
        refused("optimiser.factor=-1"),
        "optimiser.factor: -1 is out of range; it takes a number above 0 and up to 1"
    );
    for (setting, start) in [
        (
            "optimiser.weight_decay=-1",
            "optimiser.weight_decay: -1 is out",
        ),
        (
            "optimiser.weight_decay=nan",
            "optimiser.weight_decay: NaN is out",
        ),
        (
            "optimiser.learning_rate=1e300",
            "optimiser.learning_rate: 1e300 is out",
        ),
        ("model.dim=1000000000000", "model.dim: 1000000000000 is out"),
        (
            "batch.size=1000000000000",
            "batch.size: 1000000000000 is out",
        ),
    ] {
        let message = refused(setting);
        assert!(message.starts_with(start), "{message}");
    }
    let seeds = ["--seeds", "1,18446744073709551615"];
    let message = refuse(&mut tiny(dir.path(), &seeds));
    assert!(message.contains("9223372036854775807"), "{message}");
}

#[test]
fn images_that_are_too_small_for_the_model_are_refused_with_the_smallest() {
    let dir = with_images();
    for (settings, key) in [
        (
            ["image.train.size=[7,32]", "image.eval.crop=32"],
            "image.train.size",
        ),
        (
            ["image.train.size=[32,32]", "image.eval.crop=7"],
            "image.eval.crop",
        ),
        (
            ["model.widths=[4,4,4,4,4,4]", "image.eval.crop=32"],
            "image.train.size and image.eval.crop",
        ),
    ] {
        for subcommand in ["train", "plan"] {
            let arguments = [subcommand, "--backend", "flex", "--quiet"];
            let mut command = command(dir.path(), &arguments);
            let message = refuse(
                command
                    .args(DATA)
                    .args(settings.map(|of| format!("--set={of}"))),
            );
            assert!(
                message.starts_with(&format!("{key}: convnet with ")),
                "{message}"
            );
            assert!(message.contains("takes images of at least "), "{message}");
        }
    }
    assert!(!dir.path().join("runs").exists());
    // The smallest one trains.
    let smallest = [
        "image.train.size=[4,4]",
        "image.eval.resize=4",
        "image.eval.crop=4",
    ];
    let smallest = smallest.map(|of| format!("--set={of}"));
    succeed(tiny(dir.path(), &DATA).args(smallest));
}

#[test]
fn a_batch_is_as_large_as_the_classes_allow_with_auto() {
    let dir = with_images();
    // As docs/configuration.md has it: twelve classes and the default batch.
    class_folders(&dir.path().join("twelve/train"), 0..12, 4);
    class_folders(&dir.path().join("twelve/test"), 12..14, 4);
    let whole = ["--data", "folder:twelve", "--set=evaluation.validation=0"];
    for arguments in [&["train"][..], &["plan"]] {
        let message = refuse(
            command(dir.path(), arguments)
                .args(["--backend", "flex"])
                .args(whole),
        );
        assert_eq!(
            message,
            "batch.size: a batch of 256 images, 4 of each class, needs 64 classes, but 12 of the 12 classes \
             have enough images; the largest that works is 48: give batch.size=48, or batch.size=auto, \
             which takes it"
        );
    }

    let auto = ["--set", "batch.size=auto"];
    let (_, stderr) = succeed(tiny(dir.path(), &DATA).args(auto).args(["--out", "auto"]));
    let note = "batch.size: auto comes to 12 images";
    assert!(stderr.lines().any(|line| line == note), "{stderr}");
    let run = dir.path().join("auto");
    assert_eq!(config(&run).batch.size, BatchSize::Images(12));
    let given = ["--set", "batch.size=12", "--out", "given"];
    succeed(tiny(dir.path(), &DATA).args(given));
    assert_eq!(metrics(&run), metrics(&dir.path().join("given")));
    succeed(&mut command(
        dir.path(),
        &["--backend", "flex", "--resume", "auto"],
    ));

    let mut plan = command(dir.path(), &["plan", "--backend", "flex", "--quiet"]);
    let (stdout, _) = succeed(plan.args(whole).args(auto));
    assert!(stdout.contains("for 48 images in chunks of "), "{stdout}");
    let message = refuse(&mut tiny(dir.path(), &["--set", "batch.size=most"]));
    let end =
        "batch.size takes a whole number from 4 to 1000000, `auto`, or `all`, not string \"most\"";
    assert!(message.ends_with(end), "{message}");
}

#[test]
fn a_milestone_that_is_never_reached_is_said_before_the_first_step() {
    let dir = with_images();
    let quiet = ["--quiet", "--set", "evaluation.validation=0"];
    let never = ["--set", "optimiser.milestones=[28,36]"];
    let (_, stderr) = succeed(tiny(dir.path(), &DATA).args(quiet).args(never));
    assert_eq!(
        stderr,
        "optimiser.milestones: 28 and 36 are never reached in 1 epoch, so the learning rate does not fall \
         there; numbers below 1 are shares of the run, as in optimiser.milestones=[0.7,0.9]\n"
    );
    // Shares fall in a run of any length.
    let (_, stderr) = succeed(
        tiny(dir.path(), &DATA)
            .args(quiet)
            .args(["--set", "epochs=4", "--out", "short"])
            .args(["--set", "optimiser.warmup_steps=0"]),
    );
    assert_eq!(stderr, "");
    let steps = metrics(&dir.path().join("short"));
    let rates: Vec<f64> = steps
        .iter()
        .filter_map(|record| record["learning_rate"].as_f64())
        .collect();
    assert_eq!(rates.first(), Some(&0.002), "{rates:?}");
    assert!(
        (rates.last().unwrap() / 0.002 - 0.09).abs() < 1e-12,
        "{rates:?}"
    );
}

#[test]
fn the_numbers_of_an_older_run_are_read() {
    let older =
        "epochs = 40\n[batch]\nsize = 256\n[optimiser]\nwarmup_steps = 10\nmilestones = [28, 36]\n";
    let config = RunConfig::read(Some(("older", older)), &[]).unwrap();
    let default = RunConfig::default();
    for step in 0..440 {
        let rate = |of: &RunConfig| of.optimiser.learning_rate_at(step / 11, step, 440);
        assert_eq!(rate(&config).to_bits(), rate(&default).to_bits());
    }
}

#[test]
fn usual_guesses_get_the_name_of_the_setting() {
    let dir = tempdir().unwrap();
    let refused = |arguments: &[&str]| refuse(&mut command(dir.path(), arguments));
    let set = |rest: &str| format!(": settings are given by --set, so write --set {rest}");
    for (arguments, end) in [
        (&["--epochs", "10"][..], set("epochs=10")),
        (&["--batch-size=64"], set("batch.size=64")),
        (&["--lr", "0.01"], set("optimiser.learning_rate=0.01")),
        (&["--seed", "3"], set("seed=3")),
        (
            &["plan", "--chunk", "16"],
            set("batch.chunk=16 or --set evaluation.chunk=16"),
        ),
        (
            &["trian"],
            "there is no command trian; did you mean train?".into(),
        ),
        (
            &["evaluate"],
            "there is no command evaluate; did you mean eval?".into(),
        ),
        (
            &["--set", "lr=0.1"],
            "unknown setting lr; did you mean optimiser.learning_rate?".into(),
        ),
        (
            &["--set", "batch_size=8"],
            "unknown setting batch_size; did you mean batch.size?".into(),
        ),
    ] {
        let message = refused(arguments);
        assert!(message.ends_with(&end), "{message}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
