use std::path::Path;

use crate::{DataError, Dataset};

pub(crate) fn read(dir: &Path) -> Result<Dataset, DataError> {
    Err(DataError::layout(dir, "cannot be read yet"))
}
