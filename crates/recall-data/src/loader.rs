mod rows;
mod shaped;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use recall_eval::EmbeddingsFile;
use serde::{Deserialize, Serialize};

use crate::picture::Picture;
use crate::random::{Key, Purpose};
use crate::{DataError, Dataset, ImageCache, ItemId, Transform};

pub use rows::row_problem;
use shaped::Order;

/// What happens to an image that cannot be read or decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CorruptPolicy {
    /// The batch is an error that names the image, and the last thing that comes.
    #[default]
    Error,
    /// The image is left out of its batch and named in [`Batch::skipped`]. A batch may come out empty.
    Skip,
}

/// Settings of a [`Loader`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoaderConfig {
    /// Threads that decode and augment; 0 is one a core, or what `RAYON_NUM_THREADS` says. They
    /// change the speed, never a pixel.
    /// Default: 0.
    pub threads: usize,
    /// Finished batches that may wait to be taken, at least 1. They bound the memory: a batch has
    /// `3 * height * width` bytes an item. Default: 2.
    pub prefetch: usize,
    /// What happens to an image that cannot be read. Default: an error.
    pub corrupt: CorruptPolicy,
    /// Seed of the augmentation. Default: 0.
    pub seed: u64,
}

impl Default for LoaderConfig {
    fn default() -> Self {
        Self {
            threads: 0,
            prefetch: 2,
            corrupt: CorruptPolicy::Error,
            seed: 0,
        }
    }
}

/// Which items to load, and the place in the run that their augmentation depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchRequest {
    /// The epoch, from 0.
    pub epoch: u64,
    /// The step within the epoch, from 0.
    pub step: u64,
    /// The items, in the order of the batch.
    pub ids: Vec<ItemId>,
}

/// Decoded and transformed images, or rows of features.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The items, in the order of the request, less those that were skipped. Those that went through a
    /// [`RatioTransform`](crate::RatioTransform) are sorted by shape.
    pub ids: Vec<ItemId>,
    /// Their classes.
    pub labels: Vec<u32>,
    /// What a model takes of them.
    pub inputs: BatchInputs,
    /// What of the request could not be read ([`CorruptPolicy::Skip`]), in its order.
    pub skipped: Vec<Skipped>,
}

/// What a model takes of a batch.
#[derive(Debug, Clone, PartialEq)]
pub enum BatchInputs {
    /// Images.
    Pixels {
        /// Row by row, of the shape below.
        bytes: Vec<u8>,
        /// `[n, 3, height, width]`.
        shape: [usize; 4],
    },
    /// Features.
    Features {
        /// Row by row, `[n, dim]`.
        values: Vec<f32>,
        /// Numbers of a row.
        dim: usize,
    },
    /// Images that kept their shapes ([`WholeTransform`](crate::WholeTransform),
    /// [`RatioTransform`](crate::RatioTransform)), those of a shape together.
    Shapes(Vec<Alike>),
}

/// Images of a batch that have one shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alike {
    /// Which of the batch's items they are, ascending.
    pub places: Vec<usize>,
    /// Row by row, of the shape below.
    pub bytes: Vec<u8>,
    /// `[n, 3, height, width]`.
    pub shape: [usize; 4],
}

/// An item that was left out of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The item.
    pub id: ItemId,
    /// Why: one sentence that names the image.
    pub problem: String,
}

/// Decodes and transforms batches of images on threads of its own; of a data set of features it reads their
/// rows.
///
/// Each image's augmentation is drawn from its own generator, keyed by the seed, the epoch, the step,
/// the item, and which of its copies in the batch it is. So a batch is a function of its request, whatever the number of threads and
/// whatever was loaded before.
#[derive(Debug, Clone)]
pub struct Loader {
    inner: Arc<Inner>,
    cache: Option<Arc<ImageCache>>,
    kept: Option<KeptFeatures>,
    prefetch: usize,
}

/// Features that a frozen backbone has given of some items, in a file.
#[derive(Debug, Clone)]
pub struct KeptFeatures {
    rows: Arc<EmbeddingsFile>,
    ids: Arc<[ItemId]>,
}

