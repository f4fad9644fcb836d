//! Lists in text files, a line an item, fields apart by white space.

use std::path::{Path, PathBuf};

use crate::DataError;

/// A text file and its lines, for messages that name both.
pub(super) struct Lines {
    path: PathBuf,
    text: String,
}

/// A line that is not empty.
#[derive(Clone, Copy)]
pub(super) struct Line<'a> {
    path: &'a Path,
    /// From 1.
    number: u64,
    pub(super) text: &'a str,
}

impl Lines {
    /// Reads `path`, which `expected` describes to someone who does not have it.
    pub(super) fn open(path: PathBuf, expected: &str) -> Result<Self, DataError> {
        let bytes = std::fs::read(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                DataError::layout(&path, format!("is not there: {expected}"))
            }
            _ => DataError::io(&path, error),
        })?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count() as u64;
            let problem = "it is not UTF-8".to_owned();
            DataError::Line {
                path: path.clone(),
                line,
                problem,
            }
        })?;
        Ok(Self { path, text })
    }

    /// The lines that are not empty, after the first `header` ones.
    pub(super) fn skip(&self, header: usize) -> impl Iterator<Item = Line<'_>> {
        let lines = (1..).zip(self.text.lines()).skip(header);
        lines
            .map(|(number, text)| Line {
                path: &self.path,
                number,
                text: text.trim(),
            })
            .filter(|line| !line.text.is_empty())
    }
}

impl<'a> Line<'a> {
    /// Its fields, exactly `N`; `names` are theirs, for the message.
    pub(super) fn fields<const N: usize>(
        &self,
        names: [&str; N],
    ) -> Result<[&'a str; N], DataError> {
        let mut fields = self.text.split_whitespace();
        let mut found = [""; N];
        let mut count = 0;
        for place in &mut found {
            if let Some(field) = fields.next() {
                *place = field;
                count += 1;
            }
        }
        count += fields.count();
        if count == N {
            return Ok(found);
        }
        let expected = names.join(" ");
        Err(self.error(format!("it has {count} fields, expected is `{expected}`")))
    }

    /// A field as a number.
    pub(super) fn number<T: std::str::FromStr>(
        &self,
        name: &str,
        field: &str,
    ) -> Result<T, DataError> {
        field
            .parse()
            .map_err(|_| self.error(format!("{name} is `{field}`, expected is a number")))
    }

    pub(super) fn error(&self, problem: impl Into<String>) -> DataError {
        DataError::Line {
            path: self.path.to_owned(),
            line: self.number,
            problem: problem.into(),
        }
    }
}
