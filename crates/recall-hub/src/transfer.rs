use std::io::{ErrorKind, Read};
use std::path::Path;

use ureq::Response;
use url::Url;

use crate::HubSpec;
use crate::client::{Client, host};
use crate::names::one_line;
use crate::part::{CHUNK, Part};
use crate::remote::{Metadata, REDIRECTS, etag, too_many};
use crate::retry::Trouble;

/// The status for a part that begins behind the last byte.
const BEYOND_THE_END: u16 = 416;

/// Brings `incomplete` to the whole contents, from wherever it stands, and checks them.
///
/// `progress` takes the bytes that are here and those of the whole file. After an error the file is fit to go
/// on with; one that is wrong is removed.
pub(crate) fn transfer(
    client: &Client,
    spec: &HubSpec,
    metadata: &Metadata,
    incomplete: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), Trouble> {
    let mut part = Part::open(metadata, incomplete)?;
    progress(part.len, metadata.size);
    if part.len < metadata.size {
        let (url, answer) = request(client, spec, metadata, part.len)?;
        match answer.status() {
            206 if goes_on(&answer, part.len, metadata.size) => {}
            // All of it, whatever was asked for.
            200 => part.restart(metadata)?,
            status => {
                part.restart(metadata)?;
                let reason = format!("{} answers {status} without the rest of it", host(&url));
                return Err(Trouble::Passing(reason));
            }
        }
        let (length, missing) = (length(&answer), metadata.size - part.len);
        if let Some(length) = length.filter(|length| *length != missing) {
            let reason = format!(
                "{} sends {length} bytes where {missing} are missing",
                host(&url)
            );
            return Err(Trouble::Passing(reason));
        }
        receive(
            &mut part,
            metadata,
            &url,
            &mut answer.into_reader(),
            progress,
        )?;
    }
    part.finish(spec, metadata)
}

/// Asks for the contents from a byte on, through redirects.
fn request(
    client: &Client,
    spec: &HubSpec,
    metadata: &Metadata,
    from: u64,
) -> Result<(Url, Response), Trouble> {
    let mut url = client.file_url(spec, &metadata.commit);
    let mut compared = false;
    for _ in 0..=REDIRECTS {
        let answer = client.send(spec, "GET", &url, (from > 0).then_some(from))?;
        if answer.status() == BEYOND_THE_END {
            return Ok((url, answer));
        }
        client.check(spec, &url, &answer)?;
        let next = client.redirect(spec, &url, &answer)?;
        // What comes behind the first that names the contents has ETags of its own.
        let linked = answer.header("X-Linked-Etag").is_some();
        if client.is_own(&url) && !compared && (linked || next.is_none()) {
            if etag(&answer).is_some_and(|etag| etag != metadata.etag) {
                return Err(Trouble::Passing(format!(
                    "the file changed on {}",
                    host(&url)
                )));
            }
            compared = true;
        }
        match next {
            Some(next) => url = next,
            None => return Ok((url, answer)),
        }
    }
    Err(too_many(client, spec, &url))
}

/// The length that an answer announces, in bytes.
fn length(answer: &Response) -> Option<u64> {
    answer.header("Content-Length")?.trim().parse().ok()
}

/// Whether a partial answer begins at this byte and belongs to a file of this size.
fn goes_on(answer: &Response, from: u64, size: u64) -> bool {
    let range = answer.header("Content-Range").unwrap_or_default().trim();
    let parts = range
        .strip_prefix("bytes ")
        .and_then(|range| range.split_once('/'));
    parts.is_some_and(|(range, total)| {
        let begin = range
            .split('-')
            .next()
            .and_then(|begin| begin.trim().parse().ok());
        begin == Some(from) && (total == "*" || total.parse() == Ok(size))
    })
}

/// Writes what comes until the file is whole.
fn receive(
    part: &mut Part<'_>,
    metadata: &Metadata,
    url: &Url,
    from: &mut dyn Read,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<(), Trouble> {
    let mut buffer = vec![0; CHUNK];
    while part.len < metadata.size {
        let most = usize::try_from(metadata.size - part.len).map_or(CHUNK, |rest| rest.min(CHUNK));
        let count = match from.read(&mut buffer[..most]) {
            Ok(0) => {
                let reason = format!("{} closed the connection", host(url));
                return Err(Trouble::Passing(reason));
            }
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => {
                let reason = format!("{}: {}", host(url), one_line(&error.to_string()));
                return Err(Trouble::Passing(reason));
            }
        };
        part.write(&buffer[..count])?;
        progress(part.len, metadata.size);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_rest_of_the_same_file_goes_on() {
        for (range, expected) in [
            ("bytes 3-9/10", true),
            ("bytes 3-9/*", true),
            ("bytes 4-9/10", false),
            ("bytes 3-9/11", false),
            ("bytes */10", false),
            ("3-9", false),
            ("", false),
        ] {
            let answer = format!("HTTP/1.1 206 OK\r\nContent-Range: {range}\r\n\r\n");
            assert_eq!(
                goes_on(&answer.parse().unwrap(), 3, 10),
                expected,
                "{range}"
            );
        }
    }
}
