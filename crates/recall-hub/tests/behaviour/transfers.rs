use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use recall_hub::Hub;
use tempfile::tempdir;

use crate::server::{Plan, Server, Stored};
use crate::support::*;

const SPEC: &str = "hf:o/n/model.safetensors";

#[test]
fn a_file_is_fetched_once_and_lies_as_python_lays_it() {
    let (server, cache) = (server(), tempdir().unwrap());
    let mut steps = Vec::new();
    let hub = Hub::new(settings(&server.url(), cache.path())).unwrap();
    let spec = SPEC.parse().unwrap();
    let fetched = hub
        .fetch(&spec, &mut |done, total| steps.push((done, total)))
        .unwrap();

    assert_eq!(fs::read(&fetched.path).unwrap(), contents());
    assert_eq!(
        (&*fetched.commit, &*fetched.file),
        (COMMIT, "model.safetensors")
    );
    assert!(!fetched.from_cache);
    assert_eq!(steps.first(), Some(&(0, 100_000)));
    assert_eq!(steps.last(), Some(&(100_000, 100_000)));
    assert!(steps.is_sorted());
    assert_eq!(
        requests(&server.seen()),
        ["HEAD model.safetensors", "GET model.safetensors"]
    );

    let folder = repository(cache.path());
    let etag = large(&contents()).etag;
    assert_eq!(
        fetched.path,
        folder
            .join("snapshots")
            .join(COMMIT)
            .join("model.safetensors")
    );
    assert_eq!(
        fs::read_to_string(folder.join("refs/main")).unwrap(),
        COMMIT
    );
    assert_eq!(blobs(cache.path()), [&*etag]);
    #[cfg(unix)]
    assert_eq!(
        fs::read_link(&fetched.path).unwrap(),
        Path::new(&format!("../../blobs/{etag}"))
    );

    // No request at all.
    let again = hub.fetch(&spec, &mut |_, _| panic!("no progress")).unwrap();
    assert!(again.from_cache && again.path == fetched.path && again.commit == COMMIT);
    assert!(server.seen().is_empty());
}

#[test]
fn a_cut_transfer_goes_on_at_the_next_call() {
    let (server, cache) = (server(), tempdir().unwrap());
    server.change(|plan| plan.cut = Some(30_000));
    let settings = settings(&server.url(), cache.path());
    let message = message(fetch_with(settings.clone(), SPEC));
    assert!(message.contains("30000 of 100000 bytes"), "{message}");
    assert!(!repository(cache.path()).join("snapshots").exists());
    assert_eq!(
        blobs(cache.path()),
        [format!("{}.incomplete", large(&contents()).etag)]
    );

    server.change(|plan| plan.cut = None);
    server.seen();
    let mut steps = Vec::new();
    let hub = Hub::new(settings).unwrap();
    let fetched = hub
        .fetch(&SPEC.parse().unwrap(), &mut |done, _| steps.push(done))
        .unwrap();
    assert_eq!(fs::read(fetched.path).unwrap(), contents());
    assert_eq!(steps[0], 30_000);
    assert_eq!(server.seen()[1].range.as_deref(), Some("bytes=30000-"));
}

#[test]
fn a_transfer_that_is_cut_often_goes_on_in_the_same_call() {
    let (server, cache) = (server(), tempdir().unwrap());
    server.change(|plan| plan.cut = Some(15_000));
    let mut settings = settings(&server.url(), cache.path());
    settings.attempts = 2;
    let fetched = fetch_with(settings, SPEC).unwrap();
    assert_eq!(fs::read(fetched.path).unwrap(), contents());
    let ranges: Vec<_> = server
        .seen()
        .into_iter()
        .filter_map(|seen| seen.range)
        .collect();
    assert_eq!(ranges.len(), 6);
    assert_eq!(ranges[5], "bytes=90000-");
}

#[test]
fn a_server_that_ignores_the_range_is_read_from_the_start_and_not_for_ever() {
    let (server, cache) = (server(), tempdir().unwrap());
    server.change(|plan| (plan.cut, plan.ignores_range) = (Some(30_000), true));
    let mut settings = settings(&server.url(), cache.path());
    settings.attempts = 3;
    let message = message(fetch_with(settings.clone(), SPEC));
    assert!(message.contains("30000 of 100000"), "{message}");
    // The first gets on, and three do not.
    assert!(server.seen().len() <= 8);
    server.change(|plan| plan.cut = None);
    let fetched = fetch_with(settings, SPEC).unwrap();
    assert_eq!(fs::read(fetched.path).unwrap(), contents());
}

#[test]
fn a_file_that_changed_after_a_cut_is_fetched_from_its_start() {
    let (server, cache) = (server(), tempdir().unwrap());
    server.change(|plan| plan.cut = Some(30_000));
    fetch(&server.url(), cache.path(), SPEC).unwrap_err();
    let new: Vec<u8> = contents().into_iter().rev().collect();
    let commit = "f".repeat(40);
    server.change(|plan| {
        plan.cut = None;
        plan.commit = Some(commit.clone());
        plan.files.insert("model.safetensors".into(), large(&new));
    });
    server.seen();
    let fetched = fetch(&server.url(), cache.path(), SPEC).unwrap();
    assert_eq!(fs::read(fetched.path).unwrap(), new);
    assert_eq!(fetched.commit, commit);
    assert!(server.seen().iter().all(|seen| seen.range.is_none()));
}

