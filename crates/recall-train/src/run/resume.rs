//! Going on with a run that was begun.

use std::path::{Path, PathBuf};

use recall_data::{DataSpec, Dataset};
use sha2::{Digest, Sha256};

use super::images::Items;
use super::{CONFIG, Checkpoint, DataRecord, RunFolder};
use crate::RunError;

/// The folder of the run that `path` is, or that `path` is a checkpoint of.
pub(super) fn folder_of(path: &Path) -> Result<PathBuf, RunError> {
    let checkpoints = path
        .parent()
        .filter(|parent| parent.ends_with("checkpoints"));
    let run = match checkpoints.and_then(Path::parent) {
        Some(run) if run.as_os_str().is_empty() => PathBuf::from("."),
        Some(run) => run.to_owned(),
        None => path.to_owned(),
    };
    match run.join(CONFIG).is_file() {
        true => Ok(run),
        false => Err(RunError::Resume {
            path: path.to_owned(),
            problem: "it is not the folder of a run, nor of one of its checkpoints".to_owned(),
        }),
    }
}

/// What is known of the images that a run began with.
pub(super) struct BeganWith {
    /// The run or the checkpoint that knows it.
    path: PathBuf,
    known: Known,
}

enum Known {
    Record(DataRecord),
    OldFingerprint(String),
    /// It was stopped before it wrote anything of them.
    Nothing,
}

/// What the run in `folder`, which goes on from `checkpoint`, began with.
pub(super) fn began_with(
    folder: &RunFolder,
    checkpoint: Option<&Checkpoint>,
) -> Result<BeganWith, RunError> {
    let place = checkpoint.map_or(folder.path(), Checkpoint::path);
    let record = match DataRecord::read(place)? {
        None => DataRecord::read(folder.path())?,
        of_checkpoint => of_checkpoint,
    };
    Ok(BeganWith {
        path: place.to_owned(),
        known: match (record, checkpoint) {
            (Some(record), _) => Known::Record(record),
            (None, Some(checkpoint)) => Known::OldFingerprint(checkpoint.state.data.clone()),
            (None, None) => Known::Nothing,
        },
    })
}

impl BeganWith {
    /// Refuses to go on with other images: batches and augmentation follow from all of them, and
    /// `metrics.jsonl` would mix what was judged on two sets.
    pub(super) fn refuse_others(
        self,
        data: &DataSpec,
        now: &DataRecord,
        dataset: &Dataset,
        items: &Items,
    ) -> Result<(), RunError> {
        let problem = match self.known {
            Known::Nothing => return Ok(()),
            Known::Record(began) => match began.differences(now) {
                None => return Ok(()),
                Some(differences) => format!(
                    "the images of {data} are not those that the run began with: {differences}; give it \
                     those again, or begin a new run with --weights from the model.safetensors of a \
                     checkpoint"
                ),
            },
            Known::OldFingerprint(began) if began == old_fingerprint(dataset, items) => {
                return Ok(());
            }
            Known::OldFingerprint(_) => format!(
                "the images of {data} are not those that the run began with, or the earlier version that \
                 began it split them in another way; begin a new run with --weights from the \
                 model.safetensors of a checkpoint"
            ),
        };
        Err(RunError::Resume {
            path: self.path,
            problem,
        })
    }
}

/// What checkpoints of versions without records have instead of their fingerprint: training and
/// validation images by their names and classes.
fn old_fingerprint(dataset: &Dataset, items: &Items) -> String {
    let mut hash = Sha256::new();
    for part in [&items.train, &items.validation] {
        for &id in part {
            let item = &dataset.items()[id];
            let class = &dataset.class_names()[item.class as usize];
            for text in [&item.name, class] {
                hash.update((text.len() as u64).to_le_bytes());
                hash.update(text);
            }
        }
        hash.update([0; 8]);
    }
    let digest = hash.finalize();
    digest[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use recall_data::{ImageSource, Item, Split};

    use super::*;

    #[test]
    fn a_checkpoint_of_an_earlier_version_goes_on_with_its_own_images_only() {
        let items =
            ["a", "b"].map(|name| Item::new(name, ImageSource::Embedded(b"x"), 0, Split::Train));
        let dataset = Dataset::from_items("own", items.to_vec(), vec!["c".to_owned()]).unwrap();
        let both = Items {
            train: vec![0],
            validation: vec![1],
            test: Vec::new(),
        };
        let data = DataSpec::Folder("own".into());
        let now = DataRecord::new(&data, &dataset, &both).unwrap();
        let began = |fingerprint: &str| BeganWith {
            path: "run".into(),
            known: Known::OldFingerprint(fingerprint.to_owned()),
        };
        // As it was computed then: lengths and texts of names and classes, parts closed by zeros.
        let was = "6f9c57569de4ec7a";
        began(was)
            .refuse_others(&data, &now, &dataset, &both)
            .unwrap();
        let other = Items {
            train: vec![0, 1],
            validation: Vec::new(),
            test: Vec::new(),
        };
        let refused = began(was).refuse_others(&data, &now, &dataset, &other);
        let message = refused.unwrap_err().to_string();
        assert!(message.contains("the earlier version"), "{message}");
    }
}
