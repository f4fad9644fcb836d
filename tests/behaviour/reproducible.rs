//! A run is a function of its configuration: not of the clock, nor of how many threads there were.

use serde_json::Value;
use tempfile::tempdir;

use crate::support::{command, metrics, succeed};

/// An epoch on the embedded images, with tensors large enough to be split among threads.
fn run(name: &str, dir: &std::path::Path, arguments: &[&str], rayon: Option<&str>) -> Vec<Value> {
    let mut command = command(dir, &["--backend", "flex", "--quiet", "--out", name]);
    let settings = [
        "epochs=1",
        "model.widths=[16,32,64]",
        "evaluation.ks=[1]",
        "evaluation.gallery=1",
    ];
    for setting in settings {
        command.args(["--set", setting]);
    }
    if let Some(threads) = rayon {
        command.env("RAYON_NUM_THREADS", threads);
    }
    succeed(command.args(arguments));
    metrics(&dir.join(name))
}

#[test]
fn the_seed_decides_and_the_threads_do_not() {
    let dir = tempdir().unwrap();
    let first = run("first", dir.path(), &["--threads", "1"], Some("1"));
    assert!(
        first
            .iter()
            .filter(|record| record["kind"] == "step")
            .count()
            >= 5
    );

    let loading = run("loading", dir.path(), &["--threads", "2"], Some("1"));
    assert_eq!(loading, first);
    let computing = run("computing", dir.path(), &["--threads", "1"], Some("2"));
    assert_eq!(computing, first);

    let other = run("other", dir.path(), &["--set", "seed=1"], None);
    assert_eq!(other.len(), first.len());
    for (one, other) in first.iter().zip(&other) {
        let key = if one["kind"] == "step" {
            "loss"
        } else {
            // Of few queries the recall may come out the same.
            "map@r"
        };
        assert_ne!(one[key], other[key], "{one}");
    }
}
