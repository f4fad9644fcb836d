use std::io::Read as _;

use serde::Deserialize;
use ureq::Response;
use url::Url;

use crate::HubSpec;
use crate::client::{Client, host};
use crate::digest::Etag;
use crate::names::{is_commit, one_line};
use crate::retry::Trouble;

/// How many redirects are followed.
pub(crate) const REDIRECTS: usize = 5;

/// The longest list of files that is read, in bytes: some hundred thousand names.
const LONGEST_LIST: u64 = 64 << 20;

/// What the Hub says of a file.
#[derive(Debug)]
pub(crate) struct Metadata {
    pub(crate) commit: String,
    pub(crate) etag: Etag,
    /// In bytes.
    pub(crate) size: u64,
}

/// The files of a repository at a commit.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) commit: String,
    /// As the server names them: not yet safe as paths.
    pub(crate) files: Vec<String>,
}

/// Asks for a file's commit, ETag and size, without its contents.
pub(crate) fn metadata(
    client: &Client,
    spec: &HubSpec,
    revision: &str,
) -> Result<Metadata, Trouble> {
    let mut url = client.file_url(spec, revision);
    for _ in 0..=REDIRECTS {
        let answer = client.send(spec, "HEAD", &url, None)?;
        client.check(spec, &url, &answer)?;
        let next = client.redirect(spec, &url, &answer)?;
        // The endpoint says all about a large file when it points at the server that stores it. Before
        // that it may point at the new name of a repository.
        match next.filter(|next| answer.header("X-Linked-Etag").is_none() && client.is_own(next)) {
            Some(next) => url = next,
            None => return read_metadata(client, spec, &url, &answer),
        }
    }
    Err(too_many(client, spec, &url))
}

fn read_metadata(
    client: &Client,
    spec: &HubSpec,
    url: &Url,
    answer: &Response,
) -> Result<Metadata, Trouble> {
    let missing = |what: &str| {
        let problem = format!("{} does not say {what} of the file", host(url));
        Trouble::Lasting(client.bad_answer(spec, problem))
    };
    let commit = commit(
        client,
        spec,
        url,
        answer.header("X-Repo-Commit").unwrap_or_default(),
    )?;
    let etag = etag(answer).ok_or_else(|| missing("a usable ETag"))?;
    // The length of an answer that points elsewhere is not that of the file.
    let length = answer
        .header("Content-Length")
        .filter(|_| answer.status() == 200);
    let size = answer.header("X-Linked-Size").or(length);
    let size = size.and_then(|size| size.trim().parse().ok());
    Ok(Metadata {
        commit,
        etag,
        size: size.ok_or_else(|| missing("the size"))?,
    })
}

/// The name of the contents in the first answer to a request for a file.
pub(crate) fn etag(answer: &Response) -> Option<Etag> {
    Etag::new(
        answer
            .header("X-Linked-Etag")
            .or_else(|| answer.header("ETag"))?,
    )
}

/// A commit that a server named, if it is one, and the one that was asked for.
fn commit(client: &Client, spec: &HubSpec, url: &Url, text: &str) -> Result<String, Trouble> {
    let problem = if !is_commit(text) {
        format!("{} names no commit", host(url))
    } else if is_commit(spec.revision_or_main()) && spec.revision_or_main() != text {
        format!("{} answers with another commit, {text}", host(url))
    } else {
        return Ok(text.to_owned());
    };
    Err(client.bad_answer(spec, problem).into())
}

/// Asks which files a repository has.
pub(crate) fn list(client: &Client, spec: &HubSpec) -> Result<Listing, Trouble> {
    #[derive(Deserialize)]
    struct Info {
        sha: String,
        siblings: Vec<File>,
    }
    #[derive(Deserialize)]
    struct File {
        rfilename: String,
    }

    let parts = ["api", "models"].into_iter();
    let parts = parts.chain(spec.repository().split('/'));
    let mut url = client.url(parts.chain(["revision", spec.revision_or_main()]));
    for _ in 0..=REDIRECTS {
        let answer = client.send(spec, "GET", &url, None)?;
        client.check(spec, &url, &answer)?;
        if let Some(next) = client.redirect(spec, &url, &answer)? {
            url = next;
            continue;
        }
        let mut text = Vec::new();
        let read = answer
            .into_reader()
            .take(LONGEST_LIST)
            .read_to_end(&mut text);
        read.map_err(|error| {
            Trouble::Passing(format!("{}: {}", host(&url), one_line(&error.to_string())))
        })?;
        let info: Info = serde_json::from_slice(&text).map_err(|error| {
            let error = one_line(&error.to_string());
            client.bad_answer(
                spec,
                format!("{} sends no list of files ({error})", host(&url)),
            )
        })?;
        return Ok(Listing {
            commit: commit(client, spec, &url, &info.sha)?,
            files: info
                .siblings
                .into_iter()
                .map(|file| file.rfilename)
                .collect(),
        });
    }
    Err(too_many(client, spec, &url))
}

pub(crate) fn too_many(client: &Client, spec: &HubSpec, url: &Url) -> Trouble {
    let problem = format!("{} redirects more than {REDIRECTS} times", host(url));
    client.bad_answer(spec, problem).into()
}
