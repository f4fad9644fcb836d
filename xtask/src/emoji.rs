//! `cargo xtask emoji`: rebuild `crates/recall-data/assets/emoji/`.
//!
//! One emoji is drawn by several vendors. A class of the data set is the emoji, its images are the
//! vendors' drawings of it. The drawings come as SVG in the npm packages of [`SETS`], pinned to
//! exact versions, so that the same command writes the same bytes.
//!
//! # Which drawings belong together
//!
//! The sets do not agree on names, and each declares aliases of its own, so equal names alone
//! would tear some emoji apart and list others twice. Names are therefore joined:
//!
//! 1. names that sets give to the same Unicode code points (`chars.json`, variation selectors
//!    aside) are one emoji;
//! 2. a plain alias and its parent are one emoji, the aliases that most sets declare first;
//! 3. a join is refused where it would put two drawings of one set into one class: that set holds
//!    them to be two emoji (`cricket` the insect and `cricket-game`).
//!
//! Hidden icons are superseded ones that a set keeps for compatibility; they are not used. An alias
//! that mirrors its parent (`hFlip`) is a drawing of its own.
//!
//! # Which classes are kept
//!
//! Those that at least [`MIN_SETS`] sets draw, each in its own way, without skin-tone variants (they differ from one
//! another in a hue) and without Unicode's flags (the vendors' drawings are the same flag). The
//! name is the one that most sets draw the emoji under, the first in alphabetical order of several.
//! An image that repeats another one pixel for pixel is dropped, within a class and across classes.
//!
//! # Train and test
//!
//! Half of the classes each: those whose names have the lower [`name_hash`] train. It is written into the
//! asset, so that the data stay as they are whatever rule other data sets go by.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, ImageEncoder};
use rayon::prelude::*;
use recall_data::{Split, name_hash};
use resvg::tiny_skia::{Color, Pixmap, Transform};
use resvg::usvg;
use serde::Deserialize;

/// Side of an image of the asset, in pixels.
const SIDE: usize = 32;

/// The artwork is rendered this many times larger and averaged down: edges that meet inside a
/// pixel then mix their own colours, instead of letting the background through.
const OVERSAMPLING: usize = 4;

/// A class is drawn by at least this many sets.
const MIN_SETS: usize = 4;

/// The embedded asset may not grow past this.
const MAX_ASSET_BYTES: usize = 12_000_000;

/// First line of the asset. `recall-data` refuses a file that starts otherwise.
const MAGIC: &str = "recall-emoji 1";

/// An icon set as the npm registry has it.
struct SetSource {
    /// Name of the package within the scope [`SCOPE`], and of the set in the asset.
    key: &'static str,
    /// The exact version of the package.
    version: &'static str,
    /// The licence's text where the licence asks for it to go along.
    notice: Option<&'static str>,
}

const SCOPE: &str = "@iconify-json";

/// The sets, in the order in which their drawings appear within a class.
const SETS: [SetSource; 6] = [
    SetSource {
        key: "noto",
        version: "1.2.9",
        notice: None,
    },
    SetSource {
        key: "noto-v1",
        version: "1.2.5",
        notice: None,
    },
    SetSource {
        key: "twemoji",
        version: "1.2.5",
        notice: None,
    },
    SetSource {
        key: "fluent-emoji",
        version: "1.2.7",
        notice: Some(MICROSOFT_MIT),
    },
    SetSource {
        key: "fluent-emoji-flat",
        version: "1.2.6",
        notice: Some(MICROSOFT_MIT),
    },
    SetSource {
        key: "emojione",
        version: "1.2.3",
        notice: None,
    },
];

const MICROSOFT_MIT: &str = "\
MIT License

Copyright (c) Microsoft Corporation.

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the \"Software\"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED \"AS IS\", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.";

/// Sets whose categories are Unicode's groups, the first one that knows an emoji wins.
const GROUP_SETS: [&str; 4] = ["noto", "twemoji", "fluent-emoji-flat", "noto-v1"];