impl KeptFeatures {
    /// Row `i` of the file is of item `ids[i]`; the ids ascend.
    ///
    /// # Errors
    ///
    /// [`DataError::Loader`] if there is not one row for each of the ids, or if these do not ascend.
    pub fn new(rows: EmbeddingsFile, ids: Vec<ItemId>) -> Result<Self, DataError> {
        if rows.rows() != ids.len() || !ids.is_sorted_by(|a, b| a < b) {
            return Err(DataError::Loader {
                problem: format!(
                    "{} has {} rows for {} items, which have to ascend",
                    rows.path().display(),
                    rows.rows(),
                    ids.len()
                ),
            });
        }
        Ok(Self {
            rows: Arc::new(rows),
            ids: ids.into(),
        })
    }
}

#[derive(Debug)]
struct Inner {
    dataset: Arc<Dataset>,
    transform: Transform,
    pool: ThreadPool,
    corrupt: CorruptPolicy,
    seed: u64,
}

impl Loader {
    /// A loader of `dataset`'s images through `transform`, such as a [`TrainTransform`](crate::TrainTransform)
    /// or an [`EvalTransform`](crate::EvalTransform).
    ///
    /// # Errors
    ///
    /// A field of `transform` out of its range, `prefetch` 0, threads that the system refuses.
    pub fn new(
        dataset: Arc<Dataset>,
        transform: impl Into<Transform>,
        config: LoaderConfig,
    ) -> Result<Self, DataError> {
        let transform = transform.into();
        transform.validate()?;
        let LoaderConfig {
            threads,
            prefetch,
            corrupt,
            seed,
        } = config;
        if prefetch == 0 {
            let problem = "prefetch is 0, but at least 1 batch has to be held".to_owned();
            return Err(DataError::Loader { problem });
        }
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|number| format!("recall-loader-{number}"))
            .build()
            .map_err(|error| DataError::Loader {
                problem: format!("threads is {threads}, and the system says: {error}"),
            })?;
        let inner = Inner {
            dataset,
            transform,
            pool,
            corrupt,
            seed,
        };
        Ok(Self {
            inner: Arc::new(inner),
            cache: None,
            kept: None,
            prefetch,
        })
    }

    /// Takes large images from `cache`, resized, and puts them there.
    #[must_use]
    pub fn with_cache(mut self, cache: Arc<ImageCache>) -> Self {
        self.cache = Some(cache);
        self
    }

    /// Hands out features instead of images. An item that has none is refused when it is asked for.
    #[must_use]
    pub fn with_features(mut self, features: KeptFeatures) -> Self {
        self.kept = Some(features);
        self
    }

    /// The data set that it loads from.
    pub fn dataset(&self) -> &Arc<Dataset> {
        &self.inner.dataset
    }

    /// Loads batches in the order of their requests, ahead of their being taken. Requests are pulled as
    /// there is room for their batches. Dropping what is returned stops the work.
    pub fn batches<I>(&self, requests: I) -> Batches
    where
        I: IntoIterator<Item = BatchRequest>,
        I::IntoIter: Send + 'static,
    {
        let requests = requests.into_iter();
        self.parts(requests.map(|request| {
            let all = 0..request.ids.len();
            (request, all)
        }))
    }

    /// The same of a part of each request, such as one of several processes takes: its items come out as they
    /// do in the whole batch. A part that is empty is a batch without items.
    pub fn parts<I>(&self, requests: I) -> Batches
    where
        I: IntoIterator<Item = (BatchRequest, Range<usize>)>,
        I::IntoIter: Send + 'static,
    {
        // One finished batch waits in the hands of the sender, the others in the channel.
        let (sender, receiver) = sync_channel(self.prefetch - 1);
        let stop = Arc::new(AtomicBool::new(false));
        let requests = requests.into_iter();
        let loader = self.clone();
        let stopped = Arc::clone(&stop);
        let work = move || {
            for (request, part) in requests {
                let Some(batch) = loader.load_unless(request, part, &stopped) else {
                    return;
                };
                let last = batch.is_err();
                if sender.send(batch).is_err() || last {
                    return;
                }
            }
        };
        let spawned = std::thread::Builder::new()
            .name("recall-loader".into())
            .spawn(work);
        match spawned {
            Ok(thread) => Batches {
                receiver: Some(receiver),
                thread: Some(thread),
                stop,
                refused: None,
            },
            Err(error) => {
                let problem = format!("the system refuses another thread: {error}");
                let refused = Some(DataError::Loader { problem });
                Batches {
                    receiver: None,
                    thread: None,
                    stop,
                    refused,
                }
            }
        }
    }

    /// Loads one batch, on the calling thread's time.
    ///
    /// # Errors
    ///
    /// An id that the data set does not have; with [`CorruptPolicy::Error`], an image that cannot be read.
    pub fn load(&self, request: BatchRequest) -> Result<Batch, DataError> {
        let never = AtomicBool::new(false);
        let all = 0..request.ids.len();
        self.load_unless(request, all, &never).unwrap_or_else(|| {
            Err(DataError::Loader {
                problem: "the work was stopped".to_owned(),
            })
        })
    }

    /// `None` if it was stopped.
    fn load_unless(
        &self,
        request: BatchRequest,
        part: Range<usize>,
        stop: &AtomicBool,
    ) -> Option<Result<Batch, DataError>> {
        let dataset = &self.inner.dataset;
        if let Some(error) = request.ids.iter().find_map(|&id| dataset.item(id).err()) {
            return Some(Err(error));
        }
        let Some(ids) = request.ids.get(part.clone()) else {
            let problem = format!(
                "items {part:?} of a batch of {} are no part of it",
                request.ids.len()
            );
            return Some(Err(DataError::Loader { problem }));
        };
        match (&self.kept, dataset.features()) {
            (Some(kept), _) => Some(self.inner.load_kept(kept, ids.to_vec())),
            (None, Some(features)) => Some(self.inner.load_given(features, ids.to_vec())),
            (None, None) => (self.inner).load(&request, part, self.cache.as_deref(), stop),
        }
    }
}

