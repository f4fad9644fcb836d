//! Lists in text files, a line an item, fields apart by white space.

use std::path::{Path, PathBuf};

use super::excerpt;
use crate::{BoundingBox, DataError};

/// The folder that `marker` is in: `dir`, or the folder that the archive makes in it.
pub(super) fn root(dir: &Path, archive: &str, marker: &str) -> PathBuf {
    let inner = dir.join(archive);
    match !dir.join(marker).exists() && inner.join(marker).exists() {
        true => inner,
        false => dir.to_owned(),
    }
}

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
    /// Reads `path` if it is there.
    pub(super) fn open_optional(path: PathBuf) -> Result<Option<Self>, DataError> {
        match path.exists() {
            true => Self::open(path, "").map(Some),
            false => Ok(None),
        }
    }

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

    /// Checks the number of items that the first line of the file promises.
    pub(super) fn expect_count(&self, found: usize) -> Result<(), DataError> {
        let Some(first) = self.after_header(0).next() else {
            return Ok(());
        };
        let promised: usize = first.number("the number of lines", first.text)?;
        if promised == found {
            return Ok(());
        }
        Err(first.error(format!(
            "{promised} lines are promised, but {found} follow: the file is cut short or changed"
        )))
    }

    /// The lines that are not empty, after the first `header` ones.
    pub(super) fn after_header(&self, header: usize) -> impl Iterator<Item = Line<'_>> {
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
        field.parse().map_err(|_| {
            self.error(format!(
                "{name} is `{}`, expected is a number",
                excerpt(field)
            ))
        })
    }

    /// A box from the fields of its upper left corner and its size, in pixels that may be fractions.
    pub(super) fn bounding_box(
        &self,
        [left, top]: [&str; 2],
        [width, height]: [&str; 2],
    ) -> Result<BoundingBox, DataError> {
        let left: f64 = self.number("the left side of the box", left)?;
        let top: f64 = self.number("the upper side of the box", top)?;
        let width: f64 = self.number("the width of the box", width)?;
        let height: f64 = self.number("the height of the box", height)?;
        // Casts saturate: what is left of or above the image is cut off, a NaN has no area.
        let pixel = |side: f64| side.round() as u32;
        let [right, bottom] = [left + width, top + height];
        BoundingBox::new(pixel(left), pixel(top), pixel(right), pixel(bottom))
            .map_err(|error| self.error(error.to_string()))
    }

    pub(super) fn error(&self, problem: impl Into<String>) -> DataError {
        DataError::Line {
            path: self.path.to_owned(),
            line: self.number,
            problem: problem.into(),
        }
    }
}