#[derive(clap::Args)]
pub struct Args {
    /// Read the packages from this folder, which holds `@iconify-json/`, instead of installing
    /// them with npm (a `node_modules` folder)
    #[arg(long, value_name = "DIR")]
    packages: Option<PathBuf>,

    /// Write the asset here
    #[arg(long, value_name = "DIR", default_value_os_t = default_out())]
    out: PathBuf,

    /// Also write a picture of some classes, one a row, for a look at the renderings
    #[arg(long, value_name = "FILE.png")]
    contact_sheet: Option<PathBuf>,

    /// The contact sheet shows every n-th class
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..))]
    contact_every: u32,
}

fn default_out() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new(""));
    workspace.join("crates/recall-data/assets/emoji")
}

pub fn run(args: &Args) -> Result<()> {
    let sets = match &args.packages {
        Some(dir) => read_sets(dir)?,
        None => {
            let dir = tempfile::tempdir().context("cannot make a temporary folder")?;
            install(dir.path())?;
            read_sets(&dir.path().join("node_modules"))?
        }
    };

    let classes = group(&sets)?;
    let drawn: usize = classes.iter().map(|class| class.drawings.len()).sum();
    println!(
        "{} emoji in at least {MIN_SETS} sets, {drawn} drawings",
        classes.len()
    );

    let rendered = render_all(&sets, &classes)?;
    let Distinct {
        classes,
        repeats,
        too_few,
    } = drop_duplicates(rendered);
    for line in repeats.iter().chain(&too_few) {
        println!("dropped: {line}");
    }
    let asset = pack(&classes)?;
    let images: usize = classes.iter().map(|class| class.images.len()).sum();
    ensure!(
        asset.len() <= MAX_ASSET_BYTES,
        "the asset has {} bytes, more than the {MAX_ASSET_BYTES} that the repository takes",
        asset.len()
    );

    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot make the folder {}", args.out.display()))?;
    write(&args.out.join("emoji.bin"), &asset)?;
    write(
        &args.out.join("LICENSES.md"),
        licenses(&sets, classes.len(), images).as_bytes(),
    )?;
    if let Some(path) = &args.contact_sheet {
        contact_sheet(&classes, args.contact_every as usize, path)?;
    }
    println!(
        "{} classes, {images} images, {} bytes in {}; dropped: {} exact duplicates, {} classes of \
         fewer than {MIN_SETS} distinct drawings",
        classes.len(),
        asset.len(),
        args.out.display(),
        repeats.len(),
        too_few.len()
    );
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

// ---------------------------------------------------------------------------------------------
// The packages
// ---------------------------------------------------------------------------------------------

/// An icon set, read and checked.
struct IconSet {
    key: &'static str,
    version: &'static str,
    notice: Option<&'static str>,
    info: Info,
    /// What the set draws: its visible icons, and the mirrored ones among its aliases.
    drawings: BTreeMap<String, Drawing>,
    /// Plain aliases, as (alias, parent).
    aliases: Vec<(String, String)>,
    /// Names by Unicode code points, variation selectors removed.
    chars: BTreeMap<String, String>,
    /// Categories by name of icon.
    categories: BTreeMap<String, Vec<String>>,
}

/// One drawing: SVG elements and the box that they fill.
struct Drawing {
    body: String,
    left: f64,
    top: f64,
    width: f64,
    height: f64,
    mirrored: bool,
}

#[derive(Deserialize)]
struct Info {
    name: String,
    version: Option<String>,
    author: Author,
    license: License,
}

#[derive(Deserialize)]
struct Author {
    name: String,
    url: String,
}

#[derive(Deserialize)]
struct License {
    title: String,
    spdx: String,
    url: String,
}

#[derive(Deserialize)]
struct Icons {
    icons: BTreeMap<String, Icon>,
    #[serde(default)]
    aliases: BTreeMap<String, Alias>,
    #[serde(flatten)]
    frame: Frame,
}

#[derive(Deserialize)]
struct Icon {
    body: String,
    #[serde(default)]
    hidden: bool,
    #[serde(flatten)]
    frame: Frame,
}

/// The box of an icon; what is not given is inherited from the set, then 16 units at the origin.
#[derive(Deserialize, Default, Clone, Copy)]
struct Frame {
    left: Option<f64>,
    top: Option<f64>,
    width: Option<f64>,
    height: Option<f64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Alias {
    parent: String,
    #[serde(default)]
    h_flip: bool,
    #[serde(default)]
    hidden: bool,
}

#[derive(Deserialize)]
struct PackageVersion {
    version: String,
}

#[derive(Deserialize, Default)]
struct Metadata {
    #[serde(default)]
    categories: BTreeMap<String, Vec<String>>,
}

/// Installs the pinned packages below `dir`. Their own dependency holds types only and is harmless.
fn install(dir: &Path) -> Result<()> {
    let mut npm = Command::new("npm");
    npm.args([
        "install",
        "--no-save",
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        "--prefix",
    ])
    .arg(dir)
    .args(
        SETS.iter()
            .map(|set| format!("{SCOPE}/{}@{}", set.key, set.version)),
    );
    let status = npm
        .status()
        .context("cannot start npm: install it, or give --packages DIR")?;
    ensure!(
        status.success(),
        "npm could not install the packages ({status})"
    );
    Ok(())
}

fn read_sets(dir: &Path) -> Result<Vec<IconSet>> {
    SETS.par_iter()
        .map(|source| read_set(source, &dir.join(SCOPE).join(source.key)))
        .collect()
}

fn read_json<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<T> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not as expected", path.display()))
}

fn read_set(source: &SetSource, dir: &Path) -> Result<IconSet> {
    let package: PackageVersion = read_json(&dir.join("package.json"))?;
    ensure!(
        package.version == source.version,
        "{} holds version {}, but the asset is made from {}; change the version in xtask to move on",
        dir.display(),
        package.version,
        source.version
    );
    let file: Icons = read_json(&dir.join("icons.json"))?;
    let metadata: Metadata = read_json(&dir.join("metadata.json"))?;
    let chars: BTreeMap<String, String> = read_json(&dir.join("chars.json"))?;

    let mut drawings = BTreeMap::new();
    let draw = |icon: &Icon, mirrored| {
        let of = |get: fn(&Frame) -> Option<f64>, default| {
            get(&icon.frame)
                .or_else(|| get(&file.frame))
                .unwrap_or(default)
        };
        Drawing {
            body: icon.body.clone(),
            left: of(|frame| frame.left, 0.0),
            top: of(|frame| frame.top, 0.0),
            width: of(|frame| frame.width, 16.0),
            height: of(|frame| frame.height, 16.0),
            mirrored,
        }
    };
    for (name, icon) in file.icons.iter().filter(|(_, icon)| !icon.hidden) {
        drawings.insert(name.clone(), draw(icon, false));
    }
    let mut aliases = Vec::new();
    for (name, alias) in file.aliases.iter().filter(|(_, alias)| !alias.hidden) {
        let Some(icon) = file.icons.get(&alias.parent) else {
            bail!(
                "{}: the alias {name} leads to {}, which is no icon",
                source.key,
                alias.parent
            );
        };
        if !alias.h_flip {
            aliases.push((name.clone(), alias.parent.clone()));
        } else if !icon.hidden {
            drawings.insert(name.clone(), draw(icon, true));
        }
    }

    let mut categories: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (category, names) in metadata.categories {
        for name in names {
            categories.entry(name).or_default().push(category.clone());
        }
    }
    let chars = chars
        .into_iter()
        .map(|(code, name)| {
            let code: Vec<_> = code.split('-').filter(|&point| point != "fe0f").collect();
            (code.join("-"), name)
        })
        .collect();
    Ok(IconSet {
        key: source.key,
        version: source.version,
        notice: source.notice,
        info: read_json(&dir.join("info.json"))?,
        drawings,
        aliases,
        chars,
        categories,
    })
}

// ---------------------------------------------------------------------------------------------
// The classes
// ---------------------------------------------------------------------------------------------

/// An emoji: who draws it, and under which name.
struct EmojiClass {
    name: String,
    /// Unicode's group, such as `Food & Drink`.
    group: String,
    /// (index into the sets, name in that set), in the order of the sets.
    drawings: Vec<(usize, String)>,
}

/// Names that mean one emoji, as a forest of links from name to name.
struct Names<'a> {
    parent: BTreeMap<&'a str, &'a str>,
    /// For each root, the name under which each set draws the emoji.
    drawn: BTreeMap<&'a str, BTreeMap<usize, &'a str>>,
}

