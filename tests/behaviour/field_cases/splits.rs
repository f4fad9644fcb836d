//! What was trained on, and what is judged.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::support::{class_folders, command, picture, refuse, succeed, tiny};

/// A run that was trained on the classes 0 to 3 of `photos` and judged on 4 to 6.
fn trained() -> TempDir {
    let dir = tempdir().unwrap();
    class_folders(&dir.path().join("photos/train"), 0..4, 4);
    class_folders(&dir.path().join("photos/test"), 4..7, 3);
    succeed(&mut tiny(
        dir.path(),
        &["--data", "folder:photos", "--out", "run", "--quiet"],
    ));
    dir
}

fn eval(dir: &Path, arguments: &[&str]) -> assert_cmd::Command {
    let eval = ["eval", "--backend", "flex", "--checkpoint", "run"];
    let mut command = command(dir, &eval);
    command.args(arguments);
    command
}

#[test]
fn a_run_writes_down_what_it_was_trained_on() {
    let dir = trained();
    let read = |place: &str| -> Value {
        let bytes = fs::read(dir.path().join(place).join("data.json")).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    let record = read("run");
    assert_eq!(record["kind"], "folder");
    assert_eq!(record["train"]["images"], 16);
    let names: Vec<&String> = record["train"]["classes"]
        .as_object()
        .unwrap()
        .keys()
        .collect();
    assert_eq!(names, ["class-00", "class-01", "class-02", "class-03"]);
    let size = fs::metadata(dir.path().join("photos/test/class-05/1.png")).unwrap();
    let image = &record["test"]["classes"]["class-05"][1];
    assert_eq!(
        (&image[0], &image[1]),
        (&"class-05/1.png".into(), &size.len().to_string().into())
    );
    let text = record.to_string();
    assert!(!text.contains(&dir.path().display().to_string()), "{text}");
    let checkpoints = fs::read_dir(dir.path().join("run/checkpoints")).unwrap();
    let step = checkpoints.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let step = step.filter(|name| name.starts_with("step-")).max().unwrap();
    assert_eq!(read(&format!("run/checkpoints/{step}")), record);
}

#[test]
fn trained_classes_are_not_called_unseen() {
    let dir = trained();
    let other = dir.path().join("other");
    class_folders(&other.join("train"), 10..12, 2);
    class_folders(&other.join("test"), 20..22, 3);
    // One picture of it was trained on.
    for instance in 0..3 {
        picture(
            &other.join(format!("test/class-02/{instance}.png")),
            2,
            instance,
        );
    }
    let said = "1 of 3 test classes was trained on (class-02)";
    let message = refuse(&mut eval(dir.path(), &["--data", "folder:other"]));
    assert!(message.starts_with(said), "{message}");
    assert!(message.contains("--trained-classes leave-out"), "{message}");

    let with = |policy: &str| {
        let arguments = ["--data", "folder:other", "--trained-classes", policy];
        let (text, _) = succeed(&mut eval(dir.path(), &arguments));
        let (json, _) = succeed(eval(dir.path(), &arguments).arg("--json"));
        (text, serde_json::from_str::<Value>(&json).unwrap())
    };
    let (text, json) = with("judge");
    assert!(text.contains(said), "{text}");
    assert_eq!(json["queries"], 9);
    let label = &json["trained_classes"];
    assert_eq!((&label["classes"], &label["of"]), (&1.into(), &3.into()));
    assert_eq!(label["judged"], true);
    let (text, json) = with("leave-out");
    assert!(!text.contains("trained on"), "{text}");
    assert_eq!(json["queries"], 6);
    assert_eq!(json["trained_classes"]["judged"], false);
}

#[test]
fn a_name_alone_is_said_to_be_a_name() {
    let dir = trained();
    let other = dir.path().join("other");
    class_folders(&other.join("train"), 10..12, 2);
    for class in ["class-01", "new"] {
        for instance in 7..9 {
            picture(
                &other.join(format!("test/{class}/n{instance}.png")),
                9,
                instance,
            );
        }
    }
    let message = refuse(&mut eval(dir.path(), &["--data", "folder:other"]));
    let said = "1 of 2 test classes has the name of a class that was trained on (class-01)";
    assert!(message.starts_with(said), "{message}");
}

#[test]
fn the_data_of_the_run_and_classes_added_to_it_are_judged() {
    let dir = trained();
    let (_, stderr) = succeed(&mut eval(dir.path(), &[]));
    assert!(!stderr.contains("trained on"), "{stderr}");
    assert!(!stderr.contains("not those"), "{stderr}");
    class_folders(&dir.path().join("photos/test"), 30..31, 2);
    let (json, stderr) = succeed(&mut eval(dir.path(), &["--resamples", "0"]));
    let said = "2 test images were added (the first is class-30/0.png)";
    assert!(stderr.contains(said), "{stderr}");
    assert!(json.contains("11 queries"), "{json}");
    // A class that changes sides was trained on, whatever it counts as today.
    fs::rename(
        dir.path().join("photos/train/class-03"),
        dir.path().join("photos/test/class-03"),
    )
    .unwrap();
    let message = refuse(&mut eval(dir.path(), &[]));
    let said = "1 of 5 test classes was trained on (class-03)";
    assert!(message.starts_with(said), "{message}");
}

#[test]
fn embed_says_how_many_images_are_of_trained_classes() {
    let dir = trained();
    let embed = |split: &str| {
        let output = format!("{split}.npy");
        let arguments = ["embed", "--backend", "flex", "--checkpoint", "run"];
        let mut command = command(dir.path(), &arguments);
        command.args(["--split", split, "--output", &output]);
        succeed(&mut command).1
    };
    let said = "4 of 7 classes were trained on (class-00, class-01, class-02 and 1 other): 16 of the 25 images";
    assert!(embed("all").contains(said));
    assert!(!embed("test").contains("trained on"));
}

#[test]
fn a_checkpoint_without_a_record_is_judged_with_a_word() {
    let dir = trained();
    let checkpoints = dir.path().join("run/checkpoints");
    for entry in fs::read_dir(&checkpoints).unwrap() {
        let path = entry.unwrap().path();
        let manifest = path.join("manifest.json");
        if path.is_symlink() || !manifest.is_file() {
            continue;
        }
        // As the version before wrote it.
        fs::remove_file(path.join("data.json")).unwrap();
        let text = fs::read_to_string(&manifest).unwrap();
        let mut list: Value = serde_json::from_str(&text).unwrap();
        list["files"]
            .as_object_mut()
            .unwrap()
            .remove("data.json")
            .unwrap();
        fs::write(&manifest, list.to_string()).unwrap();
    }
    let (_, stderr) = succeed(&mut eval(dir.path(), &[]));
    let said = "an earlier version, which did not record the classes";
    assert!(stderr.contains(said), "{stderr}");
}
