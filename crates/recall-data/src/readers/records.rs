//! Tables in CSV of which a few columns are wanted, read a record at a time: some have millions of lines
//! and are mostly addresses that nobody needs.

use std::fs::File;
use std::path::Path;

use csv::{Position, Reader, ReaderBuilder, StringRecord};

use super::csv::refused;
use super::excerpt;
use crate::DataError;

/// A table whose header was read.
pub(super) struct Records<'a> {
    path: &'a Path,
    expected: &'a str,
    reader: Reader<File>,
    header: Vec<String>,
}

impl<'a> Records<'a> {
    /// Opens `path`, which `expected` describes to someone who does not have it.
    pub(super) fn open(path: &'a Path, expected: &'a str) -> Result<Self, DataError> {
        let file = File::open(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                DataError::layout(path, format!("is not there: {expected}"))
            }
            _ => DataError::io(path, error),
        })?;
        let mut reader = ReaderBuilder::new()
            .buffer_capacity(1 << 16)
            .from_reader(file);
        let header = reader.headers().map_err(|error| refused(path, error))?;
        let names = header.iter();
        let header = names
            .map(|name| name.trim_start_matches('\u{feff}').trim().to_owned())
            .collect();
        Ok(Self {
            path,
            expected,
            reader,
            header,
        })
    }

    /// Whether the table has a column.
    pub(super) fn has(&self, column: &str) -> bool {
        self.header.iter().any(|name| name == column)
    }

    /// Hands the fields of `columns` of each record to `take`, whose problems are told with their line.
    pub(super) fn each<const N: usize>(
        mut self,
        columns: [&str; N],
        mut take: impl FnMut([&str; N]) -> Result<(), String>,
    ) -> Result<(), DataError> {
        let mut places = [0; N];
        for (place, column) in places.iter_mut().zip(columns) {
            let found = self.header.iter().position(|name| name == column);
            *place = found.ok_or_else(|| {
                let header = excerpt(&self.header.join(","));
                let expected = self.expected;
                let problem = format!("has no column `{column}` but `{header}`: {expected}");
                DataError::layout(self.path, problem)
            })?;
        }
        let mut record = StringRecord::new();
        let mut any = false;
        while self
            .reader
            .read_record(&mut record)
            .map_err(|error| refused(self.path, error))?
        {
            any = true;
            // All records have the fields of the header: the reader refuses others.
            let fields = places.map(|place| record.get(place).unwrap_or_default().trim());
            take(fields).map_err(|problem| DataError::Line {
                path: self.path.to_owned(),
                line: record.position().map_or(0, Position::line),
                problem,
            })?;
        }
        match any {
            true => Ok(()),
            false => Err(DataError::layout(
                self.path,
                format!("has no lines below its header: {}", self.expected),
            )),
        }
    }
}
