//! What both sides compute with, as files of bare numbers that any Python reads.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use burn::tensor::{Tensor, TensorData};
use burn_flex::Flex;
use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use recall_baselines::{
    HardNegativeMixingConfig, MarginConfig, MetrixConfig, NPairConfig, SymmetricalSynthesisConfig,
};
use serde_json::json;

use super::case::Case;
use super::kind::{HARDEST, Kind, MIXTURES, QUERY_MIXTURES, QUEUE};
use crate::bench::loss::unit_rows;

/// The common direction, that of the class and the item's own: classes overlap, and margins of 0.5 cut through the
/// similarities of different classes.
const PARTS: [f64; 3] = [0.45, 0.1, 0.45];
/// What is drawn is drawn from it.
pub const SEED: u64 = 0;
/// Where the boundaries of the margin loss are.
const BOUNDARY: f32 = 1.2;
/// Rows of a cross-batch memory, unless the batch is large.
const MEMORY: usize = 8_192;

/// Writes what a case needs into its folder.
pub fn write(case: &Case) -> anyhow::Result<()> {
    fs::create_dir_all(&case.folder).context("no folder for the numbers of a case")?;
    let (kind, n, dim, classes) = (case.kind, case.items, case.dim, case.classes);
    let folder = &case.folder;
    let floats = |name: &str, values: &[f32]| {
        let bytes = values.iter().flat_map(|x| x.to_ne_bytes()).collect();
        save(folder, name, bytes)
    };
    let ints = |name: &str, values: &[i64]| {
        let bytes = values.iter().flat_map(|x| x.to_ne_bytes()).collect();
        save(folder, name, bytes)
    };
    let (name, settings) = (kind.peer()).unwrap_or(("", json!({})));
    let text = json!({
        "kind": name, "n": n, "dim": dim, "classes": classes, "settings": settings,
    });
    save(folder, "case.json", serde_json::to_vec(&text)?)?;

    // No two neighbours are of one class.
    let labels: Vec<i64> = (0..n).map(|item| (item % classes) as i64).collect();
    ints("labels.i64", &labels)?;
    // All rows that a case has: the batch, and behind it what it is compared with.
    let mut all = labels.clone();
    let each = kind.proxies().unwrap_or(0);
    all.extend((0..classes * each).map(|proxy| (proxy / each) as i64));
    let memory = match kind {
        Kind::Xbm => MEMORY.max(2 * n),
        Kind::HardNegativeMixing => n + QUEUE,
        _ => 0,
    };
    match kind {
        // A key is of the class of its query, and a negative of none of theirs.
        Kind::HardNegativeMixing => {
            all.extend(&labels);
            all.extend((0..QUEUE).map(|row| (classes + row / 4) as i64));
        }
        _ => all.extend((0..memory).map(|row| (row % classes) as i64)),
    }
    let rows = unit_rows(&all, dim, PARTS);
    let (batch, others) = rows.split_at(n * dim);
    floats("embeddings.f32", batch)?;
    if each > 0 {
        floats("proxies.f32", others)?;
    }
    match kind {
        Kind::Margin => {
            let data = TensorData::new(batch.to_vec(), [n, dim]);
            let embeddings = Tensor::<Flex, 2>::from_data(data, &Default::default());
            let loss = MarginConfig::new().init()?;
            ints(
                "triplets.i64",
                &flat(&loss.triplets(embeddings, &labels, SEED)?),
            )?;
            floats("beta.f32", &vec![BOUNDARY; classes])?;
        }
        Kind::Metrix | Kind::MetrixMultiSimilarity => {
            let (triplets, _) = MetrixConfig::contrastive().init()?.draw(&labels, SEED)?;
            ints("triplets.i64", &flat(&triplets))?;
        }
        Kind::NPair | Kind::Angular => {
            let pairs = NPairConfig::new().init()?.pairs(&labels, SEED)?;
            ints("pairs.i64", &flat(&pairs))?;
        }
        Kind::SymmetricalSynthesis => {
            let loss = SymmetricalSynthesisConfig::new().init()?;
            ints("pairs.i64", &flat(&loss.pairs(&labels, SEED)?))?;
        }
        Kind::Xbm => {
            floats("memory.f32", others)?;
            ints("memory_labels.i64", &all[n..])?;
        }
        Kind::Mixup => {
            let mut partners: Vec<i64> = (0..n as i64).collect();
            partners.shuffle(&mut ChaCha8Rng::seed_from_u64(SEED));
            ints("permutation.i64", &partners)?;
        }
        Kind::HardNegativeMixing => {
            let (keys, queue) = others.split_at(n * dim);
            floats("keys.f32", keys)?;
            floats("queue.f32", queue)?;
            mixtures(n, &floats, &ints)?;
        }
        _ => {}
    }
    Ok(())
}