impl Inner {
    /// `None` if it was stopped.
    fn load(
        &self,
        request: &BatchRequest,
        part: Range<usize>,
        cache: Option<&ImageCache>,
        stop: &AtomicBool,
    ) -> Option<Result<Batch, DataError>> {
        match &self.transform {
            Transform::Train(transform) => {
                let apply = |picture: &Picture<'_>, key: Key, place: &mut [u8]| {
                    let mut rng = key.generator(Purpose::AUGMENTATION);
                    transform.apply_to(picture, &mut rng, place)
                };
                self.load_sized(transform.size, apply, request, part, cache, stop)
            }
            Transform::Eval(transform) => {
                let apply = |picture: &Picture<'_>, _: Key, place: &mut [u8]| {
                    transform.apply_to(picture, place)
                };
                self.load_sized([transform.crop; 2], apply, request, part, cache, stop)
            }
            Transform::Ratio(transform) => {
                let apply = |picture: &Picture<'_>, key: Key| {
                    transform.pixels(picture, &mut key.generator(Purpose::AUGMENTATION))
                };
                self.load_shaped(apply, Order::ByShape, request, part, cache, stop)
            }
            Transform::Whole(transform) => {
                let apply = |picture: &Picture<'_>, _: Key| transform.pixels(picture);
                self.load_shaped(apply, Order::AsAsked, request, part, cache, stop)
            }
        }
    }

    /// Images of one size; `apply` writes one.
    fn load_sized(
        &self,
        [height, width]: [usize; 2],
        apply: impl Fn(&Picture<'_>, Key, &mut [u8]) -> Result<(), DataError> + Sync,
        request: &BatchRequest,
        part: Range<usize>,
        cache: Option<&ImageCache>,
        stop: &AtomicBool,
    ) -> Option<Result<Batch, DataError>> {
        let keys = self.keys(request, part.clone());
        let mut ids = request.ids[part].to_vec();
        let image_bytes = 3 * height * width;
        let mut pixels = vec![0; ids.len() * image_bytes];
        let results: Vec<Result<(), DataError>> = self.pool.install(|| {
            ids.par_iter()
                .zip(&keys)
                .zip(pixels.par_chunks_exact_mut(image_bytes))
                .map(|((&id, &key), place)| {
                    if !stop.load(Ordering::Relaxed) {
                        self.load_image(id, cache, |picture| apply(picture, key, place))?;
                    }
                    Ok(())
                })
                .collect()
        });
        if stop.load(Ordering::Relaxed) {
            return None;
        }

        let (mut kept, mut skipped) = (0, Vec::new());
        for (place, result) in results.into_iter().enumerate() {
            match (result, self.corrupt) {
                (Ok(()), _) => {
                    if kept < place {
                        let from = place * image_bytes;
                        pixels.copy_within(from..from + image_bytes, kept * image_bytes);
                        ids[kept] = ids[place];
                    }
                    kept += 1;
                }
                (
                    Err(error @ (DataError::Decode { .. } | DataError::Io { .. })),
                    CorruptPolicy::Skip,
                ) => skipped.push(Skipped {
                    id: ids[place],
                    problem: error.to_string(),
                }),
                (Err(error), _) => return Some(Err(error)),
            }
        }
        ids.truncate(kept);
        pixels.truncate(kept * image_bytes);
        let labels = self.dataset.labels(&ids);
        Some(Ok(Batch {
            ids,
            labels,
            inputs: BatchInputs::Pixels {
                bytes: pixels,
                shape: [kept, 3, height, width],
            },
            skipped,
        }))
    }

    /// What the augmentation of each item of a part is drawn from.
    fn keys(&self, request: &BatchRequest, part: Range<usize>) -> Vec<Key> {
        // Which of its copies an item is counts in the whole batch.
        let copies = copies(&request.ids);
        let items = copies[part.clone()].iter().zip(&request.ids[part]);
        items
            .map(|(&copy, &id)| Key {
                seed: self.seed,
                epoch: request.epoch,
                step: request.step,
                item: copy << 40 | id as u64,
            })
            .collect()
    }

    /// Hands the pixels of an item to `apply`.
    fn load_image<T>(
        &self,
        id: ItemId,
        cache: Option<&ImageCache>,
        apply: impl FnOnce(&Picture<'_>) -> Result<T, DataError>,
    ) -> Result<T, DataError> {
        let item = self.dataset.item(id)?;
        let bbox = item.bbox.filter(|_| self.dataset.crops_to_boxes());
        let upright = self.dataset.turns_upright();
        if let Some(image) = cache.map_or(Ok(None), |cache| cache.image(item, bbox, upright))? {
            return apply(&Picture::of(&image)?);
        }
        let (bytes, name) = (item.encoded_bytes()?, item.location());
        let mut picture = Picture::open(&bytes, &name, upright)?;
        if let Some(bbox) = bbox {
            picture.crop_to(bbox)?;
        }
        apply(&picture)
    }
}

/// For each place, how many places before it have the same item: each copy is augmented anew.
fn copies(ids: &[ItemId]) -> Vec<u64> {
    let mut seen: HashMap<ItemId, u64> = HashMap::with_capacity(ids.len());
    ids.iter()
        .map(|&id| {
            let count = seen.entry(id).or_default();
            *count += 1;
            *count - 1
        })
        .collect()
}

impl Batch {
    /// The bytes of its images; empty if it has features instead, or images that [kept their
    /// shapes](BatchInputs::Shapes).
    pub fn pixels(&self) -> &[u8] {
        match &self.inputs {
            BatchInputs::Pixels { bytes, .. } => bytes,
            BatchInputs::Features { .. } | BatchInputs::Shapes(_) => &[],
        }
    }

    /// `[n, 3, height, width]` of its images, `[n, dim, 1, 1]` of features, `[n, 3, 0, 0]` of images that have no
    /// shape in common.
    pub fn shape(&self) -> [usize; 4] {
        match self.inputs {
            BatchInputs::Pixels { shape, .. } => shape,
            BatchInputs::Features { dim, .. } => [self.ids.len(), dim, 1, 1],
            BatchInputs::Shapes(_) => [self.ids.len(), 3, 0, 0],
        }
    }
}

/// Batches as they are loaded, see [`Loader::batches`]. After an error nothing more comes.
#[derive(Debug)]
pub struct Batches {
    /// `None` once there is nothing more to come.
    receiver: Option<Receiver<Result<Batch, DataError>>>,
    thread: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    /// Why there is no thread, to be told once.
    refused: Option<DataError>,
}

impl Iterator for Batches {
    type Item = Result<Batch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.refused.take() {
            return Some(Err(error));
        }
        match self.receiver.as_ref()?.recv() {
            Ok(batch) => Some(batch),
            Err(_) => {
                self.receiver = None;
                // The requests are the caller's code: its panic is not taken for the end.
                if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
                    std::panic::resume_unwind(panic);
                }
                None
            }
        }
    }
}

impl std::iter::FusedIterator for Batches {}

impl Drop for Batches {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // First the receiver, so that a thread that waits to hand over a batch wakes up.
        self.receiver = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the requests has nobody left to go to.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
