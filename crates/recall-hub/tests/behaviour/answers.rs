use std::fs;

use recall_hub::{Hub, HubSettings};
use tempfile::tempdir;

use crate::server::Stored;
use crate::support::*;

#[test]
fn what_is_not_there_is_named() {
    let (server, cache) = (server(), tempdir().unwrap());
    for (spec, missing) in [
        ("hf:o/other", "repository `o/other`"),
        ("hf:o/other/x.bin", "repository `o/other`"),
        ("hf:o/n@v2", "revision `v2` of o/n"),
        ("hf:o/n@v2/model.safetensors", "revision `v2` of o/n"),
        ("hf:o/n/x.bin", "file `x.bin` in o/n"),
    ] {
        let message = message(fetch(&server.url(), cache.path(), spec));
        assert!(message.contains(&format!("has no {missing};")), "{message}");
    }
    assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0);
}

#[test]
fn a_server_that_wants_a_token_or_refuses_it_is_told_apart() {
    let (server, cache) = (server(), tempdir().unwrap());
    for status in [401, 403] {
        server.change(|plan| plan.status = Some((status, "GatedRepo")));
        for (token, hint) in [
            (None, "set HF_TOKEN"),
            (Some("hf_secret"), "check that HF_TOKEN"),
        ] {
            let mut settings = settings(&server.url(), cache.path());
            settings.token = token.map(str::to_owned);
            settings.attempts = 3;
            server.seen();
            for spec in ["hf:o/n", "hf:o/n/model.safetensors"] {
                let message = message(fetch_with(settings.clone(), spec));
                assert!(
                    message.contains(&status.to_string()) && message.contains(hint),
                    "{message}"
                );
                assert!(!message.contains("hf_secret"), "{message}");
            }
            // Asking again would not help.
            assert_eq!(server.seen().len(), 2);
        }
    }
}

#[test]
fn a_server_under_load_is_asked_again() {
    let (server, cache) = (server(), tempdir().unwrap());
    let mut settings = settings(&server.url(), cache.path());
    settings.attempts = 3;
    for status in [429, 500, 503] {
        server.change(|plan| plan.status = Some((status, "")));
        for spec in ["hf:o/n", "hf:o/n/model.safetensors"] {
            server.seen();
            let message = message(fetch_with(settings.clone(), spec));
            assert!(message.contains(&format!("answers {status}")), "{message}");
            assert_eq!(server.seen().len(), 3);
        }
    }
    server.change(|plan| plan.status = Some((418, "")));
    server.seen();
    assert!(message(fetch_with(settings, "hf:o/n")).contains("418"));
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn hostile_etags_and_commits_are_never_paths() {
    let (server, cache) = (server(), tempdir().unwrap());
    let spec = "hf:o/n/model.safetensors";
    for etag in ["../../../x", "/x", "a.lock", ""] {
        let stored = Stored {
            etag: etag.into(),
            contents: vec![1],
        };
        server.change(|plan| drop(plan.files.insert("model.safetensors".into(), stored)));
        let message = message(fetch(&server.url(), cache.path(), spec));
        assert!(message.contains("does not say a usable ETag"), "{message}");
    }
    for commit in ["../../x", "main", ""] {
        server.change(|plan| {
            plan.files.insert("model.safetensors".into(), large(b"x"));
            plan.commit = Some(commit.into());
        });
        for spec in ["hf:o/n", spec] {
            let message = message(fetch(&server.url(), cache.path(), spec));
            assert!(message.contains("names no commit"), "{message}");
        }
    }
    assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0);
}

#[test]
fn a_commit_that_was_not_asked_for_is_refused() {
    let (server, cache) = (server(), tempdir().unwrap());
    server.change(|plan| plan.commit = Some("b".repeat(40)));
    for spec in [
        format!("hf:o/n@{COMMIT}"),
        format!("hf:o/n@{COMMIT}/model.safetensors"),
    ] {
        let message = message(fetch(&server.url(), cache.path(), &spec));
        assert!(message.contains("another commit, bbbb"), "{message}");
    }
}

#[test]
fn an_etag_that_is_no_checksum_is_taken_by_its_length() {
    let (server, cache) = (server(), tempdir().unwrap());
    let stored = Stored {
        etag: "any-1".into(),
        contents: vec![1, 2],
    };
    server.change(|plan| drop(plan.files.insert("model.safetensors".into(), stored)));
    let fetched = fetch(&server.url(), cache.path(), "hf:o/n").unwrap();
    assert_eq!(fs::read(fetched.path).unwrap(), [1, 2]);
}

#[test]
fn a_repository_with_a_new_name_is_found_by_the_old_one() {
    let (server, cache) = (server(), tempdir().unwrap());
    for spec in ["hf:old/n", "hf:old/n@refs%2Fpr%2F1/model.safetensors"] {
        let fetched = fetch(&server.url(), cache.path(), spec).unwrap();
        assert_eq!(fs::read(&fetched.path).unwrap(), contents());
        assert!(
            fetched
                .path
                .starts_with(cache.path().join("models--old--n"))
        );
    }
}

#[test]
fn a_circle_of_redirects_ends() {
    let (server, cache) = (server(), tempdir().unwrap());
    for spec in ["hf:circle/n", "hf:circle/n/model.safetensors"] {
        let message = message(fetch(&server.url(), cache.path(), spec));
        assert!(message.contains("redirects more than 5 times"), "{message}");
    }
}

#[test]
fn settings_that_cannot_be_used_are_a_sentence() {
    for endpoint in [
        "",
        "huggingface.co",
        "ftp://x",
        "file:///x",
        "https://user:word@x",
        "http://x?y",
    ] {
        let error = Hub::new(HubSettings::new(endpoint, "/x"))
            .err()
            .unwrap()
            .to_string();
        assert!(
            error.contains("HF_ENDPOINT") && error.contains("https://"),
            "{error}"
        );
    }
    let mut settings = HubSettings::new("http://x/mirror/", "/x");
    assert!(Hub::new(settings.clone()).is_ok());
    settings.token = Some("hf_secret\r\nX: y".into());
    let error = Hub::new(settings).err().unwrap().to_string();
    assert!(
        error.contains("HF_TOKEN") && !error.contains("secret"),
        "{error}"
    );
}
