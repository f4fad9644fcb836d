use std::fmt;
use std::path::Path;

use crate::DataError;

/// What is wrong with a file, and where.
#[derive(Debug)]
pub struct Problem {
    offset: usize,
    problem: String,
}

impl Problem {
    pub(super) fn new(offset: usize, problem: impl Into<String>) -> Self {
        Self {
            offset,
            problem: problem.into(),
        }
    }

    pub(super) fn of(self, path: &Path) -> DataError {
        DataError::Binary {
            path: path.to_owned(),
            offset: self.offset,
            problem: self.problem,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: {}", self.offset, self.problem)
    }
}

impl std::error::Error for Problem {}

/// Bytes that are read from the front.
#[derive(Clone)]
pub(super) struct Bytes<'a> {
    all: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Bytes<'a> {
    pub(super) fn new(all: &'a [u8]) -> Self {
        Self {
            all,
            at: 0,
            end: all.len(),
        }
    }

    /// Where the next byte is, from the start of the file.
    pub(super) fn offset(&self) -> usize {
        self.at
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.end - self.at
    }

    /// What is left.
    pub(super) fn rest(&self) -> &'a [u8] {
        &self.all[self.at..self.end]
    }

    /// The next `count` bytes, which are `what`, as a part that knows its place.
    pub(super) fn part(&mut self, count: usize, what: &str) -> Result<Self, Problem> {
        if count > self.left() {
            let left = self.left();
            let problem = format!(
                "{what} should have {count} bytes, but {left} are left: the file is cut short or \
                 damaged, get it again"
            );
            return Err(Problem::new(self.at, problem));
        }
        let part = Self {
            end: self.at + count,
            ..*self
        };
        self.at = part.end;
        Ok(part)
    }

    /// The next `count` bytes, which are `what`.
    pub(super) fn take(&mut self, count: usize, what: &str) -> Result<&'a [u8], Problem> {
        self.part(count, what).map(|part| part.rest())
    }

    /// The next `N` bytes, which are `what`.
    pub(super) fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Problem> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, what)?);
        Ok(array)
    }

    /// The bytes up to a line feed, which is read, too.
    pub(super) fn line(&mut self, what: &str) -> Result<&'a [u8], Problem> {
        let rest = self.rest();
        let Some(length) = rest.iter().position(|&byte| byte == b'\n') else {
            let problem = format!(
                "the line of {what} does not end: the file is cut short or damaged, get it again"
            );
            return Err(Problem::new(self.at, problem));
        };
        self.at += length + 1;
        Ok(&rest[..length])
    }
}
