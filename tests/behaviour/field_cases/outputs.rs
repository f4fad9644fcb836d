//! What is written where: nothing is overwritten, no input ever.

use std::fs;
use std::path::Path;

use tempfile::{TempDir, tempdir};

use crate::support::{class_folders, command, refuse, succeed, tiny};

/// A run `run` on the table `photos.txt` of images in `images`.
fn trained() -> TempDir {
    let dir = tempdir().unwrap();
    class_folders(&dir.path().join("images"), 0..8, 4);
    let mut table = "path,label,split\n".to_owned();
    for class in 0..8 {
        let split = if class < 4 { "train" } else { "test" };
        for image in 0..4 {
            table += &format!("images/class-{class:02}/{image}.png,thing {class},{split}\n");
        }
    }
    fs::write(dir.path().join("photos.txt"), table).unwrap();
    succeed(&mut tiny(
        dir.path(),
        &["--data", "csv:photos.txt", "--out", "run"],
    ));
    dir
}

fn embed(dir: &Path, output: &str) -> assert_cmd::Command {
    let mut command = command(dir, &["embed", "--backend", "flex", "--checkpoint", "run"]);
    command.args(["--output", output]);
    command
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn the_table_that_is_read_is_never_overwritten_by_a_companion() {
    let dir = trained();
    let table = fs::read(dir.path().join("photos.txt")).unwrap();
    let before = names(dir.path());
    for output in ["photos.npy", "./photos.npy", "images/../photos.safetensors"] {
        for force in [&[][..], &["--force"]] {
            let message = refuse(embed(dir.path(), output).args(force));
            assert!(
                message.contains("photos.txt is read by this command (--data)"),
                "{message}"
            );
        }
    }
    // The table under another name.
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("photos.txt", dir.path().join("link.txt")).unwrap();
        let message = refuse(embed(dir.path(), "link.npy").arg("--force"));
        assert!(message.contains("link.txt is read by"), "{message}");
        fs::remove_file(dir.path().join("link.txt")).unwrap();
    }
    assert_eq!(names(dir.path()), before);
    assert_eq!(fs::read(dir.path().join("photos.txt")).unwrap(), table);
}

#[test]
fn embed_refuses_what_is_there_by_name_and_force_overwrites_it() {
    let dir = trained();
    fs::write(dir.path().join("e.txt"), "a shopping list").unwrap();
    fs::write(dir.path().join("e.npy.partial"), "mine").unwrap();
    let message = refuse(&mut embed(dir.path(), "e.npy"));
    assert!(
        message.starts_with("e.txt is there already") && message.contains("--force"),
        "{message}"
    );
    assert!(!dir.path().join("e.npy").exists());
    let (stdout, _) = succeed(embed(dir.path(), "e.npy").arg("--force"));
    // What it says it wrote is there, and was not before.
    for line in stdout
        .lines()
        .filter_map(|line| line.strip_prefix("wrote  "))
    {
        assert!(dir.path().join(line).is_file(), "{line}");
    }
    let list = fs::read_to_string(dir.path().join("e.txt")).unwrap();
    assert_eq!(list.lines().count(), 16);
    assert_eq!(
        fs::read_to_string(dir.path().join("e.npy.partial")).unwrap(),
        "mine"
    );
    let message = refuse(&mut embed(dir.path(), "e.npy"));
    assert!(
        message.contains("e.npy, ") && message.contains("are there already"),
        "{message}"
    );
    assert!(!names(dir.path()).iter().any(|name| name.starts_with('.')));
}

#[test]
fn compare_and_gallery_keep_the_same_rule() {
    let dir = trained();
    succeed(&mut embed(dir.path(), "e.npy"));
    fs::write(dir.path().join("page.html"), "mine").unwrap();
    let runs = ["compare", "run", "--output"];
    let message = refuse(command(dir.path(), &runs).arg("page.html"));
    assert!(
        message.contains("page.html is there already") && message.contains("--force"),
        "{message}"
    );
    let message = refuse(command(dir.path(), &runs).args(["run/queries.csv", "--force"]));
    assert!(
        message.contains("queries.csv is read by this command"),
        "{message}"
    );
    let index = ["gallery", "--index", "e.npy", "--output"];
    let message = refuse(command(dir.path(), &index).arg("page.html"));
    assert!(message.contains("page.html is there already"), "{message}");
    for file in ["e.npy", "e.txt", "e.labels.npy"] {
        let message = refuse(command(dir.path(), &index).args([file, "--force"]));
        assert!(
            message.contains("read by this command (--index)"),
            "{message}"
        );
    }
    let image = "images/class-05/0.png";
    let message = refuse(command(dir.path(), &index).args([
        image,
        "--force",
        "--checkpoint",
        "run",
        "--images",
        "images",
    ]));
    assert!(
        message.contains("read by this command (--images)"),
        "{message}"
    );
    assert_eq!(
        fs::read_to_string(dir.path().join("page.html")).unwrap(),
        "mine"
    );
    succeed(command(dir.path(), &runs).args(["page.html", "--force"]));
    assert!(
        fs::read_to_string(dir.path().join("page.html"))
            .unwrap()
            .contains("<html")
    );
    succeed(command(dir.path(), &index).args(["page.html", "--force"]));
    assert!(
        fs::read_to_string(dir.path().join("page.html"))
            .unwrap()
            .contains("<article")
    );
}
