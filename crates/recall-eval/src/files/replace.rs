//! Files that are there whole or not at all.

use std::io::{self, BufWriter};
use std::path::Path;

use tempfile::NamedTempFile;

use crate::EvalError;

/// Writes a file beside `path` and gives it that name when it is complete, so that no half of one
/// is ever found there.
pub(super) fn replace(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<NamedTempFile>) -> io::Result<()>,
) -> Result<(), EvalError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    // As any other new file: by default temporary ones are for their owner only.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    // A name that no other file has, and that is gone again if something fails.
    let written = builder.tempfile_in(folder).and_then(|partial| {
        let mut file = BufWriter::new(partial);
        write(&mut file)?;
        let partial = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        partial.as_file().sync_all()?;
        partial.persist(path).map_err(|error| error.error)
    });
    written.map(|_| ()).map_err(|source| EvalError::Io {
        path: path.into(),
        source,
    })
}
