//! Output that nobody reads, or that cannot be written, ends output and nothing else.
#![cfg(unix)]

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use tempfile::tempdir;

use crate::support::{class_folders, command, tiny};

/// The same command, for pipes of one's own.
fn plain(command: &assert_cmd::Command) -> Command {
    let mut plain = Command::new(command.get_program());
    plain.args(command.get_args());
    plain.current_dir(command.get_current_dir().unwrap());
    plain.stdin(Stdio::null());
    plain
}

/// Runs a command whose readers go away: at once, or after the first byte.
fn unread(command: &assert_cmd::Command, first: bool) -> Option<i32> {
    let mut child: Child = plain(command)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut stderr = child.stderr.take().unwrap();
    if first {
        let _ = stderr.read(&mut [0]);
    }
    drop(stderr);
    child.wait().unwrap().code()
}

fn full() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

fn output(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = command.output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

fn trained(dir: &Path, out: &str) {
    assert!(dir.join(out).join("report.html").is_file(), "{out}");
}

#[test]
fn a_run_whose_output_nobody_reads_trains_to_its_end() {
    let dir = tempdir().unwrap();
    class_folders(&dir.path().join("images"), 0..24, 4);
    let data = ["--data", "folder:images", "--out"];
    for (out, first) in [("unread", false), ("head", true)] {
        let command = tiny(dir.path(), &[&data[..], &[out]].concat());
        assert_eq!(unread(&command, first), Some(0), "{out}");
        trained(dir.path(), out);
    }
    let seeds = [&data[..], &["seeds", "--seeds", "0,1"]].concat();
    assert_eq!(unread(&tiny(dir.path(), &seeds), true), Some(0));
    trained(dir.path(), "seeds/seed-0");
    trained(dir.path(), "seeds/seed-1");

    // No standard output and error at all.
    let mut shell = Command::new("sh");
    shell.current_dir(dir.path());
    shell.args(["-c", "exec \"$@\" >&- 2>&-", "sh"]);
    let command = tiny(dir.path(), &[&data[..], &["closed"]].concat());
    shell.arg(command.get_program()).args(command.get_args());
    assert!(shell.status().unwrap().success());
    trained(dir.path(), "closed");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_device_is_said_of_results_and_ends_no_run() {
    let dir = tempdir().unwrap();
    class_folders(&dir.path().join("images"), 0..24, 4);
    let data = ["--data", "folder:images", "--out"];
    let nowhere = tiny(dir.path(), &[&data[..], &["nowhere"]].concat());
    let status = plain(&nowhere).stdout(full()).stderr(full()).status();
    assert!(status.unwrap().success());
    trained(dir.path(), "nowhere");

    // What a run came to is in its folder; the next seed is trained.
    let seeds = [&data[..], &["seeds", "--quiet", "--seeds", "0,1"]].concat();
    let (code, stderr) = output(plain(&tiny(dir.path(), &seeds)).stdout(full()));
    assert_eq!(code, Some(0), "{stderr}");
    let sentence = "cannot write to standard output: No space left on device (os error 28)";
    assert!(
        stderr.contains(&format!("{sentence}; the folder of the run")),
        "{stderr}"
    );
    trained(dir.path(), "seeds/seed-1");

    // What a result is printed for only fails without it; a reader that has gone is none of its cares.
    let embed = ["embed", "--quiet", "--checkpoint", "nowhere", "--output"];
    let results: [&[&str]; 9] = [
        &["eval", "--quiet", "--checkpoint", "nowhere"],
        &[&embed[..], &["a.npy"]].concat(),
        &["eval", "--embeddings", "a.npy", "--labels", "a.labels.npy"],
        &[
            "eval",
            "--embeddings",
            "a.npy",
            "--labels",
            "a.labels.npy",
            "--json",
        ],
        &["check", "folder:images", "--batch-size", "8"],
        &["compare", "seeds/seed-0", "seeds/seed-1"],
        &["presets"],
        &["presets", "cub-resnet50"],
        &["--help"],
    ];
    for arguments in results {
        let command = command(dir.path(), arguments);
        let (code, stderr) = output(plain(&command).stdout(full()));
        assert_eq!(code, Some(2), "{arguments:?}: {stderr}");
        let last = stderr.lines().last().unwrap();
        assert_eq!(last, format!("error: {sentence}"), "{arguments:?}");
        if arguments[0] == "embed" {
            // Written all the same; a second time it would be in the way.
            for file in ["a.npy", "a.labels.npy", "a.txt"] {
                assert!(dir.path().join(file).is_file());
            }
            continue;
        }
        assert_eq!(unread(&command, false), Some(0), "{arguments:?}");
    }
    // Neither does an error need a reader.
    let refused = command(dir.path(), &["eval", "--checkpoint", "images"]);
    assert_eq!(unread(&refused, false), Some(2));
    let mistyped = command(dir.path(), &["--sede", "1"]);
    assert_eq!(unread(&mistyped, false), Some(2));
    assert!(fs::read_dir(dir.path()).unwrap().count() > 3);
}
