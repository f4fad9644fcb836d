use std::fs;

use tempfile::tempdir;

use crate::server::{Plan, Server};
use crate::support::*;

fn server_with(files: &[&str]) -> Server {
    let files = files
        .iter()
        .map(|file| ((*file).to_owned(), large(file.as_bytes())));
    Server::start(Plan {
        files: files.collect(),
        ..Plan::default()
    })
}

#[test]
fn the_file_of_weights_is_chosen_from_the_list_of_the_server() {
    for (files, chosen) in [
        (
            &["pytorch_model.bin", "model.safetensors", "config.json"][..],
            "model.safetensors",
        ),
        (
            &["pytorch_model.bin", "open_clip_model.safetensors"],
            "open_clip_model.safetensors",
        ),
        (&["pytorch_model.bin", "other.bin"], "pytorch_model.bin"),
        (&["README.md", "d/a b.pth"], "d/a b.pth"),
    ] {
        let (server, cache) = (server_with(files), tempdir().unwrap());
        let fetched = fetch(&server.url(), cache.path(), "hf:o/n").unwrap();
        assert_eq!(fetched.file, chosen);
        assert_eq!(fs::read(&fetched.path).unwrap(), chosen.as_bytes());
        assert!(fetched.path.ends_with(chosen));
        // The list is asked for again unless the file is the first choice; the file is not.
        server.seen();
        assert!(
            fetch(&server.url(), cache.path(), "hf:o/n")
                .unwrap()
                .from_cache
        );
        let asked = requests(&server.seen());
        assert_eq!(
            asked.len(),
            usize::from(chosen != "model.safetensors"),
            "{asked:?}"
        );
    }
}

#[test]
fn no_clear_choice_is_a_sentence_and_fetches_nothing() {
    for (files, parts) in [
        (
            &["b.pth", "a.safetensors"][..],
            &["a.safetensors, b.pth", "hf:o/n/FILE"][..],
        ),
        (&["README.md"], &["no .safetensors, .pth or .bin"]),
        (
            &[
                "model.safetensors.index.json",
                "model-00001-of-00002.safetensors",
            ],
            &["split", "index.json"],
        ),
    ] {
        let (server, cache) = (server_with(files), tempdir().unwrap());
        let message = message(fetch(&server.url(), cache.path(), "hf:o/n"));
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0);
    }
}

#[test]
fn hostile_names_of_a_server_are_never_paths() {
    let names = [
        "../x.bin",
        "/etc/x.bin",
        "a/../../x.pth",
        "..\\\\x.bin",
        "C:\\\\x.bin",
        "a\\u0000.bin",
    ];
    let cache = tempdir().unwrap();
    let server = server_with(&[]);
    for name in names {
        server.change(|plan| plan.listed = Some(format!("{{\"rfilename\":\"{name}\"}}")));
        let message = message(fetch(&server.url(), cache.path(), "hf:o/n"));
        assert!(message.contains("no .safetensors"), "{name}: {message}");
    }
    // A name that is no text, and a list that is none.
    for listed in ["{\"rfilename\":3}", "oops\n\n"] {
        server.change(|plan| plan.listed = Some(listed.into()));
        let message = message(fetch(&server.url(), cache.path(), "hf:o/n"));
        assert!(message.contains("no list of files"), "{message}");
    }
    assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0);
}
