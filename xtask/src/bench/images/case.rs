//! One kind of images and what is done to them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, ensure};
use recall_data::{
    BatchRequest, Dataset, EvalTransform, ImageSource, Item, Loader, LoaderConfig, Split,
    TrainTransform, Transform,
};
use serde::{Deserialize, Serialize};

use crate::bench::machine::peak_memory;
use crate::bench::process::Measure;

/// Images of a batch, here and there.
pub const BATCH: usize = 100;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// Random resized crop to 224 and flip, of 500 x 375.
    Train,
    /// Resize to 256 and crop to 224.
    Eval,
    /// As the first, of 2000 x 1500.
    TrainLarge,
}

impl Work {
    /// All, in the order of the table.
    pub const ALL: [Self; 3] = [Self::Train, Self::Eval, Self::TrainLarge];

    /// Width and height of the files, in pixels.
    pub fn sides(self) -> [u32; 2] {
        match self {
            Self::Train | Self::Eval => [500, 375],
            Self::TrainLarge => [2_000, 1_500],
        }
    }

    /// How many different files there are.
    pub fn files(self) -> usize {
        self.share(128)
    }

    /// Whether it is the random crop.
    pub fn trains(self) -> bool {
        self != Self::Eval
    }

    /// So many small images are how many of these, by their area.
    pub fn share(self, count: usize) -> usize {
        let [width, height] = self.sides();
        (count * 500 * 375 / (width * height) as usize).max(1)
    }
}

/// What one process measures.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Case {
    pub folder: PathBuf,
    pub work: Work,
    pub count: usize,
    pub threads: usize,
}

/// What it found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measured {
    pub images_per_second: f64,
    /// Peak of the process after a tenth of the images, and after all.
    #[serde(default)]
    pub peak_mb: [f64; 2],
}

impl Case {
    fn loader(&self) -> anyhow::Result<Loader> {
        let mut paths: Vec<PathBuf> = std::fs::read_dir(&self.folder)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        paths.sort();
        let items = paths.into_iter().map(|path| {
            let name = path.display().to_string();
            Item::new(name, ImageSource::File(path), 0, Split::Train)
        });
        let dataset = Dataset::from_items("photos", items.collect(), vec!["photo".into()])?;
        let transform: Transform = match self.work.trains() {
            true => TrainTransform::default().into(),
            false => EvalTransform::default().into(),
        };
        let config = LoaderConfig {
            threads: self.threads,
            ..LoaderConfig::default()
        };
        Ok(Loader::new(Arc::new(dataset), transform, config)?)
    }
}

impl Measure for Case {
    const COMMAND: &'static str = "images-case";
    type Measured = Measured;

    fn measure(&self) -> anyhow::Result<Self::Measured> {
        let loader = self.loader()?;
        let files = loader.dataset().items().len();
        let batches = self.count.div_ceil(BATCH);
        let requests = (0..=batches).map(move |step| BatchRequest {
            epoch: 0,
            step: step as u64,
            ids: (0..BATCH)
                .map(|place| (step * BATCH + place) % files)
                .collect(),
        });
        let mut loaded = loader.batches(requests);
        // The first batch is a warm-up.
        loaded.next().context("no batch came")??;
        let start = Instant::now();
        let (mut images, mut early) = (0, 0);
        for batch in loaded {
            images += batch?.ids.len();
            if early == 0 && images >= self.count / 10 {
                early = peak_memory()?;
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        ensure!(images >= self.count, "only {images} images came");
        Ok(Measured {
            images_per_second: images as f64 / seconds,
            peak_mb: [early, peak_memory()?].map(|bytes| bytes as f64 / 1e6),
        })
    }
}
