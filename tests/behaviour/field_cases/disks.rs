//! Runs on disks as they are: without links, full, copied, killed in between.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::tempdir;

use crate::support::{checkpoint, class_folders, command, metrics, refuse, succeed, tiny};

/// Three epochs of a few steps each, judged after every one.
fn run(dir: &Path, out: &str) -> assert_cmd::Command {
    if !dir.join("images").exists() {
        class_folders(&dir.join("images"), 0..24, 4);
    }
    let settings = [
        "epochs=3",
        "evaluation.every=1",
        "evaluation.validation=0.3",
    ];
    let mut command = tiny(dir, &["--data", "folder:images", "--quiet", "--out", out]);
    for setting in settings {
        command.args(["--set", setting]);
    }
    command
}

fn resume(dir: &Path, from: &str) -> assert_cmd::Command {
    command(dir, &["--backend", "flex", "--resume", from])
}

fn eval(dir: &Path, checkpoint: &str) -> assert_cmd::Command {
    command(
        dir,
        &["eval", "--backend", "flex", "--checkpoint", checkpoint],
    )
}

/// Copies a folder; links are followed.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy(&path, &target),
            false => drop(fs::copy(&path, &target).unwrap()),
        }
    }
}

/// Every path below a folder.
fn tree(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| match path.is_dir() && !path.is_symlink() {
            true => tree(&path),
            false => vec![path],
        })
        .collect()
}

/// What a run left: its records, and the weights of the last and the best checkpoint.
fn left_by(run: &Path) -> (Vec<Value>, [Vec<u8>; 2]) {
    let weights = ["last", "best"].map(|which| {
        let file = checkpoint(run, which).join("model.safetensors");
        fs::read(file).unwrap()
    });
    (metrics(run), weights)
}

#[test]
fn a_run_needs_no_links() {
    let dir = tempdir().unwrap();
    succeed(&mut run(dir.path(), "run"));
    let run = dir.path().join("run");
    assert!(tree(&run).iter().all(|path| !path.is_symlink()));
    for which in ["last", "best"] {
        let text = fs::read_to_string(run.join("checkpoints").join(which)).unwrap();
        let name = text.strip_suffix('\n').unwrap();
        assert!(name.starts_with("step-"), "{text}");
        // As a path they lead where they point to.
        let by_pointer = succeed(&mut eval(dir.path(), &format!("run/checkpoints/{which}"))).0;
        let by_name = succeed(&mut eval(dir.path(), &format!("run/checkpoints/{name}"))).0;
        assert_eq!(by_pointer, by_name);
    }
}

/// What a run of an earlier version has, and what copies make of it.
#[test]
fn a_run_copied_with_or_without_its_links_goes_on_and_is_judged() {
    let dir = tempdir().unwrap();
    succeed(&mut run(dir.path(), "run"));
    let original = dir.path().join("run");
    let expected = left_by(&original);
    let judged = succeed(&mut eval(dir.path(), "run")).0;
    let names = ["last", "best"].map(|which| checkpoint(&original, which));

    type Change = fn(&Path, &Path);
    let changes: [(&str, Change); 4] = [
        // Copied with links followed.
        ("folders", |pointer, target| {
            fs::remove_file(pointer).unwrap();
            copy(target, pointer);
        }),
        // The same by a tool that then drops what was there twice.
        ("folders-only", |pointer, target| {
            fs::remove_file(pointer).unwrap();
            match target.is_dir() {
                true => fs::rename(target, pointer).unwrap(),
                // Both pointed to the same one.
                false => copy(&pointer.with_file_name("last"), pointer),
            }
        }),
        // By a tool that leaves links out.
        ("nothing", |pointer, _| fs::remove_file(pointer).unwrap()),
        ("nonsense", |pointer, _| {
            fs::write(pointer, "step-99999999\n").unwrap()
        }),
    ];
    for (name, change) in changes {
        let copied = dir.path().join(name);
        copy(&original, &copied);
        for (which, target) in ["last", "best"].iter().zip(&names) {
            let target = copied.join("checkpoints").join(target.file_name().unwrap());
            change(&copied.join("checkpoints").join(which), &target);
        }
        let (stdout, stderr) = succeed(&mut eval(dir.path(), name));
        assert_eq!(stdout, judged, "{name}");
        let lost = !name.starts_with("folders");
        assert_eq!(stderr.contains("leads to no checkpoint"), lost, "{stderr}");
        succeed(&mut resume(dir.path(), name));
        assert_eq!(left_by(&copied), expected, "{name}");
        let files = |run: &Path| tree(&run.join("checkpoints")).len();
        assert_eq!(files(&copied), files(&original), "{name}");
    }
}

#[cfg(unix)]
#[test]
fn links_of_an_earlier_version_are_read_and_become_files() {
    let dir = tempdir().unwrap();
    succeed(&mut run(dir.path(), "run"));
    let original = dir.path().join("run");
    let expected = left_by(&original);
    let judged = succeed(&mut eval(dir.path(), "run")).0;
    for absolute in [false, true] {
        for which in ["last", "best"] {
            let pointer = original.join("checkpoints").join(which);
            let target = checkpoint(&original, which);
            fs::remove_file(&pointer).unwrap();
            let target = match absolute {
                false => Path::new(target.file_name().unwrap()),
                true => &target,
            };
            std::os::unix::fs::symlink(target, &pointer).unwrap();
        }
        assert_eq!(succeed(&mut eval(dir.path(), "run")).0, judged);
        let best = succeed(&mut eval(dir.path(), "run/checkpoints/best")).0;
        assert_eq!(best, judged);
        if absolute {
            // A copy takes them along, and they lead nowhere any more.
            fs::rename(&original, dir.path().join("moved")).unwrap();
            let (stdout, stderr) = succeed(&mut eval(dir.path(), "moved"));
            assert_eq!(stdout, judged);
            assert!(
                stderr.contains("moved/checkpoints/best leads to no"),
                "{stderr}"
            );
            succeed(&mut resume(dir.path(), "moved/checkpoints/last"));
            assert_eq!(left_by(&dir.path().join("moved")), expected);
        } else {
            succeed(&mut resume(dir.path(), "run"));
            assert_eq!(left_by(&original), expected);
            assert!(!original.join("checkpoints/last").is_symlink());
        }
    }
}

/// A folder `last` that is no copy of what is there under its name is not thrown away.
#[test]
fn a_copy_that_is_not_as_it_was_is_refused_and_kept() {
    let dir = tempdir().unwrap();
    succeed(&mut run(dir.path(), "run"));
    let folder = dir.path().join("run/checkpoints");
    let target = checkpoint(&dir.path().join("run"), "last");
    fs::remove_file(folder.join("last")).unwrap();
    copy(&target, &folder.join("last"));
    fs::write(folder.join("last/model.safetensors"), "short").unwrap();
    let message = refuse(&mut resume(dir.path(), "run"));
    assert!(
        message.contains("run/checkpoints/last is damaged")
            && message.ends_with("without this folder the run goes on from another one"),
        "{message}"
    );
    assert!(folder.join("last/model.safetensors").is_file());
    fs::remove_dir_all(folder.join("last")).unwrap();
    succeed(&mut resume(dir.path(), "run"));
}
