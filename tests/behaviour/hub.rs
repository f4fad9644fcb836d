//! Weights by their name on the Hugging Face Hub; the transfer itself is tested by `recall-hub`.

use std::fs;

use tempfile::tempdir;

use crate::support::{checkpoint, refuse, succeed, tiny};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

#[test]
fn weights_of_the_hub_come_from_its_cache_without_a_network() {
    let dir = tempdir().unwrap();
    succeed(&mut tiny(dir.path(), &["--out", "first", "--quiet"]));
    let first = checkpoint(&dir.path().join("first"), "last");

    let cache = dir.path().join("cache");
    let repository = cache.join("models--me--tiny");
    let snapshot = repository.join("snapshots").join(COMMIT);
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(repository.join("refs")).unwrap();
    fs::write(repository.join("refs/main"), COMMIT).unwrap();
    let file = snapshot.join("model.safetensors");
    fs::copy(first.join("model.safetensors"), &file).unwrap();

    let train = |options: &[&str]| {
        let mut train = tiny(dir.path(), options);
        train.env("HF_HUB_CACHE", &cache).env("HF_HUB_OFFLINE", "1");
        train
    };
    let (_, said) = succeed(&mut train(&["--out", "second", "--weights", "hf:me/tiny"]));
    let word = format!("weights: model.safetensors of me/tiny, commit {COMMIT}, from the cache");
    assert!(said.contains(&word), "{said}");
    assert!(said.contains("tensors loaded"), "{said}");
    // A run knows the file and its commit.
    let config = fs::read_to_string(dir.path().join("second/config.toml")).unwrap();
    assert!(config.contains(COMMIT), "{config}");
    // A setting names it as well.
    let setting = ["--set", "model.weights=hf:me/tiny/model.safetensors"];
    succeed(train(&["--out", "third", "--quiet"]).args(setting));

    for (name, word) in [
        ("hf:me/other", "network"),
        ("hf:me", "hf:OWNER/NAME"),
        ("hf:me/tiny/../x", "hf:OWNER/NAME"),
    ] {
        let message = refuse(&mut train(&["--out", "none", "--weights", name]));
        assert!(message.contains(word), "{name}: {message}");
        assert!(!dir.path().join("none").exists());
    }
    // What is wrong with the settings is said before anything is fetched.
    let message = refuse(&mut train(&[
        "--weights",
        "hf:me/other",
        "--set",
        "epochs=x",
    ]));
    assert!(message.contains("epochs"), "{message}");
}
