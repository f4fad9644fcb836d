use std::path::Path;

use crate::{DataError, Dataset};

pub(crate) fn read_oxford(dir: &Path) -> Result<Dataset, DataError> {
    Err(DataError::layout(dir, "cannot be read yet"))
}

pub(crate) fn read_paris(dir: &Path) -> Result<Dataset, DataError> {
    read_oxford(dir)
}
