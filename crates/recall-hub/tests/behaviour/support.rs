use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use recall_hub::{Fetched, Hub, HubError, HubSettings};
use sha2::{Digest as _, Sha256};

use crate::server::{Plan, Seen, Server, Stored};

/// The commit of `main`.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// An address where nothing answers.
pub const NOBODY: &str = "http://127.0.0.1:1";

/// Contents of 100 KB that repeat nowhere soon.
pub fn contents() -> Vec<u8> {
    (0..100_000_u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

/// A file that is named by its SHA-256, as large ones are.
pub fn large(contents: &[u8]) -> Stored {
    Stored {
        etag: format!("{:x}", Sha256::digest(contents)),
        contents: contents.to_vec(),
    }
}

/// A server with `model.safetensors`.
pub fn server() -> Server {
    let files = [("model.safetensors".to_owned(), large(&contents()))];
    Server::start(Plan {
        files: files.into(),
        ..Plan::default()
    })
}

/// Impatient settings.
pub fn settings(url: &str, cache: &Path) -> HubSettings {
    let mut settings = HubSettings::new(url, cache);
    settings.read_timeout = Duration::from_secs(10);
    settings.attempts = 1;
    settings.backoff = Duration::from_millis(1);
    settings
}

/// Fetches with one attempt.
pub fn fetch(url: &str, cache: &Path, spec: &str) -> Result<Fetched, HubError> {
    fetch_with(settings(url, cache), spec)
}

pub fn fetch_with(settings: HubSettings, spec: &str) -> Result<Fetched, HubError> {
    Hub::new(settings)?.fetch(&spec.parse()?, &mut |_, _| {})
}

/// The error's sentence, which has to be one line.
pub fn message(result: Result<Fetched, HubError>) -> String {
    let message = result.unwrap_err().to_string();
    assert!(!message.contains(['\n', '\r']), "{message}");
    message
}

/// `METHOD last part of the path` of each request.
pub fn requests(seen: &[Seen]) -> Vec<String> {
    let last = |seen: &Seen| seen.path.rsplit('/').next().unwrap_or_default().to_owned();
    seen.iter()
        .map(|seen| format!("{} {}", seen.method, last(seen)))
        .collect()
}

/// The part of a cache that holds `o/n`.
pub fn repository(cache: &Path) -> PathBuf {
    cache.join("models--o--n")
}

/// The names of the blobs, sorted.
pub fn blobs(cache: &Path) -> Vec<String> {
    let entries = fs::read_dir(repository(cache).join("blobs"))
        .into_iter()
        .flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
