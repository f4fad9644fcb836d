use std::fs;
use std::path::Path;

use tempfile::tempdir;

use crate::support::*;

/// A file as Python's `huggingface_hub` leaves it.
fn by_python(cache: &Path, file: &str, contents: &[u8]) {
    let folder = repository(cache);
    let pointer = folder.join("snapshots").join(COMMIT).join(file);
    let blob = folder.join("blobs").join(large(contents).etag);
    for path in [&pointer, &blob, &folder.join("refs/main")] {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
    }
    fs::write(folder.join("refs/main"), COMMIT).unwrap();
    fs::write(&blob, contents).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(blob, pointer).unwrap();
    #[cfg(not(unix))]
    fs::copy(blob, pointer).map(drop).unwrap();
}

#[test]
fn a_file_that_python_fetched_is_found_without_a_request() {
    let (server, cache) = (server(), tempdir().unwrap());
    by_python(cache.path(), "d/x.pth", b"weights");
    for spec in [
        "hf:o/n/d/x.pth".to_owned(),
        format!("hf:o/n@{COMMIT}/d/x.pth"),
    ] {
        let fetched = fetch(&server.url(), cache.path(), &spec).unwrap();
        assert!(fetched.from_cache);
        assert_eq!(fetched.commit, COMMIT);
        assert_eq!(fs::read(fetched.path).unwrap(), b"weights");
    }
    assert!(server.seen().is_empty());
}

#[test]
fn without_a_server_the_cache_goes_on() {
    let (server, cache) = (server(), tempdir().unwrap());
    fetch(&server.url(), cache.path(), "hf:o/n").unwrap();
    for spec in ["hf:o/n", "hf:o/n@main/model.safetensors"] {
        assert!(fetch(NOBODY, cache.path(), spec).unwrap().from_cache);
        let mut settings = settings(NOBODY, cache.path());
        settings.offline = true;
        assert!(fetch_with(settings, spec).unwrap().from_cache);
    }
}

#[test]
fn the_choice_without_a_server_is_made_among_what_is_here() {
    let cache = tempdir().unwrap();
    by_python(cache.path(), "README.md", b"");
    by_python(cache.path(), "d/x.pth", b"weights");
    assert_eq!(
        fetch(NOBODY, cache.path(), "hf:o/n").unwrap().file,
        "d/x.pth"
    );
    by_python(cache.path(), "y.bin", b"others");
    let message = message(fetch(NOBODY, cache.path(), "hf:o/n"));
    assert!(message.contains("d/x.pth, y.bin"), "{message}");
}

#[test]
fn what_is_neither_here_nor_to_be_had_is_a_sentence_with_the_way_out() {
    let cache = tempdir().unwrap();
    for spec in ["hf:o/n", "hf:o/n/x.pth"] {
        let gone = message(fetch(NOBODY, cache.path(), spec));
        assert!(
            gone.contains("could not be reached (127.0.0.1:1: "),
            "{gone}"
        );
        let mut settings = settings(NOBODY, cache.path());
        settings.offline = true;
        let offline = message(fetch_with(settings, spec));
        assert!(offline.contains("HF_HUB_OFFLINE"), "{offline}");
        for message in [gone, offline] {
            assert!(
                message.contains(spec) && message.contains("--weights FILE"),
                "{message}"
            );
        }
    }
    assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0);
}

#[test]
fn contents_of_another_commit_are_not_fetched_again() {
    let (server, cache) = (server(), tempdir().unwrap());
    fetch(&server.url(), cache.path(), "hf:o/n").unwrap();
    let commit = "a".repeat(40);
    server.change(|plan| plan.commit = Some(commit.clone()));
    server.seen();
    let spec = format!("hf:o/n@{commit}/model.safetensors");
    let fetched = fetch(&server.url(), cache.path(), &spec).unwrap();
    assert!(fetched.from_cache);
    assert_eq!(requests(&server.seen()), ["HEAD model.safetensors"]);
    assert_eq!(blobs(cache.path()).len(), 1);
    // A commit needs no note of what it is.
    assert!(!repository(cache.path()).join("refs").join(commit).exists());
}

#[cfg(unix)]
#[test]
fn a_link_to_contents_that_were_deleted_is_made_anew() {
    let (server, cache) = (server(), tempdir().unwrap());
    let first = fetch(&server.url(), cache.path(), "hf:o/n").unwrap();
    fs::remove_dir_all(repository(cache.path()).join("blobs")).unwrap();
    let again = fetch(&server.url(), cache.path(), "hf:o/n").unwrap();
    assert!(!again.from_cache && again.path == first.path);
    assert_eq!(fs::read(again.path).unwrap(), contents());
}

#[test]
fn a_note_that_is_no_commit_leads_nowhere() {
    let (server, cache) = (server(), tempdir().unwrap());
    let folder = repository(cache.path());
    fs::create_dir_all(folder.join("refs")).unwrap();
    fs::create_dir_all(folder.join("snapshots")).unwrap();
    fs::write(folder.join("refs/main"), "../..").unwrap();
    fs::write(cache.path().join("model.safetensors"), "other").unwrap();
    let fetched = fetch(&server.url(), cache.path(), "hf:o/n").unwrap();
    assert_eq!(fetched.commit, COMMIT);
    assert_eq!(fs::read(fetched.path).unwrap(), contents());
}
