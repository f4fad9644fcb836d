//! Features of a frozen backbone, computed once and kept on disk.
//!
//! A backbone that is not trained gives the same features of an image in every step, as long as the image is not
//! augmented. They are written to a file whose name is a hash of all they depend on: the weights and settings of
//! the backbone, the backend and its precision, how images are prepared, and the files of the images with their sizes and times. So
//! no run finds features that are not its own. A file gets its name once it is whole, and one that was being
//! written when a process died leaves nothing behind.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use recall_data::{CorruptPolicy, Dataset, ItemId, KeptFeatures, Loader, Transform};
use recall_engine::{Engine, Features, Pixels};
use recall_eval::{EmbeddingsFile, EmbeddingsWriter};
use sha2::{Digest, Sha256};

use super::images::{Images, Items};
use super::session::Loaders;
use super::{Progress, TrainingRun};
use crate::embed::{each_batch, pixels};
use crate::{Bytes, FeatureCacheConfig, RunError};

/// What files are called behind their hash.
const ENDING: &str = "features.npy";

impl Loaders {
    /// The same that hand out features, where the backbone is frozen and nothing speaks against it.
    pub(super) fn with_kept_features(
        self,
        run: &TrainingRun,
        engine: &mut dyn Engine,
        images: &Images,
        progress: &mut dyn Progress,
    ) -> Result<Self, RunError> {
        let config = &run.config;
        let has_backbone = !config.model.backbone.takes_features();
        if !has_backbone || !config.optimiser.freeze_backbone || !config.features.keep {
            return Ok(self);
        }
        if !config.image.train.is_fixed() {
            say_what_augmentation_costs(run, engine, progress)?;
            return Ok(self);
        }
        if config.image.keep_ratio {
            progress.note(
                "features of the frozen backbone are kept of images of one size only: without \
                 image.keep_ratio each would be computed once",
            );
            return Ok(self);
        }
        if run.ranks.are_several() {
            progress.note(
                "features of the frozen backbone are kept by runs of one process only: here each step \
                 computes them",
            );
            return Ok(self);
        }
        if run.loading.corrupt == CorruptPolicy::Skip {
            progress.note(
                "features of the frozen backbone are kept only of images that can all be read: without \
                 --skip-corrupt each would be computed once",
            );
            return Ok(self);
        }
        let Some(folder) = folder(&config.features) else {
            progress.warn(
                "there is no place to keep the features of the frozen backbone: name one by features.folder",
            );
            return Ok(self);
        };
        let Items {
            train,
            validation,
            test,
        } = &images.items;
        let train = sorted(train);
        // Of images of any shape, and at several scales, there is no row of one length for each.
        let judged = match config.judges_one_size() {
            true => sorted(validation.iter().chain(test)),
            false => Vec::new(),
        };
        // A model of a program's own may have no features, and one with dropout has others each time.
        let Some(of_train) = numbers(engine, config.image.train.size)? else {
            return Ok(self);
        };
        let of_judged = match judged.is_empty() {
            true => Some(0),
            false => numbers(engine, [config.image.eval.crop; 2])?,
        };
        let Some(of_judged) = of_judged else {
            return Ok(self);
        };
        let bytes = Bytes(4 * (of_train * train.len() + of_judged * judged.len()) as u64);
        if bytes > config.features.at_most {
            progress.note(&format!(
                "the features of the frozen backbone would take {}, more than features.at_most: they are \
                 computed in each step",
                bytes.rounded()
            ));
            return Ok(self);
        }
        let store = Store {
            folder,
            at_most: config.features.at_most,
            backbone: format!("{} {}", engine.device().name(), engine.backbone_hash()),
        };
        let transform = config.image.train.clone().into();
        let train_file = store.file(run, &self.train, &transform, &train)?;
        let judged_file = store.file(run, &self.eval, &config.image.eval.into(), &judged)?;
        let of_train = store.take(&train_file, &self.train, train, engine, progress)?;
        let eval = match judged.is_empty() {
            true => self.eval,
            false => {
                let kept = store.take(&judged_file, &self.eval, judged, engine, progress)?;
                self.eval.with_features(kept)
            }
        };
        store.tidy(&[train_file, judged_file]);
        Ok(Self {
            train: self.train.with_features(of_train),
            eval,
        })
    }
}

/// A folder of files of features.
struct Store {
    folder: PathBuf,
    at_most: Bytes,
    /// What computes, and a hash of the weights.
    backbone: String,
}

impl Store {
    /// The file of the features of `ids` through `transform`, whether it is there or not.
    fn file(
        &self,
        run: &TrainingRun,
        loader: &Loader,
        transform: &Transform,
        ids: &[ItemId],
    ) -> Result<PathBuf, RunError> {
        let config = &run.config;
        let mut hash = Sha256::new();
        let mut add = |part: &[u8]| {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        };
        add(env!("CARGO_PKG_VERSION").as_bytes());
        add(self.backbone.as_bytes());
        add(format!("{:?} {:?}", config.model.backbone, config.model.pooling()).as_bytes());
        add(config.precision.name().as_bytes());
        add(format!("{transform:?} {:?}", config.image.standardise).as_bytes());
        let shorter_side = config.image.cache.as_ref().map(|cache| cache.shorter_side);
        let dataset: &Arc<Dataset> = loader.dataset();
        let (boxes, upright) = (dataset.crops_to_boxes(), dataset.turns_upright());
        add(format!("{shorter_side:?} {boxes} {upright}").as_bytes());
        for &id in ids {
            let item = dataset.item(id)?;
            add(&item.stamp()?);
            add(format!("{:?}", item.bbox).as_bytes());
        }
        let digits = hash.finalize();
        let digits: String = digits[..16]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Ok(self.folder.join(format!("{digits}.{ENDING}")))
    }

