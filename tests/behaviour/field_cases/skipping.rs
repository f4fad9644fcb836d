//! What cannot be read is skipped where that was asked for, and counted.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{class_folders, command, metrics, refuse, succeed, tiny};

/// Eight classes of four images to train on and eight to test, in `images`.
fn with_images() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    class_folders(&dir.path().join("images/train"), 0..8, 4);
    class_folders(&dir.path().join("images/test"), 8..16, 4);
    dir
}

/// Runs write paths that hold from anywhere; this takes the folder of the test out of what was said.
fn relative(dir: &Path, text: &str) -> String {
    // Pages write a slash as an entity.
    let text = text.replace("&#x2f;", "/");
    text.replace(&format!("{}/", dir.display()), "")
}

fn break_images(dir: &Path, part: &str, classes: std::ops::Range<u32>) {
    for class in classes {
        for image in 0..4 {
            let file = dir.join(format!("images/{part}/class-{class:02}/{image}.png"));
            fs::write(file, "no picture").unwrap();
        }
    }
}

/// A run without validation that skips, of two epochs.
fn skipping<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let usual = [
        "--data",
        "folder:images",
        "--skip-corrupt",
        "--set",
        "evaluation.validation=0",
        "--set",
        "epochs=2",
        "--out",
        out,
    ];
    [&usual[..], more].concat()
}

#[test]
fn a_batch_without_a_readable_image_is_a_step_that_is_left_out() {
    let dir = with_images();
    // Batches of two classes: some have nothing but broken images, some a single class that is whole.
    break_images(dir.path(), "train", 0..6);
    let pairs = [
        "--set",
        "batch.size=4",
        "--set",
        "evaluation.every=1",
        "--set",
        "checkpoint.keep=9",
    ];
    let (_, stderr) = succeed(&mut tiny(dir.path(), &skipping("run", &pairs)));
    let stderr = relative(dir.path(), &stderr);
    let left_out = |stderr: &str| {
        let line = stderr
            .lines()
            .find(|line| line.contains("could not be read and are"));
        line.unwrap_or_default().to_owned()
    };
    assert_eq!(
        left_out(&stderr),
        "24 images could not be read and are left out: images/train/class-00/0.png, \
         images/train/class-00/1.png, images/train/class-00/2.png and 21 more"
    );
    let steps = |run: &str| -> Vec<Value> {
        let records = metrics(&dir.path().join(run));
        records
            .into_iter()
            .filter(|record| record["kind"] == "step")
            .collect()
    };
    let of_run = steps("run");
    assert_eq!(of_run.len(), 16, "every step counts");
    let empty = of_run.iter().filter(|step| step["images"] == 0).count();
    assert!((1..16).contains(&empty), "{empty} of 16");
    let told = format!("{empty} steps were left out: too few of their images could be read");
    assert!(stderr.contains(&told), "{stderr}");
    for step in &of_run {
        assert_eq!(step["images"] == 0, step["loss"].is_null());
    }

    // The same whatever the number of threads, and for a run that was stopped in between.
    let threads = [&pairs[..], &["--threads", "3"]].concat();
    succeed(&mut tiny(dir.path(), &skipping("threads", &threads)));
    assert_eq!(steps("threads"), of_run);
    let first = dir.path().join("run/checkpoints");
    let first = fs::read_dir(first)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let mut first: Vec<String> = first.map(|name| name.into_string().unwrap()).collect();
    first.retain(|name| name.starts_with("step-"));
    first.sort();
    let weights = |run: &str| {
        let file = format!(
            "{run}/checkpoints/{}/model.safetensors",
            first[first.len() - 1]
        );
        fs::read(dir.path().join(file)).unwrap()
    };
    let expected = weights("run");
    assert_eq!(weights("threads"), expected);
    let resume = [
        "--skip-corrupt",
        "--resume",
        "run/checkpoints/step-00000008",
    ];
    let (_, again) = succeed(command(dir.path(), &["--backend", "flex"]).args(resume));
    let again = relative(dir.path(), &again);
    assert_eq!(steps("run"), of_run);
    assert_eq!(weights("run"), expected);
    assert_eq!(
        left_out(&again),
        left_out(&stderr),
        "what was left out before counts"
    );
}

#[test]
fn files_are_counted_and_not_how_often_they_were_drawn() {
    let dir = with_images();
    let broken = ["train/class-01/2.png", "train/class-05/3.png"];
    for path in broken {
        fs::write(dir.path().join("images").join(path), "no picture").unwrap();
    }
    let (_, stderr) = succeed(&mut tiny(dir.path(), &skipping("run", &[])));
    let stderr = relative(dir.path(), &stderr);
    let names = "images/train/class-01/2.png and images/train/class-05/3.png";
    let told = format!("2 images could not be read and are left out: {names}");
    assert!(stderr.contains(&told), "{stderr}");
    let report = fs::read_to_string(dir.path().join("run/report.html")).unwrap();
    let report = relative(dir.path(), &report);
    let told = format!("2 images that could not be read: {names}");
    assert!(report.contains(&told));
}