impl<'a> Names<'a> {
    fn new(sets: &'a [IconSet]) -> Self {
        let mut drawn: BTreeMap<&str, BTreeMap<usize, &str>> = BTreeMap::new();
        for (index, set) in sets.iter().enumerate() {
            for name in set.drawings.keys() {
                drawn.entry(name).or_default().insert(index, name);
            }
        }
        Self {
            parent: BTreeMap::new(),
            drawn,
        }
    }

    fn root(&self, mut name: &'a str) -> &'a str {
        while let Some(&parent) = self.parent.get(name) {
            name = parent;
        }
        name
    }

    /// Makes `a` and `b` one emoji, unless a set draws both.
    fn join(&mut self, a: &'a str, b: &'a str) {
        let (a, b) = (self.root(a), self.root(b));
        if a == b {
            return;
        }
        let none = BTreeMap::new();
        let of_a = self.drawn.get(a).unwrap_or(&none);
        let of_b = self.drawn.get(b).unwrap_or(&none);
        if of_a.keys().any(|set| of_b.contains_key(set)) {
            return;
        }
        let moved = self.drawn.remove(a).unwrap_or_default();
        self.drawn.entry(b).or_default().extend(moved);
        self.parent.insert(a, b);
    }
}

fn group(sets: &[IconSet]) -> Result<Vec<EmojiClass>> {
    let mut names = Names::new(sets);

    let mut by_code: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for set in sets {
        for (code, name) in &set.chars {
            by_code.entry(code).or_default().insert(name);
        }
    }
    for synonyms in by_code.values() {
        let mut synonyms = synonyms.iter();
        if let Some(first) = synonyms.next() {
            synonyms.for_each(|other| names.join(first, other));
        }
    }

    let mut votes: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for (alias, parent) in sets.iter().flat_map(|set| &set.aliases) {
        *votes.entry((alias, parent)).or_default() += 1;
    }
    let mut votes: Vec<_> = votes.into_iter().collect();
    votes.sort_by_key(|&(pair, count)| (std::cmp::Reverse(count), pair));
    for ((alias, parent), _) in votes {
        names.join(alias, parent);
    }

    // An alias says as much of an emoji as the name that it is drawn under.
    let mut members: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for set in sets {
        let aliases = set.aliases.iter().map(|(alias, _)| alias);
        for name in set.drawings.keys().chain(aliases) {
            members.entry(names.root(name)).or_default().insert(name);
        }
    }

    let categories = |name: &str, set: &IconSet| set.categories.get(name).cloned();
    let mut classes = Vec::new();
    for (root, drawn) in &names.drawn {
        let members = &members[root];
        let skin_tone = members.iter().any(|name| name.contains("skin-tone"));
        let flag = members.iter().any(|name| {
            sets.iter()
                .filter_map(|set| categories(name, set))
                .any(|found| found.iter().any(|category| category == "Flags"))
        });
        if drawn.len() < MIN_SETS || skin_tone || flag {
            continue;
        }

        let mut uses: BTreeMap<&str, usize> = BTreeMap::new();
        for name in drawn.values() {
            *uses.entry(name).or_default() += 1;
        }
        let name = uses
            .iter()
            .min_by_key(|&(name, count)| (std::cmp::Reverse(*count), *name))
            .map(|(name, _)| (*name).to_owned())
            .context("an emoji that no set draws")?;
        let group = GROUP_SETS
            .iter()
            .filter_map(|key| sets.iter().find(|set| set.key == *key))
            .flat_map(|set| members.iter().filter_map(|name| categories(name, set)))
            .flatten()
            .next()
            .with_context(|| format!("no set tells the group of {name}"))?;
        let drawings = drawn
            .iter()
            .map(|(&set, &name)| (set, name.to_owned()))
            .collect();
        classes.push(EmojiClass {
            name,
            group,
            drawings,
        });
    }
    classes.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(classes)
}

// ---------------------------------------------------------------------------------------------
// The renderings
// ---------------------------------------------------------------------------------------------

/// A class with the pixels of its images.
struct RenderedClass {
    name: String,
    group: String,
    images: Vec<RenderedImage>,
}

struct RenderedImage {
    set: &'static str,
    /// `SIDE` x `SIDE` RGB, row by row.
    pixels: Vec<u8>,
}

fn render_all(sets: &[IconSet], classes: &[EmojiClass]) -> Result<Vec<RenderedClass>> {
    classes
        .par_iter()
        .map(|class| {
            let images = class
                .drawings
                .iter()
                .map(|(set, name)| {
                    let set = &sets[*set];
                    let pixels = render(&set.drawings[name])
                        .with_context(|| format!("{} of {}", name, set.key))?;
                    Ok(RenderedImage {
                        set: set.key,
                        pixels,
                    })
                })
                .collect::<Result<_>>()?;
            Ok(RenderedClass {
                name: class.name.clone(),
                group: class.group.clone(),
                images,
            })
        })
        .collect()
}

/// Renders a drawing, fitted whole into the middle of a white square.
fn render(drawing: &Drawing) -> Result<Vec<u8>> {
    let &Drawing {
        left,
        top,
        width,
        height,
        ..
    } = drawing;
    let body = &drawing.body;
    let (before, after) = if drawing.mirrored {
        (
            format!(
                "<g transform=\"translate({} 0) scale(-1 1)\">",
                2.0 * left + width
            ),
            "</g>",
        )
    } else {
        (String::new(), "")
    };
    let svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" xmlns:xlink=\"http://www.w3.org/1999/xlink\" \
         width=\"{width}\" height=\"{height}\" viewBox=\"{left} {top} {width} {height}\">\
         {before}{body}{after}</svg>"
    );
    let tree = usvg::Tree::from_str(&svg, &usvg::Options::default())?;

