//! Runs whose images were moved, or are continued from another folder.

use std::fs;
use std::path::Path;

use tempfile::tempdir;

use crate::support::{class_folders, command, metrics, picture, refuse, succeed, tiny};

/// Two epochs with a checkpoint after each, on `images` in `dir`, in the folder `run`.
fn two_epochs(dir: &Path, data: &str) {
    let mut run = tiny(dir, &["--data", data, "--out", "run"]);
    run.args(["--set", "epochs=2", "--set", "evaluation.every=1"]);
    succeed(run.args(["--set", "checkpoint.keep=9", "--quiet"]));
}

/// Four training and three test classes.
fn images(dir: &Path) {
    class_folders(&dir.join("train"), 0..4, 4);
    class_folders(&dir.join("test"), 4..7, 3);
}

/// The first checkpoint of the run.
fn first(dir: &Path) -> String {
    let entries = fs::read_dir(dir.join("run/checkpoints")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let first = names.filter(|name| name.starts_with("step-")).min();
    format!("{}/run/checkpoints/{}", dir.display(), first.unwrap())
}

fn resume(from: &Path, run: &str) -> assert_cmd::Command {
    command(from, &["--backend", "flex", "--quiet", "--resume", run])
}

#[test]
fn a_run_goes_on_from_another_folder() {
    let (dir, other) = (tempdir().unwrap(), tempdir().unwrap());
    images(&dir.path().join("photos"));
    two_epochs(dir.path(), "folder:photos");
    let straight = metrics(&dir.path().join("run"));
    succeed(&mut resume(other.path(), &first(dir.path())));
    assert_eq!(metrics(&dir.path().join("run")), straight);
    let settings = fs::read_to_string(dir.path().join("run/config.toml")).unwrap();
    let place = dir.path().join("photos");
    let line = format!("data = \"folder:{}\"", place.display());
    assert!(settings.contains(&line), "{settings}");
}

#[test]
fn a_run_goes_on_where_its_images_are_today() {
    let (dir, other) = (tempdir().unwrap(), tempdir().unwrap());
    images(&dir.path().join("photos"));
    two_epochs(dir.path(), "folder:photos");
    let straight = metrics(&dir.path().join("run"));
    let run = dir.path().join("run").display().to_string();
    fs::rename(dir.path().join("photos"), other.path().join("pictures")).unwrap();

    let way_out = "if the images were moved, --data says where they are now";
    let message = refuse(&mut resume(dir.path(), "run"));
    assert!(message.contains(way_out), "{message}");
    let eval = ["eval", "--backend", "flex", "--checkpoint", run.as_str()];
    let message = refuse(&mut command(dir.path(), &eval));
    assert!(message.contains(way_out), "{message}");

    let mut moved = resume(other.path(), &first(dir.path()));
    succeed(moved.args(["--data", "folder:pictures"]));
    assert_eq!(metrics(&dir.path().join("run")), straight);
    // From now on, the run and its checkpoints know the place: those from before as well.
    succeed(&mut resume(dir.path(), "run"));
    let (_, stderr) = succeed(&mut command(dir.path(), &eval));
    assert!(!stderr.contains("not those"), "{stderr}");
}

#[test]
fn another_set_is_refused_by_what_differs() {
    let dir = tempdir().unwrap();
    images(&dir.path().join("photos"));
    two_epochs(dir.path(), "folder:photos");
    let before = fs::read(dir.path().join("run/metrics.jsonl")).unwrap();
    let other = dir.path().join("other");
    images(&other);
    fs::remove_file(other.join("train/class-01/2.png")).unwrap();
    fs::remove_file(other.join("train/class-01/3.png")).unwrap();
    picture(&other.join("test/class-05/9.png"), 5, 9);
    fs::write(other.join("test/class-06/0.png"), b"another").unwrap();
    let message = refuse(resume(dir.path(), "run").args(["--data", "folder:other"]));
    for said in [
        "1 test image was added (class-05/9.png)",
        "2 training images were removed (the first is class-01/2.png)",
        "1 test image was changed (class-06/0.png)",
    ] {
        assert!(message.contains(said), "{message}");
    }
    let message = refuse(resume(dir.path(), "run").args(["--data", "emoji"]));
    assert!(message.contains("were added"), "{message}");
    let after = fs::read(dir.path().join("run/metrics.jsonl")).unwrap();
    assert!(before == after, "a refusal changed the run");
    succeed(&mut resume(dir.path(), "run"));
}

#[test]
fn a_table_is_the_same_by_what_it_says_of_the_images() {
    let dir = tempdir().unwrap();
    let mut table = "path,label,split,x_1,y_1,x_2,y_2\n".to_owned();
    for class in 0..7 {
        for instance in 0..4 {
            let path = format!("images/{class}-{instance}.png");
            picture(&dir.path().join(&path), class, instance);
            let split = if class < 4 { "train" } else { "test" };
            table += &format!("{path},label {class},{split},1,1,30,30\n");
        }
    }
    let file = dir.path().join("table.csv");
    fs::write(&file, &table).unwrap();
    two_epochs(dir.path(), "csv:table.csv");
    // Saved by another program, it is the same.
    fs::write(
        &file,
        table
            .replace('\n', "\r\n")
            .replace("label 5", "\"label 5\""),
    )
    .unwrap();
    succeed(&mut resume(dir.path(), "run"));
    for (from, to, said) in [
        (
            "5-0.png,label 5,test,1",
            "5-0.png,label 5,test,2",
            "1 test image was changed",
        ),
        (
            "0-3.png,label 0",
            "0-3.png,label 1",
            "1 training image was given another class",
        ),
        (
            "1-1.png,label 1,train",
            "1-1.png,label 1,test",
            "1 training image was moved to the test",
        ),
    ] {
        let changed = table.replace(from, to);
        assert_ne!(changed, table);
        fs::write(&file, changed).unwrap();
        let message = refuse(&mut resume(dir.path(), "run"));
        assert!(message.contains(said), "{message}");
    }
}
