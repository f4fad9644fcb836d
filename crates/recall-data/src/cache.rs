//! A folder of images that were decoded and made smaller before.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use image::RgbImage;
use serde::{Deserialize, Serialize};

use crate::picture::{Picture, Region};
use crate::transform::resize_rgb;
use crate::{BoundingBox, DataError, Item};

mod entry;

#[cfg(test)]
mod tests;

/// Temporary files of this age were left behind by a process that is no more.
const ABANDONED: Duration = Duration::from_secs(24 * 3_600);

/// Where resized images are kept, and how large.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct CacheConfig {
    /// A folder of its own. It is made if it is not there; deleting it is safe at any time.
    #[cfg_attr(feature = "schemars", schemars(title = "a path"))]
    pub folder: PathBuf,
    /// Images (or their boxes) whose shorter side is longer than this are kept with a shorter side
    /// of this length, in pixels. Others are read from their files as ever.
    ///
    /// From 1 to 16,384.
    #[cfg_attr(feature = "schemars", schemars(range(min = 1, max = 16_384)))]
    pub shorter_side: usize,
}

/// Keeps large images resized on disk, so that only the first epoch has to decode them.
///
/// A loader that is given one ([`Loader::with_cache`](crate::Loader::with_cache)) transforms the
/// resized image, whether it was kept or has just been made: the pixels of a run do not depend on
/// what the cache holds. They are others than without a cache, as a crop is then resized twice;
/// choose `shorter_side` well above what comes out of the transform.
///
/// An entry is the image's bytes as they are, with a header and a checksum. At 341 x 256 it is read
/// in 0.05 ms from the system's memory of files, where a PNG takes 1 ms, as much as the JPEG that
/// the cache is to spare; and it has 0.26 MB, where the PNG has 0.19.
///
/// An entry belongs to a path, its size and time of change, the box, whether it is turned upright, and
/// `shorter_side`. A changed
/// file is noticed, and so is an entry that is damaged or was cut short: it is made again. Any
/// number of processes may share a folder. If the disk is full, a warning is logged and nothing
/// more is written.
#[derive(Debug)]
pub struct ImageCache {
    folder: PathBuf,
    shorter_side: u32,
    hits: AtomicU64,
    stored: AtomicU64,
    damaged: AtomicU64,
    /// Whether writing failed.
    full: AtomicBool,
    /// Numbers temporary files.
    next: AtomicU64,
}

/// What a cache has done in this process, and what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheStats {
    /// Images that were found.
    pub hits: u64,
    /// Images that were resized and written.
    pub stored: u64,
    /// Entries that were damaged, and were made again.
    pub damaged: u64,
    /// Whether writing failed, after which nothing more was written.
    pub stopped: bool,
    /// Entries in the folder, of all processes.
    pub entries: u64,
    /// Their size in bytes.
    pub bytes: u64,
}

impl fmt::Display for CacheStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} images, {:.1} MB; {} found, {} written, {} damaged{}",
            self.entries,
            self.bytes as f64 / 1e6,
            self.hits,
            self.stored,
            self.damaged,
            if self.stopped { "; writing failed" } else { "" }
        )
    }
}

impl ImageCache {
    /// Opens the folder, or makes it.
    ///
    /// # Errors
    ///
    /// `shorter_side` out of its range, a folder that cannot be made.
    pub fn open(config: CacheConfig) -> Result<Self, DataError> {
        let CacheConfig {
            folder,
            shorter_side,
        } = config;
        crate::transform::check_side("cache.shorter_side", shorter_side)?;
        fs::create_dir_all(&folder).map_err(|source| DataError::io(&folder, source))?;
        let cache = Self {
            folder,
            shorter_side: shorter_side as u32,
            hits: AtomicU64::new(0),
            stored: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
            full: AtomicBool::new(false),
            next: AtomicU64::new(0),
        };
        cache.tidy();
        Ok(cache)
    }

    /// What was done, and what there is. Walks through the folder.
    pub fn stats(&self) -> CacheStats {
        let (mut entries, mut bytes) = (0, 0);
        for path in files(&self.folder) {
            if path.extension() == Some(OsStr::new(ENTRY)) {
                entries += 1;
                bytes += fs::metadata(&path).map_or(0, |metadata| metadata.len());
            }
        }
        CacheStats {
            hits: self.hits.load(Ordering::Relaxed),
            stored: self.stored.load(Ordering::Relaxed),
            damaged: self.damaged.load(Ordering::Relaxed),
            stopped: self.full.load(Ordering::Relaxed),
            entries,
            bytes,
        }
    }

