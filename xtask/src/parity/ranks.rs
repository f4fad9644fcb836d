//! Whether a backend ranks as the CPU does, and how fast.

use std::time::Instant;

use anyhow::Context;
use burn::tensor::backend::Backend;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use recall_eval::{Embeddings, IgnoreGroup, PositiveRanks, Retrieval};

use crate::gpu::Extent;

/// The share of ranks that may differ where products are rounded: by items that are equal but for
/// rounding.
const ROUNDING: f64 = 0.01;

/// Items, dimensions, classes, whether products are exact.
type Size = (usize, usize, i64, bool);

/// One positive to a query.
const PAIRS: Size = (64, 4, 32, true);

const SMALL: [Size; 5] = [
    PAIRS,
    (300, 4, 40, true),
    (300, 4, 2, true),
    (500, 64, 90, false),
    (257, 33, 5, false),
];

/// A product here is tried by all of Burn's kernels, many times.
const TINY: [Size; 4] = [
    PAIRS,
    (300, 4, 40, true),
    (300, 4, 2, true),
    (130, 33, 5, false),
];

/// As large as Stanford Online Products' test split.
const LARGE: Size = (60_502, 512, 11_316, false);

/// Prints a row for each case, and the number of failures.
pub fn check<B: Backend>(name: &str, extent: Extent) -> anyhow::Result<usize> {
    println!("\n{name}: exact ranks");
    let mut failures = 0;
    let sizes = match extent {
        Extent::Emulated => TINY.to_vec(),
        Extent::Quick => SMALL.to_vec(),
        Extent::Whole => SMALL.into_iter().chain([LARGE]).collect(),
    };
    for size in sizes {
        let (items, dim, classes, exact) = size;
        let embeddings = embeddings(items, dim, exact)?;
        let labels: Vec<i64> = (0..items as i64).map(|item| item % classes).collect();
        let mut retrieval = Retrieval::each_against_rest(&embeddings, &labels)?;
        if exact {
            let groups: Vec<i64> = (0..items as i64).map(|item| item % 7).collect();
            retrieval = retrieval.ignore_group(&groups, &groups, IgnoreGroup::SameClass)?;
        }
        let start = Instant::now();
        let want = retrieval.ranks()?;
        let cpu = start.elapsed().as_secs_f64();
        let device = B::Device::default();
        let start = Instant::now();
        let got = retrieval.ranks_on::<B>(&device)?;
        let here = start.elapsed().as_secs_f64();
        let different = different(&got, &want);
        let ok = different <= if exact { 0.0 } else { ROUNDING };
        failures += usize::from(!ok);
        println!(
            "{items} × {dim}, {classes} classes: {:.2} % of the ranks differ, {here:.2} s, on the CPU \
             {cpu:.2} s  {}",
            100.0 * different,
            if ok { "ok" } else { "WRONG" }
        );
    }
    Ok(failures)
}

/// Of small multiples of a quarter, whose products are exact and often equal, or of unit length.
fn embeddings(items: usize, dim: usize, exact: bool) -> anyhow::Result<Embeddings> {
    let mut random = ChaCha8Rng::seed_from_u64(items as u64);
    let values = (0..items * dim).map(|_| match exact {
        true => f32::from(random.random_range(-4_i8..=4)) / 4.0,
        false => random.random::<f32>() - 0.5,
    });
    let embeddings = Embeddings::new(values.collect(), dim)?;
    match exact {
        true => Ok(embeddings),
        false => embeddings.normalised().context("a row is zero"),
    }
}

fn different(got: &PositiveRanks, want: &PositiveRanks) -> f64 {
    let (mut ranks, mut different) = (0, 0);
    for (got, want) in got.iter().zip(want.iter()) {
        ranks += want.len();
        different += match got.len() == want.len() {
            true => got
                .iter()
                .zip(want)
                .filter(|(got, want)| got != want)
                .count(),
            false => want.len(),
        };
    }
    different as f64 / ranks.max(1) as f64
}
