//! `cargo xtask emoji`: rebuild `crates/recall-data/assets/emoji/`.
//!
//! One emoji is drawn by several vendors. A class of the data set is the emoji, its images are the
//! vendors' drawings of it. The drawings come as SVG in the npm packages of [`SETS`](sources::SETS), pinned to
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
//! Half of the classes each: those whose names have the lower [`name_hash`](recall_data::name_hash) train. It is written into the
//! asset, so that the data stay as they are whatever rule other data sets go by.

mod asset;
mod classes;
mod render;
mod sources;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use asset::{contact_sheet, licenses, pack};
use classes::{MIN_SETS, group};
use render::{Distinct, drop_duplicates, render_all};
use sources::{install, read_sets};

/// The embedded asset may not grow past this.
const MAX_ASSET_BYTES: usize = 12_000_000;

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
