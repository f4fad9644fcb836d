//! Blocks of rows and the whole matrix are one loss.

use super::*;
use crate::rows::square::square;
use crate::rows::walk::in_blocks;

/// `Σ_ij |i − j| x_ij²` over distances or similarities `x` of every `SHARE`-th column, divided by how many exceed the
/// mean or by nothing. It claims to depend on the lengths of the queries, too.
struct Weighted<const DISTANCES: bool, const SHARE: usize> {
    divided: bool,
}

/// What it claims.
fn along(index: usize) -> f32 {
    0.1 * index as f32
}

impl<const DISTANCES: bool, const SHARE: usize> RowLoss for Weighted<DISTANCES, SHARE> {
    type Note = f64;
    type Whole = f64;
    const MEASURE: Measure = match DISTANCES {
        true => Measure::SquaredDistance,
        false => Measure::Similarity,
    };
    const LOOKS: bool = true;

    fn look(&self, _: usize, _: &Place, row: &[f32]) -> f64 {
        row.iter().map(|&x| f64::from(x)).sum::<f64>() / row.len() as f64
    }

    fn whole(&self, notes: Vec<f64>, places: &Places) -> f64 {
        assert_eq!(notes.len(), places.rows.len());
        notes.iter().sum::<f64>() / notes.len() as f64
    }

    fn term(&self, mean: &f64, index: usize, place: &Place, row: &mut [f32]) -> Term {
        let mut term = Term {
            along: along(index),
            ..Term::default()
        };
        for (column, x) in row.iter_mut().enumerate() {
            let weight = index.abs_diff(column) as f32 + place.class.start as f32;
            let weight = if column % SHARE == 0 { weight } else { 0.0 };
            term.value += f64::from(weight * *x * *x);
            term.counted += u64::from(f64::from(*x) > *mean);
            *x *= 2.0 * weight;
        }
        term
    }

    fn scale(&self, _: &f64, counted: u64) -> f64 {
        match self.divided {
            true => 1.0 / counted as f64,
            false => 1.0,
        }
    }

    fn visit(&self, sides: &Sides<'_>, wanted: bool) -> Found {
        walk(self, sides, wanted)
    }
}

fn numbers(count: usize, seed: u64) -> Vec<f32> {
    use rand::{RngExt, SeedableRng};
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| random.random_range(-1.0..1.0)).collect()
}

const DIM: usize = 6;

fn blocks_are_the_whole<const DISTANCES: bool, const SHARE: usize>(places: &Places) {
    let loss = Weighted::<DISTANCES, SHARE> { divided: true };
    let queries = numbers(places.rows.len() * DIM, 5);
    let references = numbers(places.references.len() * DIM, 6);
    let sides = Sides::new(&queries, Some(&references), DIM, places);
    let whole = in_blocks(&loss, &sides, true, places.rows.len());
    let mut others = vec![in_blocks(&loss, &sides, true, 7)];
    if places.same {
        others.push(square(&loss, &sides, true));
    }
    let alone = loss.visit(&sides, false);
    assert!(alone.gradients.is_none());
    assert!((alone.value - whole.value).abs() <= 1e-6 * whole.value.abs());
    let (on_queries, on_references) = whole.gradients.unwrap();
    assert_eq!(on_references.is_some(), !places.same && !places.constant);
    for other in others {
        assert!((whole.value - other.value).abs() <= 1e-6 * whole.value.abs());
        let (queries, references) = other.gradients.unwrap();
        close(&on_queries, &queries);
        assert_eq!(on_references.is_some(), references.is_some());
        if let Some((a, b)) = on_references.as_ref().zip(references) {
            close(a, &b);
        }
    }
}

fn close(a: &[f32], b: &[f32]) {
    let size = a.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    assert!(size > 0.0 && a.len() == b.len());
    for (a, b) in a.iter().zip(b) {
        assert!((a - b).abs() <= 1e-5 * size, "{a} is not {b}");
    }
}

