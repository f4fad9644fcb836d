//! iNaturalist 2018 for retrieval: the images of the competition (Van Horn and others, CVPR 2018) and
//! the class-disjoint split of Smooth-AP (Brown and others, ECCV 2020), whose lists come apart from them.
//!
//! `Inaturalist_train_set1.txt` and `Inaturalist_test_set1.txt` have a path in each line, such as
//! `train_val2018/Aves/2761/0015f3.jpg`: `…/super-class/class/image`.

use std::path::Path;

use super::excerpt;
use super::lines::{Lines, root};
use super::named::Named;
use crate::{DataError, Dataset, ImageSource, Item, Part, PublishedCount, Split};

const EXPECTED: &str = "expected is the folder of iNaturalist 2018 with train_val2018 and the split \
                        lists of Smooth-AP, Inaturalist_train_set1.txt and \
                        Inaturalist_test_set1.txt, in it or in its folder Inat_dataset_splits";

const PUBLISHED: &[PublishedCount] = &[
    PublishedCount {
        part: Part::Train,
        images: 325_846,
        classes: Some(5_690),
    },
    PublishedCount {
        part: Part::Test,
        images: 136_093,
        classes: Some(2_452),
    },
];

pub(crate) fn read(dir: &Path) -> Result<Dataset, DataError> {
    let lists = root(dir, "Inat_dataset_splits", "Inaturalist_train_set1.txt");
    let mut items = Vec::new();
    let (mut classes, mut super_classes) = (Named::default(), Named::default());
    for (list, split) in [
        ("Inaturalist_train_set1.txt", Split::Train),
        ("Inaturalist_test_set1.txt", Split::Test),
    ] {
        let lines = Lines::open(lists.join(list), EXPECTED)?;
        for line in lines.after_header(0) {
            let mut folders = line.text.rsplit('/').skip(1);
            let (Some(class), Some(super_class)) = (folders.next(), folders.next()) else {
                return Err(line.error(format!(
                    "the path is `{}`, expected is …/super-class/class/image",
                    excerpt(line.text)
                )));
            };
            let class = format!("{super_class}/{class}");
            let source = ImageSource::File(dir.join(line.text));
            items.push(Item {
                super_class: Some(super_classes.id(super_class)),
                ..Item::new(line.text, source, classes.id(&class), split)
            });
        }
    }
    Ok(Dataset::from_items("inat2018", items, classes.names())?
        .with_super_class_names(super_classes.names())?
        .with_published_counts(PUBLISHED))
}