    /// The features at `file`, which are computed if they are not there.
    fn take(
        &self,
        file: &Path,
        loader: &Loader,
        ids: Vec<ItemId>,
        engine: &dyn Engine,
        progress: &mut dyn Progress,
    ) -> Result<KeptFeatures, RunError> {
        let count = ids.len();
        let there = EmbeddingsFile::open(file).ok();
        if let Some(rows) = there.filter(|rows| rows.rows() == count) {
            // When it was used last says what may go first. A folder that cannot be written to is no harm.
            if let Ok(file) = File::options().append(true).open(file) {
                let _ = file.set_modified(SystemTime::now());
            }
            progress.note(&format!(
                "features of {count} images are there already, in {}",
                file.display()
            ));
            return Ok(KeptFeatures::new(rows, ids)?);
        }
        progress.note(&format!(
            "the backbone is frozen: features of {count} images are computed once, into {}",
            file.display()
        ));
        fs::create_dir_all(&self.folder).map_err(RunError::file("create", &self.folder))?;
        let mut writer = EmbeddingsWriter::create(file)?;
        each_batch(loader, &ids, CHUNK, |batch| {
            if progress.interrupted() {
                return Err(RunError::StoppedEarly);
            }
            let rows = engine.features(pixels(batch))?;
            let rows = rows.ok_or_else(|| RunError::Rows {
                problem: "the model gave none for some images".to_owned(),
            })?;
            writer.push(&rows)?;
            progress.counting("features", writer.rows(), count);
            Ok(())
        })?;
        writer.finish(None)?;
        Ok(KeptFeatures::new(EmbeddingsFile::open(file)?, ids)?)
    }

    /// Removes what was not used for longest until the folder holds no more than it may, but none of `used`.
    fn tidy(&self, used: &[PathBuf]) {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return;
        };
        let mut files = Vec::new();
        for entry in entries.flatten() {
            let path = entry.path();
            let ours = path.to_str().is_some_and(|path| path.ends_with(ENDING));
            if let (true, Ok(about)) = (ours, entry.metadata()) {
                let last = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                files.push((last, about.len(), path));
            }
        }
        files.sort();
        let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, bytes, path) in files {
            if total <= self.at_most.0 {
                break;
            }
            if !used.contains(&path) && fs::remove_file(&path).is_ok() {
                total -= bytes;
            }
        }
    }
}

/// Numbers of the features of an image of this size; none where the model has no features.
fn numbers(engine: &dyn Engine, [height, width]: [usize; 2]) -> Result<Option<usize>, RunError> {
    let bytes = vec![127; 3 * height * width];
    let features = engine.features(Pixels {
        bytes: &bytes,
        shape: [1, 3, height, width],
    })?;
    Ok(features.map(|rows| rows.dim()))
}

/// Images that go through the backbone at once.
const CHUNK: usize = 64;

/// Images that are measured.
const MEASURED: usize = 8;

/// Says how much faster steps would be if images were not augmented.
fn say_what_augmentation_costs(
    run: &TrainingRun,
    engine: &mut dyn Engine,
    progress: &mut dyn Progress,
) -> Result<(), RunError> {
    let [height, width] = run.config.image.train.size;
    let bytes = vec![127; MEASURED * 3 * height * width];
    let pixels = Pixels {
        bytes: &bytes,
        shape: [MEASURED, 3, height, width],
    };
    let Some(rows) = engine.features(pixels)? else {
        return Ok(());
    };
    let features = Features {
        values: rows.as_slice(),
        dim: rows.dim(),
    };
    let mut seconds = |inputs| -> Result<f64, RunError> {
        engine.try_step(inputs, MEASURED)?;
        let taken = engine.try_step(inputs, MEASURED)?;
        Ok(taken.passes + taken.update)
    };
    let with = seconds(pixels.into())?;
    let without = seconds(features.into())?;
    engine.forget_trials();
    progress.note(&format!(
        "the backbone is frozen, but images are augmented, so each step runs it again; without \
         image.train.random_resized_crop, horizontal_flip, random_affine and colour_jitter its features would be \
         computed once, and a step would be about {:.0} times as fast",
        (with / without.max(1e-9)).max(1.0)
    ));
    Ok(())
}

/// The folder that is named, or that of the user.
fn folder(config: &FeatureCacheConfig) -> Option<PathBuf> {
    let of = |name: &str| {
        env::var_os(name)
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
    };
    config.folder.clone().or_else(|| {
        let cache = of("XDG_CACHE_HOME")
            .filter(|path| path.is_absolute())
            .or_else(|| Some(of("HOME")?.join(".cache")))
            .or_else(|| of("LOCALAPPDATA"))?;
        Some(cache.join("recall"))
    })
}

fn sorted<'a>(ids: impl IntoIterator<Item = &'a ItemId>) -> Vec<ItemId> {
    let mut ids: Vec<ItemId> = ids.into_iter().copied().collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}
