//! What is written: the asset, its attributions, and a picture for a look at it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use rayon::prelude::*;
use recall_data::{Split, name_hash};

use super::render::{RenderedClass, SIDE};
use super::sources::{IconSet, Info, SCOPE, SETS};

/// First line of the asset. `recall-data` refuses a file that starts otherwise.
const MAGIC: &str = "recall-emoji 1";

/// The asset: a text index, an empty line, and the PNG files one after another in its order.
///
/// The index is UTF-8. Its first line is [`MAGIC`]; then one line a class with fields that are
/// separated by tabs: `train` or `test`, the name, the group, and for each image `SET=BYTES`.
pub(super) fn pack(classes: &[RenderedClass]) -> Result<Vec<u8>> {
    let encoded: Vec<Vec<Vec<u8>>> = classes
        .par_iter()
        .map(|class| {
            class
                .images
                .iter()
                .map(|image| png(&image.pixels))
                .collect()
        })
        .collect::<Result<_>>()?;

    let names: Vec<&str> = classes.iter().map(|class| class.name.as_str()).collect();
    let mut ordered = names.clone();
    ordered.sort_unstable_by_key(|name| (name_hash(name), *name));
    let train: BTreeSet<&str> = ordered[..names.len().div_ceil(2)].iter().copied().collect();
    let splits = names.iter().map(|name| match train.contains(name) {
        true => Split::Train,
        false => Split::Test,
    });
    let mut index = format!("{MAGIC}\n");
    for ((class, files), split) in classes.iter().zip(&encoded).zip(splits) {
        write!(index, "{split}\t{}\t{}", class.name, class.group)?;
        for (image, file) in class.images.iter().zip(files) {
            write!(index, "\t{}={}", image.set, file.len())?;
        }
        index.push('\n');
    }
    index.push('\n');

    let mut asset = index.into_bytes();
    encoded.iter().flatten().for_each(|file| asset.extend(file));
    Ok(asset)
}

/// A PNG of `pixels`, with the one of the fixed row filters that gives the fewest bytes.
fn png(pixels: &[u8]) -> Result<Vec<u8>> {
    let filters = [
        FilterType::NoFilter,
        FilterType::Sub,
        FilterType::Up,
        FilterType::Avg,
        FilterType::Paeth,
        FilterType::Adaptive,
    ];
    let mut best: Option<Vec<u8>> = None;
    for filter in filters {
        let mut bytes = Vec::new();
        PngEncoder::new_with_quality(&mut bytes, CompressionType::Best, filter).write_image(
            pixels,
            SIDE as u32,
            SIDE as u32,
            ExtendedColorType::Rgb8,
        )?;
        if best.as_ref().is_none_or(|best| bytes.len() < best.len()) {
            best = Some(bytes);
        }
    }
    best.context("no filter")
}

/// The attributions that go with the asset.
pub(super) fn licenses(sets: &[IconSet], classes: usize, images: usize) -> String {
    let mut text = format!(
        "# Artwork in emoji.bin\n\n\
         `emoji.bin` holds {images} images of {classes} emoji, made by `cargo xtask emoji` from the icon\n\
         sets below. Changes to the artwork: each drawing was rendered to {SIDE} x {SIDE} pixels over a\n\
         white background; skin-tone variants, flags and exact duplicates were left out. The\n\
         authors do not endorse this project. The licence of this repository's code does not\n\
         cover the artwork: each image stays under the licence of its set.\n\n\
         | set | title | authors | licence | artwork version | npm package |\n\
         |---|---|---|---|---|---|\n"
    );
    for set in sets {
        let Info {
            name,
            version,
            author,
            license,
        } = &set.info;
        text += &format!(
            "| `{}` | {name} | [{}]({}) | [{}]({}) (`{}`) | {} | `{SCOPE}/{}` {} |\n",
            set.key,
            author.name,
            author.url,
            license.title,
            license.url,
            license.spdx,
            version.as_deref().unwrap_or("not stated"),
            set.key,
            set.version
        );
    }
    text += "\nThe text of the Apache License 2.0 is `LICENSE-APACHE` at the root of this repository, that\n\
             of Creative Commons Attribution 4.0 International is at\n\
             <https://creativecommons.org/licenses/by/4.0/legalcode>.\n";
    let mut notices: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for set in sets {
        if let Some(notice) = set.notice {
            notices.entry(notice).or_default().push(set.key);
        }
    }
    for (notice, keys) in notices {
        let keys: Vec<_> = keys.iter().map(|key| format!("`{key}`")).collect();
        text += &format!("\n## {}\n\n```text\n{notice}\n```\n", keys.join(", "));
    }
    text
}

/// A picture of every `every`-th class, a class a row, a set a column, three times enlarged.
pub(super) fn contact_sheet(classes: &[RenderedClass], every: usize, path: &Path) -> Result<()> {
    const ZOOM: usize = 3;
    const CELL: usize = SIDE * ZOOM + 4;
    let rows: Vec<&RenderedClass> = classes.iter().step_by(every).collect();
    let (width, height) = (CELL * SETS.len(), CELL * rows.len());
    let mut sheet = image::RgbImage::from_pixel(width as u32, height as u32, image::Rgb([90; 3]));
    for (row, class) in rows.iter().enumerate() {
        for image in &class.images {
            let column = SETS
                .iter()
                .position(|set| set.key == image.set)
                .unwrap_or(0);
            for y in 0..SIDE * ZOOM {
                for x in 0..SIDE * ZOOM {
                    let at = ((y / ZOOM) * SIDE + x / ZOOM) * 3;
                    let pixel = [image.pixels[at], image.pixels[at + 1], image.pixels[at + 2]];
                    let (left, top) = (column * CELL + 2 + x, row * CELL + 2 + y);
                    sheet.put_pixel(left as u32, top as u32, image::Rgb(pixel));
                }
            }
        }
    }
    sheet
        .save(path)
        .with_context(|| format!("cannot write {}", path.display()))
}
