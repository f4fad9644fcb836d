use std::env;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::tempdir;

use crate::support::*;

const SPEC: &str = "hf:o/n/model.safetensors";

/// What the other tests run as a process of its own. Without their variables there is nothing to do.
#[test]
fn child() {
    let (Ok(url), Ok(cache)) = (
        env::var("RECALL_HUB_TEST_URL"),
        env::var("RECALL_HUB_TEST_CACHE"),
    ) else {
        return;
    };
    fetch(&url, Path::new(&cache), SPEC).unwrap();
}

fn start_child(url: &str, cache: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "processes::child"])
        .env("RECALL_HUB_TEST_URL", url)
        .env("RECALL_HUB_TEST_CACHE", cache)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_killed_process_leaves_a_part_that_is_gone_on_with() {
    let (server, cache) = (server(), tempdir().unwrap());
    server.change(|plan| plan.pause = Duration::from_millis(50));
    let mut child = start_child(&server.url(), cache.path());
    let etag = large(&contents()).etag;
    let part = repository(cache.path())
        .join("blobs")
        .join(format!("{etag}.incomplete"));
    let start = Instant::now();
    while fs::metadata(&part).map_or(0, |part| part.len()) < 2000 {
        assert!(start.elapsed() < Duration::from_secs(30));
        thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(blobs(cache.path()), [format!("{etag}.incomplete")]);
    assert!(!repository(cache.path()).join("snapshots").exists());

    server.change(|plan| plan.pause = Duration::ZERO);
    server.seen();
    let fetched = fetch(&server.url(), cache.path(), SPEC).unwrap();
    assert_eq!(fs::read(fetched.path).unwrap(), contents());
    let seen = server.seen();
    assert!(
        seen.iter()
            .any(|seen| seen.range.as_ref().is_some_and(|range| range != "bytes=0-"))
    );
}

#[test]
fn several_processes_and_threads_fetch_a_file_once() {
    let (server, cache) = (server(), tempdir().unwrap());
    server.change(|plan| plan.pause = Duration::from_millis(2));
    let mut children: Vec<Child> = (0..2)
        .map(|_| start_child(&server.url(), cache.path()))
        .collect();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let fetched = fetch(&server.url(), cache.path(), SPEC).unwrap();
                assert_eq!(fs::read(fetched.path).unwrap(), contents());
            });
        }
    });
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    let fetched = server
        .seen()
        .iter()
        .filter(|seen| seen.method == "GET")
        .count();
    assert_eq!(fetched, 1);
    assert_eq!(blobs(cache.path()), [large(&contents()).etag]);
}

#[test]
fn a_process_that_holds_a_file_and_receives_nothing_is_named() {
    let (server, cache) = (server(), tempdir().unwrap());
    let locks = cache.path().join(".locks/models--o--n");
    fs::create_dir_all(&locks).unwrap();
    let lock = locks.join(format!("{}.lock", large(&contents()).etag));
    let held = fs::File::create(&lock).unwrap();
    held.lock().unwrap();
    let mut settings = settings(&server.url(), cache.path());
    settings.lock_timeout = Duration::from_millis(100);
    let message = message(fetch_with(settings, SPEC));
    assert!(message.contains(&*lock.to_string_lossy()), "{message}");
    drop(held);
    fetch(&server.url(), cache.path(), SPEC).unwrap();
}
