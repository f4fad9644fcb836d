//! What a reader says of what it found.

use std::path::PathBuf;

/// What a reader met and left aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    message: String,
    warns: bool,
    paths: Vec<PathBuf>,
}

impl Note {
    pub(crate) fn new(message: impl Into<String>, paths: Vec<PathBuf>) -> Self {
        Self {
            message: message.into(),
            warns: false,
            paths,
        }
    }

    pub(crate) fn warning(message: impl Into<String>, paths: Vec<PathBuf>) -> Self {
        Self {
            warns: true,
            ..Self::new(message, paths)
        }
    }

    /// One sentence.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether it is hardly meant, such as images of a kind that cannot be read.
    pub fn is_warning(&self) -> bool {
        self.warns
    }

    /// All files and folders that it is about; none where it is about lines of lists.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }
}
