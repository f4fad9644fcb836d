use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use crate::digest::Digest;
use crate::remote::Metadata;
use crate::retry::Trouble;
use crate::{HubError, HubSpec};

/// Bytes read at once.
pub(crate) const CHUNK: usize = 1 << 17;

/// The contents as far as they are here, and their checksum.
pub(crate) struct Part<'a> {
    path: &'a Path,
    file: File,
    digest: Digest,
    /// In bytes.
    pub(crate) len: u64,
}

impl<'a> Part<'a> {
    /// What an earlier transfer left, read for its checksum. Longer than the file, it is worth nothing.
    pub(crate) fn open(metadata: &Metadata, path: &'a Path) -> Result<Self, HubError> {
        let mut options = OpenOptions::new();
        let open = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path);
        let mut part = Self {
            path,
            file: open.map_err(HubError::io(path))?,
            digest: Digest::new(&metadata.etag, metadata.size),
            len: 0,
        };
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = part.file.read(&mut buffer).map_err(HubError::io(path))?;
            if count == 0 {
                break;
            }
            part.digest.update(&buffer[..count]);
            part.len += count as u64;
        }
        if part.len > metadata.size {
            part.restart(metadata)?;
        }
        Ok(part)
    }

    /// Forgets what is here.
    pub(crate) fn restart(&mut self, metadata: &Metadata) -> Result<(), HubError> {
        self.file.set_len(0).map_err(HubError::io(self.path))?;
        self.file
            .seek(SeekFrom::Start(0))
            .map_err(HubError::io(self.path))?;
        self.digest = Digest::new(&metadata.etag, metadata.size);
        self.len = 0;
        Ok(())
    }

    /// Adds what came.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), HubError> {
        self.file
            .write_all(bytes)
            .map_err(HubError::io(self.path))?;
        self.digest.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Checks the sum, and removes the file if it is another.
    pub(crate) fn finish(self, spec: &HubSpec, metadata: &Metadata) -> Result<(), Trouble> {
        // A name that outlives a power cut must not outlive its contents.
        self.file.sync_all().map_err(HubError::io(self.path))?;
        match self.digest.mismatch(&metadata.etag) {
            None => Ok(()),
            Some((kind, found)) => {
                drop(self.file);
                fs::remove_file(self.path).map_err(HubError::io(self.path))?;
                Err(Trouble::Lasting(HubError::Checksum {
                    what: spec.to_string(),
                    kind,
                    expected: metadata.etag.as_str().to_owned(),
                    found,
                }))
            }
        }
    }
}
