//! Retrieval data sets, class-balanced batches and a threaded image pipeline.
//!
//! From files to pixels in four steps:
//!
//! 1. [`DataSpec`] names a data set (`emoji`, `folder:DIR`, `csv:FILE`) and opens it;
//! 2. [`Dataset`] is what was found: items, classes, splits and roles;
//! 3. [`BatchSampler`] draws the class-balanced batches of an epoch;
//! 4. [`Loader`] decodes and augments the images of each batch on threads of its own.
//!
//! ```
//! use std::sync::Arc;
//!
//! use recall_data::{
//!     BatchRequest, BatchSamplerConfig, DataSpec, EvalTransform, Loader, LoaderConfig, Split,
//! };
//!
//! # fn main() -> Result<(), recall_data::DataError> {
//! let dataset = Arc::new("emoji".parse::<DataSpec>()?.open()?);
//! let ids = dataset.split(Split::Train);
//! let sampler = BatchSamplerConfig::new(64, 4).init(ids, &dataset.labels(ids))?;
//!
//! let transform = EvalTransform { resize: 32, crop: 32, longest_side: None };
//! let loader = Loader::new(Arc::clone(&dataset), transform, LoaderConfig::default())?;
//! let requests: Vec<_> = sampler.requests(0).take(2).collect();
//! for batch in loader.batches(requests) {
//!     assert_eq!(batch?.shape(), [64, 3, 32, 32]);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Everything random is a pure function of `(seed, epoch, step, item)`, see [`random`]: nothing
//! depends on the number of threads, and no generator state has to be kept to resume a run.
//!
//! An [`ImageCache`] keeps large images resized on disk, for the epochs after the first.
//!
//! The crate knows files and pixels, no tensors and no model.

pub mod check;
pub mod names;
pub mod random;

mod benchmark;
mod by_name;
mod cache;
mod class_names;
mod dataset;
mod decode;
mod error;
mod formats;
mod hold_out;
mod loader;
mod picture;
mod pixels;
mod readers;
mod sampler;
mod spec;
mod transform;

pub use benchmark::Benchmark;
pub use by_name::{name_hash, split_by_name};
pub use cache::{CacheConfig, CacheStats, ImageCache};
pub use class_names::{class_names_path, read_class_names};
pub use dataset::{
    BoundingBox, Dataset, GroundTruth, ImageSource, Item, ItemId, Note, Part, Protocol,
    PublishedCount, Role, Split, Subset,
};
pub use decode::{MAX_PIXELS, decode_rgb, decode_upright};
pub use error::DataError;
pub use formats::pickle;
pub use hold_out::{HeldOut, hold_out_classes, training_and_validation};
pub use loader::{
    Alike, Batch, BatchInputs, BatchRequest, Batches, CorruptPolicy, KeptFeatures, Loader,
    LoaderConfig, Skipped, row_problem,
};
pub use readers::is_image;
pub use sampler::{BatchSampler, BatchSamplerConfig, ClassCount, Sampling, SmallClasses};
pub use spec::DataSpec;
pub use transform::{
    ColourJitter, EvalTransform, RandomAffine, RandomResizedCrop, RatioTransform, TrainTransform,
    Transform, TransformConfig, WholeTransform,
};