#[test]
fn a_wrong_byte_is_refused_and_the_file_removed() {
    let git = Stored {
        // Git's name of `hello`.
        etag: "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0".into(),
        contents: b"hello".to_vec(),
    };
    for (stored, kind) in [(large(&contents()), "SHA-256"), (git, "SHA-1")] {
        let (server, cache) = (server(), tempdir().unwrap());
        server.change(|plan| {
            plan.damages = true;
            plan.files
                .insert("model.safetensors".into(), stored.clone());
        });
        let message = message(fetch(&server.url(), cache.path(), SPEC));
        assert!(
            message.contains(kind) && message.contains("removed"),
            "{message}"
        );
        assert!(blobs(cache.path()).is_empty());
        server.change(|plan| plan.damages = false);
        let fetched = fetch(&server.url(), cache.path(), SPEC).unwrap();
        assert_eq!(fs::read(fetched.path).unwrap(), stored.contents);
    }
}

#[test]
fn what_a_killed_process_left_is_checked_before_it_counts() {
    let (server, cache) = (server(), tempdir().unwrap());
    let folder = repository(cache.path()).join("blobs");
    fs::create_dir_all(&folder).unwrap();
    let incomplete = folder.join(format!("{}.incomplete", large(&contents()).etag));

    // Whole and right: only its name is missing.
    fs::write(&incomplete, contents()).unwrap();
    let fetched = fetch(&server.url(), cache.path(), SPEC).unwrap();
    assert_eq!(fs::read(&fetched.path).unwrap(), contents());
    assert_eq!(requests(&server.seen()), ["HEAD model.safetensors"]);

    // The right length and other bytes; more than the file has.
    for (left, accepted) in [
        (vec![7; 100_000], false),
        (vec![7; 100_001], true),
        (vec![7; 10], false),
    ] {
        fs::remove_dir_all(repository(cache.path())).unwrap();
        fs::create_dir_all(&folder).unwrap();
        fs::write(&incomplete, left).unwrap();
        assert_eq!(fetch(&server.url(), cache.path(), SPEC).is_ok(), accepted);
        assert_eq!(blobs(cache.path()).len(), usize::from(accepted));
    }
}

#[test]
fn an_empty_file_is_a_file() {
    let (server, cache) = (server(), tempdir().unwrap());
    server.change(|plan| drop(plan.files.insert("model.safetensors".into(), large(b""))));
    let fetched = fetch(&server.url(), cache.path(), SPEC).unwrap();
    assert_eq!(fs::read(&fetched.path).unwrap(), b"");
    assert_eq!(requests(&server.seen()), ["HEAD model.safetensors"]);
    assert!(fetch(&server.url(), cache.path(), SPEC).unwrap().from_cache);
}

#[test]
fn the_token_stays_with_the_endpoint() {
    let storage = server();
    let (server, cache) = (server(), tempdir().unwrap());
    server.change(|plan| plan.storage = Some(storage.url()));
    let mut settings = settings(&server.url(), cache.path());
    settings.token = Some("hf_secret".into());
    storage.change(|plan| plan.cut = Some(40_000));
    let message = message(fetch_with(
        settings.clone(),
        "hf:o/n@refs%2Fpr%2F1/model.safetensors",
    ));
    assert!(!message.contains("secret"), "{message}");
    storage.change(|plan| plan.cut = None);
    let fetched = fetch_with(settings, "hf:o/n@refs%2Fpr%2F1/model.safetensors").unwrap();

    assert_eq!(fs::read(fetched.path).unwrap(), contents());
    let (own, other) = (server.seen(), storage.seen());
    assert_eq!((own.len(), other.len()), (4, 2));
    assert!(
        own.iter()
            .all(|seen| seen.token.as_deref() == Some("Bearer hf_secret"))
    );
    assert!(other.iter().all(|seen| seen.token.is_none()));
    assert_eq!(other[1].range.as_deref(), Some("bytes=40000-"));
    let reference = repository(cache.path()).join("refs/refs/pr/1");
    assert_eq!(fs::read_to_string(reference).unwrap(), COMMIT);
}

#[test]
fn storage_at_the_same_address_has_etags_of_its_own() {
    let (server, cache) = (server(), tempdir().unwrap());
    // `Location: /stored/...`
    server.change(|plan| plan.storage = Some(String::new()));
    let fetched = fetch(&server.url(), cache.path(), SPEC).unwrap();
    assert_eq!(fs::read(fetched.path).unwrap(), contents());
}

#[test]
fn another_length_or_file_than_described_is_not_written() {
    let (server, cache) = (server(), tempdir().unwrap());
    server.change(|plan| plan.changes = true);
    let changed = message(fetch(&server.url(), cache.path(), SPEC));
    assert!(
        changed.contains("0 of 100000 bytes (the file changed on 127.0.0.1:"),
        "{changed}"
    );

    server.change(|plan| {
        plan.changes = false;
        plan.storage = Some(String::new());
    });
    for (size, problem) in [
        (Some(50), "sends 100000 bytes where 50 are missing"),
        (Some(200_000), "sends 100000 bytes where 200000 are missing"),
        (Some(0), "does not say the size"),
    ] {
        server.change(|plan| plan.size = size);
        let message = message(fetch(&server.url(), cache.path(), SPEC));
        assert!(message.contains(problem), "{message}");
    }
    let part = repository(cache.path())
        .join("blobs")
        .join(&blobs(cache.path())[0]);
    assert_eq!(fs::metadata(part).unwrap().len(), 0);
    assert!(!repository(cache.path()).join("snapshots").exists());
}

#[test]
fn a_silent_server_is_given_up() {
    let cache = tempdir().unwrap();
    let server = Server::start(Plan {
        hangs: true,
        ..Plan::default()
    });
    let mut settings = settings(&server.url(), cache.path());
    settings.read_timeout = Duration::from_millis(100);
    settings.attempts = 3;
    let start = Instant::now();
    let message = message(fetch_with(settings, SPEC));
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(message.contains("--weights FILE"), "{message}");
    assert_eq!(server.seen().len(), 3);
}
