//! `cargo xtask glyphs`: a retrieval set at the scale of Stanford Online Products, from fonts.
//!
//! One Chinese character is a class, and its drawings by several fonts are the images: about 21,000 classes and 140,000
//! images of 32 × 32 pixels with the fonts of Debian's packages. Nothing of it is in the repository: the fonts have
//! licences of their own, and the command draws the same pictures wherever the same fonts are.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use image::{GrayImage, Luma};
use rayon::prelude::*;
use resvg::tiny_skia::{FillRule, Paint, PathBuilder, Pixmap, Transform};
use ttf_parser::{Face, OutlineBuilder};

/// Pixels a side.
const SIDE: u32 = 32;
/// Pixels of an em.
const EM: f32 = 28.0;
/// Fonts that a character needs at least.
const LEAST: usize = 4;
/// The block of unified ideographs.
const CHARACTERS: std::ops::Range<u32> = 0x4E00..0xA000;

/// Parts of the names of font files, and the Debian packages that have them.
const FONTS: [(&str, &str); 10] = [
    ("NotoSansCJK-Regular", "fonts-noto-cjk"),
    ("NotoSerifCJK-Regular", "fonts-noto-cjk"),
    ("wqy-zenhei", "fonts-wqy-zenhei"),
    ("wqy-microhei", "fonts-wqy-microhei"),
    ("ukai", "fonts-arphic-ukai"),
    ("uming", "fonts-arphic-uming"),
    ("TW-Kai-98", "fonts-cns11643-kai"),
    ("TW-Sung-98", "fonts-cns11643-sung"),
    ("ipaexm", "fonts-ipaexfont-mincho"),
    ("ipaexg", "fonts-ipaexfont-gothic"),
];

#[derive(clap::Args)]
pub struct Args {
    /// A new folder, which gets a folder for each character, and `glyphs.csv`
    out: PathBuf,
    /// The first so many characters only
    #[arg(long, value_name = "N")]
    classes: Option<usize>,
    /// Where fonts are looked for
    #[arg(long, value_name = "DIR", default_value = "/usr/share/fonts")]
    fonts: PathBuf,
}

pub fn run(args: &Args) -> Result<()> {
    ensure!(
        !args.out.exists(),
        "{} is there already: name a new folder",
        args.out.display()
    );
    let files = files(&args.fonts)?;
    let mut fonts = Vec::new();
    for (name, package) in FONTS {
        let mut found = files.iter().filter(|file| {
            let file = file.file_name().and_then(|name| name.to_str());
            file.is_some_and(|file| file.contains(name))
        });
        match found.next() {
            Some(path) => {
                let bytes =
                    fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
                fonts.push((name, bytes));
            }
            None => eprintln!("no {name}: the package {package} has it"),
        }
    }
    ensure!(
        fonts.len() >= LEAST,
        "{} of {} fonts are in {}; {LEAST} are needed",
        fonts.len(),
        FONTS.len(),
        args.fonts.display()
    );
    let faces = (fonts.iter())
        .map(|(name, bytes)| {
            let face = Face::parse(bytes, 0).with_context(|| format!("{name} is no font"))?;
            Ok((*name, face))
        })
        .collect::<Result<Vec<_>>>()?;
    let all: Vec<char> = (CHARACTERS.filter_map(char::from_u32))
        .filter(|&character| {
            let have = faces
                .iter()
                .filter(|(_, face)| face.glyph_index(character).is_some());
            have.count() >= LEAST
        })
        .collect();
    let wanted = &all[..all.len().min(args.classes.unwrap_or(usize::MAX))];
    let drawn: Vec<Vec<&str>> = (wanted.par_iter())
        .map(|&character| draw_class(&args.out, character, &faces))
        .collect::<Result<_>>()?;

    let table = args.out.join("glyphs.csv");
    let mut writer = csv::Writer::from_path(&table)
        .with_context(|| format!("cannot write {}", table.display()))?;
    writer.write_record(["path", "label"])?;
    let mut images = 0;
    for (&character, names) in wanted.iter().zip(&drawn) {
        let label = label(character);
        for name in names {
            writer.write_record([format!("{label}/{name}.png"), label.clone()])?;
            images += 1;
        }
    }
    writer.flush()?;
    println!(
        "{} classes, {images} images by {} fonts: {}",
        wanted.len(),
        faces.len(),
        table.display()
    );
    Ok(())
}

/// Font files below a folder, in the order of their paths.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder)
            .with_context(|| format!("cannot read the folder {}", folder.display()))?;
        for entry in entries {
            let path = entry?.path();
            let kind = path.extension().and_then(|kind| kind.to_str());
            if path.is_dir() {
                folders.push(path);
            } else if kind.is_some_and(|kind| ["ttf", "ttc", "otf"].contains(&kind)) {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn label(character: char) -> String {
    format!("{:05x}", u32::from(character))
}

/// Writes what each font draws, without what another one has drawn already, and names these fonts.
fn draw_class<'a>(
    out: &Path,
    character: char,
    faces: &[(&'a str, Face<'_>)],
) -> Result<Vec<&'a str>> {
    let folder = out.join(label(character));
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let (mut seen, mut names) = (BTreeSet::new(), Vec::new());
    for (name, face) in faces {
        let Some(picture) = draw(character, face) else {
            continue;
        };
        if seen.insert(picture.as_raw().clone()) {
            let path = folder.join(format!("{name}.png"));
            picture
                .save(&path)
                .with_context(|| format!("cannot write {}", path.display()))?;
            names.push(*name);
        }
    }
    Ok(names)
}

/// Black on white, in the middle; none where the font has no outline of it.
fn draw(character: char, face: &Face<'_>) -> Option<GrayImage> {
    let mut outline = Outline(PathBuilder::new());
    let bounds = face.outline_glyph(face.glyph_index(character)?, &mut outline)?;
    let path = outline.0.finish()?;
    let scale = EM / f32::from(face.units_per_em());
    let middle = |low: i16, high: i16| (f32::from(low) + f32::from(high)) / 2.0;
    let (x, y) = (
        middle(bounds.x_min, bounds.x_max),
        middle(bounds.y_min, bounds.y_max),
    );
    let half = SIDE as f32 / 2.0;
    // The axis of a font points upwards.
    let place = Transform::from_row(scale, 0.0, 0.0, -scale, half - scale * x, half + scale * y);
    let mut pixels = Pixmap::new(SIDE, SIDE)?;
    let ink = Paint {
        anti_alias: true,
        ..Paint::default()
    };
    pixels.fill_path(&path, &ink, FillRule::Winding, place, None);
    Some(GrayImage::from_fn(SIDE, SIDE, |x, y| {
        let ink = pixels.pixel(x, y).map_or(0, |pixel| pixel.alpha());
        Luma([255 - ink])
    }))
}

/// From the outline of a font to a path.
struct Outline(PathBuilder);

impl OutlineBuilder for Outline {
    fn move_to(&mut self, x: f32, y: f32) {
        self.0.move_to(x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        self.0.line_to(x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        self.0.quad_to(x1, y1, x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        self.0.cubic_to(x1, y1, x2, y2, x, y);
    }

    fn close(&mut self) {
        self.0.close();
    }
}
