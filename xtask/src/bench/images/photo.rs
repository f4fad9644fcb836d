//! Made-up photographs: light, texture of all sizes and a few edges, as JPEG files of quality 90 with
//! halved colours.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::bench::machine::cores;

/// Writes `count` files, if they are not there yet. Returns their mean size in bytes.
pub fn write_all(
    folder: &Path,
    sides: [u32; 2],
    count: usize,
    threads: usize,
) -> anyhow::Result<u64> {
    if !folder.exists() {
        fs::create_dir(folder)?;
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()?;
        pool.install(|| {
            (0..count).into_par_iter().try_for_each(|number| {
                let path = folder.join(format!("{number:03}.jpg"));
                write(&path, sides, number as u64)
                    .with_context(|| format!("cannot write {}", path.display()))
            })
        })?;
    }
    let (mut bytes, mut files) = (0, 0);
    for entry in fs::read_dir(folder)? {
        bytes += entry?.metadata()?.len();
        files += 1;
    }
    Ok(bytes / files.max(1))
}

/// Photographs in classes of four, `train` of them to train on and a few to test: the table of them, which
/// `--data csv:` takes.
pub fn table(folder: &Path, sides: [u32; 2], train: usize) -> anyhow::Result<PathBuf> {
    const TEST: usize = 64;
    let images = folder.join(format!("images-{train}"));
    write_all(&images, sides, train + TEST, cores())?;
    let path = folder.join(format!("images-{train}.csv"));
    let mut table = csv::Writer::from_path(&path)?;
    table.write_record(["path", "label", "split"])?;
    for image in 0..train + TEST {
        let file = format!("{}/{image:03}.jpg", images.display());
        let split = if image < train { "train" } else { "test" };
        table.write_record([&file, &(image / 4).to_string(), split])?;
    }
    table.flush()?;
    Ok(path)
}

fn write(path: &Path, [width, height]: [u32; 2], seed: u64) -> anyhow::Result<()> {
    let pixels = pixels(width as usize, height as usize, seed);
    let mut encoder = Encoder::new_file(path, 90)?;
    encoder.set_sampling_factor(SamplingFactor::R_4_2_0);
    encoder.encode(&pixels, width as u16, height as u16, ColorType::Rgb)?;
    Ok(())
}

fn pixels(width: usize, height: usize, seed: u64) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let octaves = width.ilog2();
    // As in nature, what is twice as large is about twice as strong.
    let texture: Vec<_> = (0..octaves)
        .map(|octave| {
            (
                Lattice::new(1 << octave, &mut rng),
                8.0 * f32::powf(1.75, octave as f32),
            )
        })
        .collect();
    let tint: Vec<_> = (0..2).map(|_| Lattice::new(width / 6, &mut rng)).collect();
    let spots: Vec<[f32; 6]> = (0..8)
        .map(|_| std::array::from_fn(|_| rng.random::<f32>()))
        .collect();
    // The largest octaves would leave the range of a byte.
    let strength = |amplitude: f32| amplitude.min(60.0);
    let mut pixels = Vec::with_capacity(3 * width * height);
    for y in 0..height {
        for x in 0..width {
            let mut light = 120.0;
            for (lattice, amplitude) in &texture {
                light += strength(*amplitude) * lattice.at(x, y);
            }
            let [warm, green] = [0, 1].map(|i: usize| 40.0 * tint[i].at(x, y));
            let mut colour = [light + warm, light + green, light - warm];
            for [left, top, size, red, green, blue] in &spots {
                let across = x as f32 / width as f32 - left;
                let down = y as f32 / width as f32 - top;
                if across * across + down * down < 0.03 * size {
                    for (value, spot) in colour.iter_mut().zip([red, green, blue]) {
                        *value = 0.5 * *value + 128.0 * spot;
                    }
                }
            }
            pixels.extend(colour.map(|value| value as u8));
        }
    }
    pixels
}

/// Random values from -1 to 1 at the corners of squares, and between them what lies between.
struct Lattice {
    step: usize,
    values: Vec<f32>,
}

/// Corners across and down before they repeat.
const CORNERS: usize = 256;

impl Lattice {
    fn new(step: usize, rng: &mut ChaCha8Rng) -> Self {
        let mut value = || rng.random::<f32>() * 2.0 - 1.0;
        Self {
            step,
            values: (0..CORNERS * CORNERS).map(|_| value()).collect(),
        }
    }

    fn at(&self, x: usize, y: usize) -> f32 {
        let corner = |x: usize, y: usize| self.values[y % CORNERS * CORNERS + x % CORNERS];
        let (left, top) = (x / self.step, y / self.step);
        let across = (x % self.step) as f32 / self.step as f32;
        let down = (y % self.step) as f32 / self.step as f32;
        let row = |y: usize| {
            let start = corner(left, y);
            start + (corner(left + 1, y) - start) * across
        };
        let (upper, lower) = (row(top), row(top + 1));
        upper + (lower - upper) * down
    }
}