/// What hard-negative mixing draws for `n` queries, of places among their hardest negatives.
fn mixtures(
    n: usize,
    floats: &impl Fn(&str, &[f32]) -> anyhow::Result<()>,
    ints: &impl Fn(&str, &[i64]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let loss = HardNegativeMixingConfig::new()
        .with_hardest(HARDEST)
        .with_mixtures(MIXTURES)
        .with_query_mixtures(QUERY_MIXTURES)
        .init()?;
    // To these queries, the rows of this queue are in the order of their hardness.
    let queries = Tensor::<Flex, 2>::ones([n, 1], &Default::default());
    let queue = (0..HARDEST).map(|row| -(row as f32)).collect::<Vec<_>>();
    let queue = TensorData::new(queue, [HARDEST, 1]);
    let queue = Tensor::<Flex, 2>::from_data(queue, &Default::default());
    let drawn = loss.draw(queries, queue, SEED)?;
    let pairs = || drawn.mixtures.iter().flatten();
    let singles = || drawn.query_mixtures.iter().flatten();
    let whole = |places: &mut dyn Iterator<Item = usize>| -> Vec<i64> {
        places.map(|place| place as i64).collect()
    };
    ints("mix_first.i64", &whole(&mut pairs().map(|of| of.0)))?;
    ints("mix_second.i64", &whole(&mut pairs().map(|of| of.1)))?;
    ints("query_pick.i64", &whole(&mut singles().map(|of| of.0)))?;
    let weights: Vec<f32> = pairs().map(|of| of.2 as f32).collect();
    floats("mix_alpha.f32", &weights)?;
    let weights: Vec<f32> = singles().map(|of| of.1 as f32).collect();
    floats("query_alpha.f32", &weights)
}

fn flat<const N: usize>(rows: &[[usize; N]]) -> Vec<i64> {
    rows.iter().flatten().map(|&row| row as i64).collect()
}

fn save(folder: &Path, name: &str, bytes: Vec<u8>) -> anyhow::Result<()> {
    fs::write(folder.join(name), bytes).with_context(|| format!("cannot write {name}"))
}

/// The numbers of a file.
pub fn floats(folder: &Path, name: &str) -> anyhow::Result<Vec<f32>> {
    let bytes = fs::read(folder.join(name)).with_context(|| format!("cannot read {name}"))?;
    let (values, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        bail!("{name} is cut off");
    }
    Ok(values.iter().map(|&x| f32::from_ne_bytes(x)).collect())
}

/// The same of whole numbers.
pub fn ints(folder: &Path, name: &str) -> anyhow::Result<Vec<i64>> {
    let bytes = fs::read(folder.join(name)).with_context(|| format!("cannot read {name}"))?;
    let (values, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() {
        bail!("{name} is cut off");
    }
    Ok(values.iter().map(|&x| i64::from_ne_bytes(x)).collect())
}

/// Whole numbers in rows of `N`.
pub fn rows<const N: usize>(folder: &Path, name: &str) -> anyhow::Result<Vec<[usize; N]>> {
    let values = ints(folder, name)?;
    let (rows, _) = values.as_chunks::<N>();
    Ok(rows.iter().map(|row| row.map(|x| x as usize)).collect())
}
