//! Whoever has pictures without classes, or classes without a test part, gets as far as that goes.

use tempfile::{TempDir, tempdir};

use crate::support::{class_folders, command, picture, refuse, succeed, tiny};

/// `data/train` alone, with these classes, and pictures without classes in `flat`.
fn with_images() -> TempDir {
    let dir = tempdir().unwrap();
    class_folders(&dir.path().join("data/train"), 0..24, 4);
    for instance in 0..5 {
        picture(
            &dir.path().join(format!("flat/{instance}.png")),
            3,
            instance,
        );
    }
    dir
}

#[test]
fn a_folder_with_train_alone_is_trained_on_whole() {
    let dir = with_images();
    let run = ["--data", "folder:data", "--out", "run"];
    let (stdout, stderr) = succeed(&mut tiny(dir.path(), &run));
    assert!(
        stderr.contains("judged on the validation images"),
        "{stderr}"
    );
    assert!(stdout.contains("recall@1"), "{stdout}");
    assert!(dir.path().join("run/report.html").is_file());

    let unjudged = [
        "--data",
        "folder:data",
        "--out",
        "all",
        "--set",
        "evaluation.validation=0",
    ];
    let (stdout, stderr) = succeed(&mut tiny(dir.path(), &unjudged));
    assert!(
        stderr.contains("96 training images of 24 classes"),
        "{stderr}"
    );
    assert!(stderr.contains("nothing judges it"), "{stderr}");
    assert!(!stdout.contains("recall@1"), "{stdout}");
}

#[test]
fn pictures_without_classes_are_embedded_and_searched_and_nothing_else() {
    let dir = with_images();
    succeed(&mut tiny(
        dir.path(),
        &["--data", "folder:data", "--out", "run"],
    ));
    let model = ["--backend", "flex", "--checkpoint", "run"];
    let embed = ["--data", "folder:flat", "--output", "f.npy"];
    let (stdout, _) = succeed(command(dir.path(), &["embed"]).args(model).args(embed));
    assert!(stdout.contains("5 embeddings of 16 numbers"), "{stdout}");
    // No labels, neither numbers nor names.
    for name in ["f.labels.npy", "f.classes.csv"] {
        assert!(!dir.path().join(name).exists(), "{name}");
    }
    let search = [
        "--index",
        "f.npy",
        "--images",
        "flat",
        "--output",
        "found.html",
    ];
    let (stdout, _) = succeed(command(dir.path(), &["gallery"]).args(model).args(search));
    assert!(stdout.contains("5 queries in 5 images"), "{stdout}");

    let message = refuse(&mut tiny(
        dir.path(),
        &["--data", "folder:flat", "--out", "no"],
    ));
    assert!(
        message.contains("training needs DIR/class/image"),
        "{message}"
    );
    assert!(!dir.path().join("no").exists());
    let judge = command(dir.path(), &["eval", "--data", "folder:flat"])
        .args(model)
        .output()
        .unwrap();
    let message = String::from_utf8(judge.stderr).unwrap();
    assert_eq!(judge.status.code(), Some(2), "{message}");
    assert!(
        message.contains("judging needs DIR/class/image"),
        "{message}"
    );
}