    let large = SIDE * OVERSAMPLING;
    let mut canvas = Pixmap::new(large as u32, large as u32).context("no canvas")?;
    canvas.fill(Color::WHITE);
    let size = tree.size();
    let scale = large as f32 / size.width().max(size.height());
    let shift = |extent: f32| (large as f32 - extent * scale) / 2.0;
    let place = Transform::from_row(
        scale,
        0.0,
        0.0,
        scale,
        shift(size.width()),
        shift(size.height()),
    );
    resvg::render(&tree, place, &mut canvas.as_mut());

    // The canvas is opaque, so its premultiplied colours are the colours.
    let source = canvas.data();
    let mut pixels = Vec::with_capacity(SIDE * SIDE * 3);
    for y in 0..SIDE {
        for x in 0..SIDE {
            for channel in 0..3 {
                let mut sum = 0;
                for row in y * OVERSAMPLING..(y + 1) * OVERSAMPLING {
                    for column in x * OVERSAMPLING..(x + 1) * OVERSAMPLING {
                        sum += u32::from(source[(row * large + column) * 4 + channel]);
                    }
                }
                let count = (OVERSAMPLING * OVERSAMPLING) as u32;
                pixels.push(((sum + count / 2) / count) as u8);
            }
        }
    }
    ensure!(
        pixels.iter().any(|&value| value != 255),
        "nothing but white came out"
    );
    Ok(pixels)
}

