//! The million distractors of revisited Oxford and Paris (Radenović and others, CVPR 2018).
//!
//! `revisitop1m.txt` has an image in each line, `FOLDER/NAME.jpg`, from the folder `jpg`. Where a name has no ending, it
//! is `.jpg`. Nobody says which of them belong together: they are added to a gallery, or embedded by themselves.

use std::path::Path;

use super::lines::Lines;
use crate::{DataError, Dataset, ImageSource, Part, PublishedCount};

const EXPECTED: &str = "expected is the folder of revisitop1m with revisitop1m.txt, which lists the images, \
                        and the images in the folder jpg";

const PUBLISHED: &[PublishedCount] = &[PublishedCount {
    part: Part::Test,
    images: 1_001_001,
    classes: None,
}];

pub(crate) fn read(dir: &Path) -> Result<Dataset, DataError> {
    let lines = Lines::open(dir.join("revisitop1m.txt"), EXPECTED)?;
    let folder = dir.join("jpg");
    let images = lines.after_header(0).map(|line| {
        let mut path = folder.join(line.text);
        if path.extension().is_none() {
            path.as_mut_os_string().push(".jpg");
        }
        path.shrink_to_fit();
        (line.text.to_owned(), ImageSource::File(path))
    });
    Ok(Dataset::unlabelled("revisitop1m", images)?.with_published_counts(PUBLISHED))
}
