//! Names of files and classes: bytes, line breaks, escapes.

#![cfg(unix)]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use serde_json::Value;

use crate::support::{class_folders, command, picture, refuse, succeed, tiny};

/// A class folder of this name with four images; `class` is their look.
fn class(dir: &Path, name: &[u8], class: u32) {
    for instance in 0..4 {
        picture(
            &dir.join(OsStr::from_bytes(name))
                .join(format!("{instance}.png")),
            class,
            instance,
        );
    }
}

/// Eight classes to train on, and to test four with names as nobody has them but some disks.
fn with_odd_names() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    class_folders(&dir.path().join("images/train"), 0..8, 4);
    let test = dir.path().join("images/test");
    class(&test, b"two\nlines", 8);
    class(&test, b"red\x1b[31m", 9);
    class(&test, b"caf\xe9", 10);
    class(&test, b"caf\xe8", 11);
    dir
}

#[test]
fn odd_names_are_one_line_each_in_the_list_of_an_index() {
    let dir = with_odd_names();
    succeed(&mut tiny(
        dir.path(),
        &["--data", "folder:images", "--out", "run"],
    ));
    let embed = ["embed", "--checkpoint", "run", "--output", "test.npy"];
    succeed(&mut command(dir.path(), &embed));
    let names = fs::read_to_string(dir.path().join("test.txt")).unwrap();
    let names: Vec<&str> = names.lines().collect();
    assert_eq!(names.len(), 16);
    let firsts: Vec<&str> = names.iter().copied().step_by(4).collect();
    assert_eq!(
        firsts,
        [
            r"caf\xe8/0.png",
            r"caf\xe9/0.png",
            r"red\u001b[31m/0.png",
            r"two\nlines/0.png"
        ]
    );

    // The index is read again, its pictures are found by these names, and so are files.
    let gallery = ["gallery", "--index", "test.npy", "--output", "all.html"];
    let (stdout, _) =
        succeed(command(dir.path(), &gallery).args(["--index-data", "folder:images"]));
    assert!(!stdout.contains("not found"), "{stdout}");
    let odd = dir.path().join("odd");
    class(&odd, b"a\nb", 3);
    let mine = [
        "--checkpoint",
        "run",
        "--images",
        "odd",
        "--output",
        "mine.html",
    ];
    succeed(command(dir.path(), &["gallery", "--index", "test.npy"]).args(mine));
}

#[test]
fn classes_whose_names_differ_in_bytes_only_stay_two() {
    let dir = with_odd_names();
    let output = command(dir.path(), &["check", "folder:images", "--json"])
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["classes"], 12);
    assert_eq!(report["files"]["decoded"], 48);
}

#[test]
fn no_escape_of_a_name_reaches_the_terminal() {
    let dir = with_odd_names();
    let images = dir.path().join("images/test");
    fs::write(
        images.join(OsStr::from_bytes(b"red\x1b[31m")).join("0.png"),
        "none",
    )
    .unwrap();
    fs::write(
        images.join(OsStr::from_bytes(b"two\nlines")).join("0.png"),
        "none",
    )
    .unwrap();
    let spec = ["check", "folder:images"];
    let output = command(dir.path(), &spec).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(!stdout.contains('\x1b'), "{stdout:?}");
    let error = stdout
        .lines()
        .find(|line| line.starts_with("error"))
        .unwrap();
    assert!(
        error.contains(r"images/test/red\u001b[31m/0.png (")
            && error.contains(r"images/test/two\nlines/0.png ("),
        "{error}"
    );
    let strict = ["--data", "folder:images", "--out", "strict"];
    let message = refuse(&mut tiny(dir.path(), &strict));
    assert!(message.contains(r"test/red\u001b[31m/0.png"), "{message}");

    // A path of the command line, in a message of its own.
    let message = refuse(&mut command(
        dir.path(),
        &["check", "folder:no\nwhere\x1b[2J"],
    ));
    assert!(
        message.starts_with(r"no\nwhere\u001b[2J is not there"),
        "{message}"
    );
}
