//! Bytes of a file, from wherever they are wanted.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::refusal::refuse;
use crate::EvalError;

/// Bytes that are in memory at a time: whole values of any type.
const PIECE: usize = 1 << 16;

/// An open file that is read at given places.
///
/// A read says where it starts, so that several threads can share the file. It is not mapped into
/// memory: if a file shrinks while it is read, a read fails and can say so, but touching a map
/// behind the new end kills the process.
#[derive(Debug)]
pub(super) struct Source {
    path: PathBuf,
    file: File,
    length: u64,
    /// When it was written to last, where the system says so.
    modified: Option<SystemTime>,
}

impl Source {
    pub fn open(path: &Path) -> Result<Self, EvalError> {
        let opened = File::open(path).and_then(|file| {
            let metadata = file.metadata()?;
            Ok((file, metadata))
        });
        let (file, metadata) = opened.map_err(|source| EvalError::Io {
            path: path.into(),
            source,
        })?;
        Ok(Self {
            path: path.into(),
            file,
            length: metadata.len(),
            modified: metadata.modified().ok(),
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file from its first byte on, for one reader.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// In bytes, when it was opened.
    pub fn length(&self) -> u64 {
        self.length
    }

    pub fn fault(&self, source: io::Error) -> EvalError {
        EvalError::Io {
            path: self.path.clone(),
            source,
        }
    }

    /// Fills `bytes` with what starts at `start`, which was there when the file was opened.
    pub fn read(&self, start: u64, bytes: &mut [u8]) -> Result<(), EvalError> {
        read_exact_at(&self.file, start, bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => self.changed("it ended early: "),
            _ => self.fault(error),
        })
    }

    /// That nothing was written to it since it was opened, as far as length and time tell.
    pub fn check_unchanged(&self) -> Result<(), EvalError> {
        let now = self.file.metadata().map_err(|source| self.fault(source))?;
        match (now.len(), now.modified().ok()) == (self.length, self.modified) {
            true => Ok(()),
            false => Err(self.changed("")),
        }
    }

    fn changed(&self, how: &str) -> EvalError {
        refuse(
            &self.path,
            format!("{how}it was changed while it was read"),
            "start again once nothing writes to it",
        )
    }

    /// Hands out bytes in pieces of whole values, so that those of a large file are never all in
    /// memory.
    pub fn pieces(
        &self,
        start: u64,
        bytes: usize,
        take: impl FnMut(&[u8]),
    ) -> Result<(), EvalError> {
        self.pieces_in(&mut Vec::new(), start, bytes, take)
    }

    /// The same with room for a piece that a reader of many keeps.
    pub fn pieces_in(
        &self,
        piece: &mut Vec<u8>,
        mut start: u64,
        bytes: usize,
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), EvalError> {
        let room = bytes.min(PIECE);
        if piece.len() < room {
            piece.resize(room, 0);
        }
        let mut left = bytes;
        while left > 0 {
            let piece = &mut piece[..left.min(PIECE)];
            self.read(start, piece)?;
            take(piece);
            start += piece.len() as u64;
            left -= piece.len();
        }
        Ok(())
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, start: u64, bytes: &mut [u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, start)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut start: u64, mut bytes: &mut [u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, bytes, start) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                start += read as u64;
                bytes = &mut bytes[read..];
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