#[test]
fn blocks_of_rows_are_the_whole_matrix() {
    let labels: Vec<i64> = (0..33).map(|i| i * i % 7).collect();
    // More than a step of the staircase, and no multiple of anything.
    let many: Vec<i64> = (0..301).map(|i| i * i % 71).collect();
    let others: Vec<i64> = (0..20).map(|i| i % 5).collect();
    let own: Vec<Option<usize>> = (0..33).map(|i| (i < 20).then_some(i)).collect();
    for places in [
        Places::within(&labels),
        Places::within(&many),
        Places::between(&labels, &others, &own),
        Places::between(&labels, &others, &own).with_constant_references(),
        Places::between(&many, &labels, &vec![None; many.len()]),
    ] {
        blocks_are_the_whole::<false, 1>(&places);
        blocks_are_the_whole::<true, 1>(&places);
        blocks_are_the_whole::<false, 100>(&places);
        blocks_are_the_whole::<true, 100>(&places);
    }
}

#[test]
fn gradients_are_differences_of_the_loss() {
    let labels: Vec<i64> = (0..20).map(|i| i % 6).collect();
    for places in [
        Places::within(&labels),
        Places::between(&labels, &labels[..9], &[None; 20]),
    ] {
        differences::<false, 1>(&places);
        differences::<true, 1>(&places);
        differences::<true, 100>(&places);
    }
}

fn differences<const DISTANCES: bool, const SHARE: usize>(places: &Places) {
    let loss = Weighted::<DISTANCES, SHARE> { divided: false };
    let queries = numbers(places.rows.len() * DIM, 1);
    let references = numbers(places.references.len() * DIM, 2);
    let visit = |queries: &[f32], references: &[f32]| {
        loss.visit(&Sides::new(queries, Some(references), DIM, places), true)
    };
    let slope = |of: &dyn Fn(f32) -> f64| (of(0.01) - of(-0.01)) / 0.02;
    let close = |found: f32, expected: f64, most: f32| {
        let found = f64::from(found);
        assert!(
            (found - expected).abs() < 2e-3 * f64::from(most),
            "{found} is not {expected}"
        );
    };
    let largest = |of: &[f32]| of.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    let (on_queries, on_references) = visit(&queries, &references).gradients.unwrap();
    for at in [0, 17, 58, 111] {
        let expected = slope(&|by| {
            let mut queries = queries.clone();
            queries[at] += by;
            visit(&queries, &references).value
        });
        // What is along the queries is no part of the value.
        let place = places.queries.iter().position(|&item| item == at / DIM);
        let along = along(place.unwrap()) * queries[at];
        close(on_queries[at] - along, expected, largest(&on_queries));
    }
    let Some(on_references) = on_references else {
        return;
    };
    for at in [0, 17, 49] {
        let expected = slope(&|by| {
            let mut references = references.clone();
            references[at] += by;
            visit(&queries, &references).value
        });
        close(on_references[at], expected, largest(&on_references));
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    same_bits::<false, 1>();
    same_bits::<true, 1>();
    same_bits::<true, 100>();
}

fn same_bits<const DISTANCES: bool, const SHARE: usize>() {
    // Large enough for its products to be shared out.
    const WIDE: usize = 64;
    let labels: Vec<i64> = (0..700).map(|i| i % 90).collect();
    let loss = Weighted::<DISTANCES, SHARE> { divided: true };
    for places in [
        Places::within(&labels),
        Places::between(&labels, &labels[..330], &vec![None; 700]),
    ] {
        let queries = numbers(700 * WIDE, 3);
        let references = numbers(places.references.len() * WIDE, 4);
        let sides = Sides::new(&queries, Some(&references), WIDE, &places);
        let by = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let found = (pool.build().unwrap()).install(|| {
                let blocks = in_blocks(&loss, &sides, true, 450);
                [loss.visit(&sides, true), blocks]
            });
            found.map(|found| {
                let (on_queries, on_references) = found.gradients.unwrap();
                let numbers = on_queries
                    .into_iter()
                    .chain(on_references.unwrap_or_default());
                (
                    found.value.to_bits(),
                    numbers.map(f32::to_bits).collect::<Vec<_>>(),
                )
            })
        };
        let alone = by(1);
        for threads in [2, 3, 8] {
            assert!(by(threads) == alone, "{threads} threads");
        }
    }
}
