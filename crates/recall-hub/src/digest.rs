use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// Names the contents of a file, and its blob in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Etag(String);

impl Etag {
    /// Of a header, in quotes and weak or not. None if it is no name for a file: only letters, digits
    /// and `-` are, which is what the Hub sends.
    pub(crate) fn new(header: &str) -> Option<Self> {
        let text = header.trim();
        let text = text.strip_prefix("W/").unwrap_or(text).trim_matches('"');
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let usable = (1..=128).contains(&text.len()) && text.bytes().all(plain);
        usable.then(|| Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    fn is_hex(&self, len: usize) -> bool {
        self.0.len() == len && self.0.bytes().all(|byte| byte.is_ascii_hexdigit())
    }
}

/// Takes the checksum that an ETag names, while a file is written.
///
/// Large files (LFS) are named by their SHA-256, others by the SHA-1 that Git gives a blob. Of any other
/// ETag nothing is known, and only the length of the file is checked.
pub(crate) enum Digest {
    Sha256(Sha256),
    Git(Sha1),
    Unknown,
}

impl Digest {
    /// Of a file of this many bytes.
    pub(crate) fn new(etag: &Etag, size: u64) -> Self {
        if etag.is_hex(64) {
            Self::Sha256(Sha256::new())
        } else if etag.is_hex(40) {
            Self::Git(Sha1::new().chain_update(format!("blob {size}\0")))
        } else {
            Self::Unknown
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(digest) => digest.update(bytes),
            Self::Git(digest) => digest.update(bytes),
            Self::Unknown => {}
        }
    }

    /// What is wrong: the kind of sum and the one found. None if it is the one that the ETag names.
    pub(crate) fn mismatch(self, etag: &Etag) -> Option<(&'static str, String)> {
        let (kind, found) = match self {
            Self::Sha256(digest) => ("SHA-256", format!("{:x}", digest.finalize())),
            Self::Git(digest) => ("SHA-1 of Git", format!("{:x}", digest.finalize())),
            Self::Unknown => return None,
        };
        (!found.eq_ignore_ascii_case(etag.as_str())).then_some((kind, found))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(etag: &str, contents: &[u8]) -> bool {
        let etag = Etag::new(etag).unwrap();
        let mut digest = Digest::new(&etag, contents.len() as u64);
        contents.chunks(2).for_each(|part| digest.update(part));
        digest.mismatch(&etag).is_none()
    }

    #[test]
    fn sums_are_those_of_sha256sum_and_of_git() {
        let sha256 = "\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"";
        assert!(matches(sha256, b"abc") && !matches(sha256, b"abd"));
        // `printf hello | git hash-object --stdin`
        let git = "W/\"b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0\"";
        assert!(matches(git, b"hello") && !matches(git, b"hellp"));
        assert!(matches("any-2", b"abc"));
    }

    #[test]
    fn an_etag_that_is_no_name_of_a_file_is_refused() {
        for header in [
            "",
            "\"\"",
            "../../x",
            "a/b",
            "a\\b",
            "a.incomplete",
            "..",
            &"a".repeat(129),
        ] {
            assert_eq!(Etag::new(header), None, "{header}");
        }
    }
}