/// Classes without exact duplicates, and a line for each thing that was dropped.
struct Distinct {
    classes: Vec<RenderedClass>,
    /// Images that repeat another one.
    repeats: Vec<String>,
    /// Classes that were left with fewer than [`MIN_SETS`] images.
    too_few: Vec<String>,
}

/// Drops renderings that repeat an earlier one byte for byte, wherever that is: within a class the
/// copy would be found for nothing, in another class it could not be told apart.
fn drop_duplicates(classes: Vec<RenderedClass>) -> Distinct {
    let mut seen: BTreeMap<Vec<u8>, String> = BTreeMap::new();
    let mut distinct = Distinct {
        classes: Vec::new(),
        repeats: Vec::new(),
        too_few: Vec::new(),
    };
    for mut class in classes {
        class.images.retain(|image| {
            let here = format!("{} of {}", class.name, image.set);
            if let Some(first) = seen.get(&image.pixels) {
                distinct.repeats.push(format!("{here} repeats {first}"));
                return false;
            }
            seen.insert(image.pixels.clone(), here);
            true
        });
        if class.images.len() >= MIN_SETS {
            distinct.classes.push(class);
        } else {
            let left = class.images.len();
            distinct
                .too_few
                .push(format!("{}, {left} distinct drawings left", class.name));
        }
    }
    distinct
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

// ---------------------------------------------------------------------------------------------
// The asset
// ---------------------------------------------------------------------------------------------

/// The asset: a text index, an empty line, and the PNG files one after another in its order.
///
/// The index is UTF-8. Its first line is [`MAGIC`]; then one line a class with fields that are
/// separated by tabs: `train` or `test`, the name, the group, and for each image `SET=BYTES`.
fn pack(classes: &[RenderedClass]) -> Result<Vec<u8>> {
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

/// The attributions that go with the asset.
fn licenses(sets: &[IconSet], classes: usize, images: usize) -> String {
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
fn contact_sheet(classes: &[RenderedClass], every: usize, path: &Path) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn drawing(body: &str, width: f64, height: f64) -> Drawing {
        Drawing {
            body: body.into(),
            left: 0.0,
            top: 0.0,
            width,
            height,
            mirrored: false,
        }
    }

    fn set(key: &'static str, names: &[&str], aliases: &[(&str, &str)]) -> IconSet {
        IconSet {
            key,
            version: "1.0.0",
            notice: None,
            info: Info {
                name: key.into(),
                version: None,
                author: Author {
                    name: "a".into(),
                    url: "u".into(),
                },
                license: License {
                    title: "l".into(),
                    spdx: "l".into(),
                    url: "u".into(),
                },
            },
            drawings: names
                .iter()
                .map(|name| (name.to_string(), drawing("", 1.0, 1.0)))
                .collect(),
            aliases: aliases
                .iter()
                .map(|(a, b)| (a.to_string(), b.to_string()))
                .collect(),
            chars: BTreeMap::new(),
            categories: names
                .iter()
                .map(|name| {
                    let group = if name.ends_with("flag") {
                        "Flags"
                    } else {
                        "Objects"
                    };
                    (name.to_string(), vec![group.to_string()])
                })
                .collect(),
        }
    }

    fn classes(sets: &[IconSet]) -> Vec<(String, Vec<String>)> {
        let classes = group(sets).unwrap();
        let names = |class: EmojiClass| class.drawings.into_iter().map(|(_, name)| name).collect();
        classes
            .into_iter()
            .map(|class| (class.name.clone(), names(class)))
            .collect()
    }

    #[test]
    fn aliases_and_code_points_join_names() {
        let mut sets = [
            set("noto", &["tin"], &[("can", "tin")]),
            set("noto-v1", &["can"], &[]),
            set("twemoji", &["tin"], &[]),
            set("emojione", &["box-of-tin"], &[]),
        ];
        assert!(classes(&sets).is_empty(), "three sets are too few");
        for (set, name) in [(2, "tin"), (3, "box-of-tin")] {
            sets[set].chars.insert("1f9fa".into(), name.into());
        }
        let drawn = ["tin", "can", "tin", "box-of-tin"]
            .map(String::from)
            .to_vec();
        assert_eq!(classes(&sets), [("tin".to_owned(), drawn)]);
    }

    #[test]
    fn two_drawings_of_one_set_are_two_emoji() {
        // The last set calls the game by the insect's name.
        let sets = [
            set("noto", &["cricket", "cricket-game"], &[]),
            set("noto-v1", &["cricket", "cricket-game"], &[]),
            set("twemoji", &["cricket", "cricket-game"], &[]),
            set("fluent-emoji", &["cricket", "cricket-game"], &[]),
            set(
                "emojione",
                &["cricket-game"],
                &[("cricket", "cricket-game")],
            ),
        ];
        let counts: Vec<_> = classes(&sets)
            .into_iter()
            .map(|(name, drawn)| (name, drawn.len()))
            .collect();
        assert_eq!(
            counts,
            [("cricket".to_owned(), 4), ("cricket-game".to_owned(), 5)]
        );
    }

    #[test]
    fn flags_and_skin_tones_are_left_out() {
        let names = ["ball", "red-flag", "hand-dark-skin-tone"];
        let sets = ["noto", "noto-v1", "twemoji", "emojione"].map(|key| set(key, &names, &[]));
        let names: Vec<_> = classes(&sets).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["ball"]);
    }

    fn pixel(pixels: &[u8], x: usize, y: usize) -> [u8; 3] {
        let at = (y * SIDE + x) * 3;
        [pixels[at], pixels[at + 1], pixels[at + 2]]
    }

    #[test]
    fn a_drawing_is_fitted_into_the_middle_of_a_white_square() {
        const RED: [u8; 3] = [255, 0, 0];
        const WHITE: [u8; 3] = [255; 3];
        let left_half = "<path fill=\"#f00\" d=\"M0 0h4v4H0z\"/>";
        let mut wide = drawing(left_half, 8.0, 4.0);
        let pixels = render(&wide).unwrap();
        assert_eq!(pixel(&pixels, 0, 8), RED);
        assert_eq!(pixel(&pixels, 15, 23), RED);
        assert_eq!(pixel(&pixels, 16, 16), WHITE);
        assert_eq!(pixel(&pixels, 0, 7), WHITE);
        wide.mirrored = true;
        let pixels = render(&wide).unwrap();
        assert_eq!(pixel(&pixels, 31, 23), RED);
        assert_eq!(pixel(&pixels, 15, 16), WHITE);
        assert!(
            render(&drawing(
                "<path fill=\"#fff\" d=\"M0 0h4v4H0z\"/>",
                4.0,
                4.0
            ))
            .is_err()
        );
        assert!(render(&drawing("<path", 4.0, 4.0)).is_err());
    }

    #[test]
    fn an_image_that_repeats_another_one_is_dropped_and_with_it_a_class_of_too_few() {
        let image = |set, value: u8| RenderedImage {
            set,
            pixels: vec![value],
        };
        let class = |name: &str, values: &[u8]| RenderedClass {
            name: name.into(),
            group: String::new(),
            images: values.iter().map(|&value| image("noto", value)).collect(),
        };
        let found = drop_duplicates(vec![
            class("a", &[1, 2, 3, 4, 1]),
            class("b", &[5, 6, 7, 2]),
        ]);
        assert_eq!(found.repeats.len(), 2);
        assert_eq!(found.too_few.len(), 1);
        assert_eq!(found.classes.len(), 1);
        assert_eq!(found.classes[0].images.len(), 4);
    }
}
