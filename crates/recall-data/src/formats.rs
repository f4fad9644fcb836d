//! The binary formats in which some benchmarks publish their lists.
//!
//! Such files come from the network, so what they claim is not believed: every size is compared with
//! the bytes that are there, and what a file can make of its bytes is limited.

mod bytes;
pub(crate) mod mat;
mod number;
pub mod pickle;

use std::io::Read;
use std::path::Path;

use crate::DataError;

/// The largest file that is read, in bytes; those of most benchmarks have about one million. What a
/// pickle takes in memory is at most some eighty times its size.
const MAX_FILE: usize = 8 << 20;

/// Reads `path`, which `expected` describes to someone who does not have it.
pub(crate) fn load(path: &Path, expected: &str) -> Result<Vec<u8>, DataError> {
    load_up_to(MAX_FILE, path, expected)
}

/// The same for a benchmark whose lists are longer than those of others: up to `most` bytes.
pub(crate) fn load_up_to(most: usize, path: &Path, expected: &str) -> Result<Vec<u8>, DataError> {
    let file = std::fs::File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            DataError::layout(path, format!("is not there: {expected}"))
        }
        _ => DataError::io(path, error),
    })?;
    let mut bytes = Vec::new();
    // One byte more shows a file that is too large, whatever its metadata say.
    file.take(most as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| DataError::io(path, error))?;
    if bytes.len() <= most {
        return Ok(bytes);
    }
    let problem = format!("has more than {} MiB: {expected}", most >> 20);
    Err(DataError::layout(path, problem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_there_or_too_large_is_answered_with_what_is_expected() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lists.mat");
        let message = load(&path, "expected are lists").unwrap_err().to_string();
        assert!(message.contains("lists.mat is not there: expected are"));

        let file = std::fs::File::create(&path).unwrap();
        file.set_len(MAX_FILE as u64).unwrap();
        assert_eq!(load(&path, "").unwrap().len(), MAX_FILE);
        file.set_len(MAX_FILE as u64 + 1).unwrap();
        let message = load(&path, "expected are lists").unwrap_err().to_string();
        assert!(message.contains("more than 8 MiB: expected are"));
    }
}
