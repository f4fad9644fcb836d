//! `recall-train check`: what it prints, and its exit codes.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::{TempDir, tempdir};

use crate::support::{class_folders, command, refuse, succeed};

/// A folder `images` with four classes of four images to train on, and as many to test.
fn with_images() -> TempDir {
    let dir = tempdir().unwrap();
    let images = dir.path().join("images");
    class_folders(&images.join("train"), 0..4, 4);
    class_folders(&images.join("test"), 4..8, 4);
    dir
}

/// Exit code and standard output; nothing is on standard error, which is no terminal here.
fn check(dir: &Path, arguments: &[&str]) -> (i32, String) {
    let mut command = command(dir, &["check"]);
    let output = command.args(arguments).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(stderr, "", "{arguments:?}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    (output.status.code().unwrap(), stdout)
}

fn check_json(dir: &Path, arguments: &[&str]) -> (i32, Value) {
    let (code, stdout) = check(dir, &[arguments, &["--json"]].concat());
    (code, serde_json::from_str(&stdout).unwrap())
}

fn keys(value: &Value) -> Vec<&str> {
    let keys = value.as_object().unwrap().keys();
    let mut keys: Vec<_> = keys.map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn sound_data_end_with_exit_code_0() {
    let dir = with_images();
    let batches = ["--batch-size", "8", "--samples-per-class", "2"];
    let arguments = [&["folder:images"][..], &batches].concat();
    let (code, stdout) = check(dir.path(), &arguments);
    assert_eq!(code, 0, "{stdout}");
    for words in [
        "images: 32 images of 8 classes; all decoded, ",
        "\ntrain      16        4\n",
        "images in a train class: 4 in each\n",
        "batches of 8 images, 2 of each class: 2 steps an epoch\n",
        "\nno errors",
    ] {
        assert!(stdout.contains(words), "{words:?} is not in: {stdout}");
    }
    let (code, _) = check(dir.path(), &["emoji", "--no-decode", "--threads", "1"]);
    assert_eq!(code, 0);
}

#[test]
fn broken_data_end_with_exit_code_1() {
    let dir = with_images();
    let image = dir.path().join("images/train/class-01/2.png");
    let bytes = fs::read(&image).unwrap();
    fs::write(&image, &bytes[..bytes.len() / 2]).unwrap();
    let (code, stdout) = check(dir.path(), &["folder:images", "--batch-size", "8"]);
    assert_eq!(code, 1, "{stdout}");
    let error = stdout.lines().find(|line| line.starts_with("error"));
    let error = error.expect(&stdout);
    assert!(error.contains("1 image cannot be decoded: "), "{error}");
    assert!(error.contains("class-01/2.png ("), "{error}");
    let last = stdout.lines().last().unwrap();
    assert!(last.starts_with("1 error"), "{stdout}");

    let quick = ["folder:images", "--batch-size", "8", "--no-decode"];
    assert_eq!(check(dir.path(), &quick).0, 0);

    // A list may name what is not there; training refuses it, the check tells all of it.
    fs::write(
        dir.path().join("table.csv"),
        "path,label\nimages/test/class-04/0.png,a\nx.png,a\ny.png,b\n",
    )
    .unwrap();
    let (code, report) = check_json(dir.path(), &["csv:table.csv"]);
    assert_eq!(code, 1);
    let finding = &report["findings"][0];
    assert_eq!(finding["kind"], "missing-files");
    assert_eq!(finding["cases"][1]["names"][0], "y.png");
}

#[test]
fn json_has_the_same_keys_whatever_was_found() {
    let dir = with_images();
    fs::write(dir.path().join("images/test/class-04/0.png"), "").unwrap();
    let (code, broken) = check_json(dir.path(), &["folder:images"]);
    assert_eq!((code, &broken["errors"]), (1, &1.into()));
    let (code, sound) = check_json(dir.path(), &["emoji"]);
    assert_eq!((code, &sound["errors"]), (0, &0.into()));
    for report in [&broken, &sound] {
        assert_eq!(
            keys(report),
            [
                "class_sizes",
                "classes",
                "dataset",
                "errors",
                "files",
                "findings",
                "ground_truth",
                "images",
                "parts",
                "sampling",
                "super_classes",
                "warnings"
            ]
        );
        assert_eq!(keys(&report["files"]), ["bytes", "decoded", "read"]);
        let part = &report["parts"][0];
        assert_eq!(keys(part), ["classes", "images", "part", "published"]);
        assert_eq!(part["part"], "train");
        assert_eq!(
            keys(&report["class_sizes"][1]),
            ["classes", "histogram", "images", "single", "split"]
        );
        assert_eq!(
            keys(&report["sampling"]),
            [
                "batch_size",
                "held_out",
                "left_out",
                "of",
                "samples_per_class",
                "seed",
                "small",
                "small_classes",
                "steps_per_epoch",
                "whole"
            ]
        );
        assert_eq!(report["sampling"]["small_classes"], "leave-out");
    }
    let finding = &broken["findings"][0];
    assert_eq!(
        keys(finding),
        ["cases", "count", "kind", "message", "severity"]
    );
    assert_eq!(finding["severity"], "error");
    assert_eq!(keys(&finding["cases"][0]), ["detail", "names"]);
    // Four classes do not fill the default batch.
    assert_eq!(broken["sampling"]["steps_per_epoch"], Value::Null);
    assert_eq!(broken["warnings"], 1);
}

#[test]
fn what_cannot_be_checked_ends_with_exit_code_2() {
    let dir = with_images();
    let refused = |arguments: &[&str]| {
        let mut command = command(dir.path(), &["check"]);
        refuse(command.args(arguments))
    };
    for (arguments, words) in [
        (&[][..], "<SPEC>"),
        (&["--data", "emoji"], "--data"),
        (&["nosuch:x"], "`nosuch:x` is no data set"),
        (&["folder:nowhere"], "nowhere is not there"),
        (&["csv:nowhere.csv"], "nowhere.csv is not there"),
        (&["sop:images"], "Ebay_train.txt is not there"),
        (&["emoji", "--batch-size", "66"], "66 is not a multiple of"),
        (&["emoji", "--samples-per-class", "1"], "only from 2 on"),
        (&["emoji", "--small-classes", "drop"], "`take-all`"),
    ] {
        let message = refused(arguments);
        assert!(message.contains(words), "{words:?} is not in: {message}");
    }
}

#[test]
fn the_help_names_the_benchmarks() {
    let dir = tempdir().unwrap();
    for arguments in [&["--help"][..], &["check", "--help"]] {
        let (help, _) = succeed(&mut command(dir.path(), arguments));
        for name in ["folder:DIR", "sop", "vehicle-id", "rparis6k"] {
            assert!(help.contains(name), "{help}");
        }
    }
}