#[test]
fn an_image_of_a_table_that_is_not_there_is_skipped() {
    let dir = with_images();
    let mut table = "path,label,split\n".to_owned();
    for class in 0..16 {
        let split = if class < 8 { "train" } else { "test" };
        for image in 0..4 {
            table += &format!("images/{split}/class-{class:02}/{image}.png,{class},{split}\n");
        }
    }
    fs::write(dir.path().join("table.csv"), table).unwrap();
    fs::remove_file(dir.path().join("images/train/class-03/1.png")).unwrap();
    fs::remove_file(dir.path().join("images/test/class-09/1.png")).unwrap();
    let strict = ["--data", "csv:table.csv", "--out", "strict"];
    let message = refuse(&mut tiny(dir.path(), &strict));
    let message = relative(dir.path(), &message);
    assert!(
        message.contains("there is no file images/train/class-03/1.png")
            && message.contains("--skip-corrupt leaves out what is not there"),
        "{message}"
    );
    let lenient = ["--data", "csv:table.csv", "--skip-corrupt", "--out", "run"];
    let (_, stderr) = succeed(&mut tiny(dir.path(), &lenient));
    let stderr = relative(dir.path(), &stderr);
    let told = "2 images could not be read and are left out: images/test/class-09/1.png and \
                images/train/class-03/1.png";
    assert!(stderr.contains(told), "{stderr}");

    let embed = [
        "embed",
        "--checkpoint",
        "run",
        "--skip-corrupt",
        "--output",
        "test.npy",
    ];
    let (stdout, _) = succeed(&mut command(dir.path(), &embed));
    let stdout = relative(dir.path(), &stdout);
    let told = "1 image could not be read and is left out: images/test/class-09/1.png";
    assert!(stdout.contains(told), "{stdout}");
    let names = fs::read_to_string(dir.path().join("test.txt")).unwrap();
    assert_eq!(names.lines().count(), 31);
}

#[cfg(unix)]
#[test]
fn a_link_that_leads_nowhere_is_an_image_that_is_not_there() {
    use std::os::unix::fs::symlink;

    let dir = with_images();
    let gone = dir.path().join("images/train/class-02/9.png");
    symlink(dir.path().join("nowhere.png"), &gone).unwrap();
    let strict = ["--data", "folder:images", "--out", "strict"];
    let message = refuse(&mut tiny(dir.path(), &strict));
    let message = relative(dir.path(), &message);
    assert!(
        message.starts_with("1 of the 65 images of images are not there, the first is ")
            && message.contains("class-02/9.png")
            && message.contains("--skip-corrupt leaves them out"),
        "{message}"
    );
    succeed(&mut tiny(dir.path(), &skipping("run", &[])));

    let output = command(dir.path(), &["check", "folder:images", "--json"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["files"]["decoded"], 64, "it goes on");
    let finding = &report["findings"][0];
    assert_eq!(
        (&finding["severity"], &finding["kind"]),
        (&"error".into(), &"missing-files".into())
    );
    assert_eq!(
        finding["cases"][0]["names"][0],
        "images/train/class-02/9.png"
    );
}

#[test]
fn images_of_which_not_one_can_be_read_are_refused_in_a_sentence() {
    let dir = with_images();
    break_images(dir.path(), "train", 0..8);
    let message = refuse(&mut tiny(dir.path(), &skipping("run", &[])));
    assert!(
        message.starts_with(
            "epoch 0: no step could be taken, as too few images of each batch can be read; cannot decode \
             the image "
        ) && message.ends_with("`recall-train check` lists what is wrong"),
        "{message}"
    );

    let sound = ["--data", "folder:sound", "--out", "sound-run"];
    class_folders(&dir.path().join("sound/train"), 0..8, 4);
    class_folders(&dir.path().join("sound/test"), 8..16, 4);
    succeed(&mut tiny(dir.path(), &sound));
    break_images(dir.path(), "test", 8..16);
    for what in [&["eval"][..], &["embed", "--output", "x.npy"]] {
        let skip = [
            "--checkpoint",
            "sound-run",
            "--data",
            "folder:images",
            "--skip-corrupt",
        ];
        let message = refuse(command(dir.path(), what).args(skip));
        assert!(
            message.starts_with(
                "not one of 32 images of images can be read, the first because cannot decode"
            ) && message.ends_with("`recall-train check` says what is wrong with each"),
            "{message}"
        );
    }
}