    /// The resized image of an item, turned upright if that is asked for, cut to `bbox`; `None` if it is not large enough to be kept.
    pub(crate) fn image(
        &self,
        item: &Item,
        bbox: Option<BoundingBox>,
        upright: bool,
    ) -> Result<Option<RgbImage>, DataError> {
        let key = self.key(item, bbox, upright)?;
        let path = self.place(&key);
        // An entry that cannot be read is none.
        if let Ok(bytes) = fs::read(&path) {
            if let Some(image) = entry::read(bytes, &key) {
                self.hits.fetch_add(1, Ordering::Relaxed);
                return Ok(Some(image));
            }
            self.damaged.fetch_add(1, Ordering::Relaxed);
        }
        let (bytes, name) = (item.encoded_bytes()?, item.location());
        let mut picture = Picture::open(&bytes, &name, upright)?;
        if let Some(bbox) = bbox {
            picture.crop_to(bbox)?;
        }
        let (width, height) = picture.dimensions();
        let whole = Region::whole(width, height);
        let (shorter, longer) = (width.min(height), width.max(height));
        if shorter <= self.shorter_side {
            return Ok(None);
        }
        let resized = u64::from(longer) * u64::from(self.shorter_side) / u64::from(shorter);
        let [width, height] = [width, height].map(|side| match side == shorter {
            true => self.shorter_side,
            false => resized as u32,
        });
        let pixels = resize_rgb(&picture, whole, width, height)?;
        let image = RgbImage::from_raw(width, height, pixels).unwrap_or_default();
        if !self.full.load(Ordering::Relaxed) {
            match self.write(&path, &entry::bytes(&image, &key)) {
                Ok(()) => {
                    self.stored.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => self.give_up(&path, &error),
            }
        }
        Ok(Some(image))
    }

    /// All that the pixels of an entry depend on.
    fn key(
        &self,
        item: &Item,
        bbox: Option<BoundingBox>,
        upright: bool,
    ) -> Result<Vec<u8>, DataError> {
        let side = self.shorter_side;
        let part = bbox.map(|bbox| [bbox.left(), bbox.top(), bbox.right(), bbox.bottom()]);
        let mut key = format!("{side} {part:?} {upright} ").into_bytes();
        key.extend(item.stamp()?);
        Ok(key)
    }

    /// The file of an entry, in one of 256 folders. Keys that fall together replace each other, as
    /// an entry holds its key.
    fn place(&self, key: &[u8]) -> PathBuf {
        // FNV-1a.
        let hash = key.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        let name = format!("{hash:016x}.{ENTRY}");
        self.folder.join(&name[..2]).join(name)
    }

    /// Writes beside the place and renames, so that nobody sees half an entry. It is not waited for
    /// the disk: what a crash of the machine leaves of it, the checksum finds.
    fn write(&self, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        // Other caches of this process count for themselves: its address tells it from them.
        let temporary = path.with_extension(format!("{process}-{self:p}-{number}.{TEMPORARY}"));
        let written = fs::write(&temporary, bytes).and_then(|()| fs::rename(&temporary, path));
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written
    }

    fn give_up(&self, path: &Path, error: &std::io::Error) {
        if !self.full.swap(true, Ordering::Relaxed) {
            log::warn!(
                "cannot write {}: {error}; images are no longer kept in the cache {}",
                path.display(),
                self.folder.display()
            );
        }
    }

    /// Deletes what processes that ended early have left.
    fn tidy(&self) {
        for path in files(&self.folder) {
            let age = || {
                let changed = fs::metadata(&path).ok()?.modified().ok()?;
                SystemTime::now().duration_since(changed).ok()
            };
            if path.extension() == Some(OsStr::new(TEMPORARY))
                && age().is_some_and(|age| age > ABANDONED)
            {
                // Another process may have been faster.
                let _ = fs::remove_file(&path);
            }
        }
    }
}

/// Endings of files.
const ENTRY: &str = "rgb";
const TEMPORARY: &str = "tmp";

/// The files in the folders of a folder, as far as they can be seen.
fn files(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let within = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    within(folder).flat_map(move |entry| within(&entry.path()).map(|entry| entry.path()))
}
