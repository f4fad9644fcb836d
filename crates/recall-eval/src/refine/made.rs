//! Rows for tests, and plain versions of what they are tested against: dense, in f64, by sorting everything.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::Embeddings;

/// Unit rows around centres, of which some have one row only, some rows are there twice or thrice, and their classes.
pub(super) fn clustered(seed: u64, rows: usize, dim: usize) -> (Embeddings, Vec<i64>) {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    let mut number = || generator.random::<f64>() * 2.0 - 1.0;
    let centres: Vec<Vec<f64>> = (0..rows / 5)
        .map(|_| (0..dim).map(|_| number()).collect())
        .collect();
    let (mut values, mut labels) = (Vec::new(), Vec::new());
    for row in 0..rows {
        if row % 9 == 8 {
            // Twins, sometimes of a twin.
            values.extend_from_within((row - 3) * dim..(row - 2) * dim);
            labels.push(labels[row - 3]);
            continue;
        }
        let class = match row % 7 {
            6 => rows + row,
            _ => row * row % centres.len(),
        };
        let centre = centres.get(class).cloned().unwrap_or(vec![0.0; dim]);
        values.extend(centre.iter().map(|centre| (centre + 0.7 * number()) as f32));
        labels.push(class as i64);
    }
    let embeddings = Embeddings::new(values, dim).unwrap().normalised().unwrap();
    (embeddings, labels)
}

pub(super) fn product(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(a, b)| f64::from(*a) * f64::from(*b))
        .sum()
}

/// All items by descending similarity, equal ones by id, without `own`. Twins have equal products in f64 too.
pub(super) fn ranking(query: &[f32], items: &Embeddings, own: Option<usize>) -> Vec<usize> {
    let products: Vec<f64> = (0..items.rows())
        .map(|i| product(query, items.row(i)))
        .collect();
    let mut ids: Vec<usize> = (0..items.rows()).filter(|&id| Some(id) != own).collect();
    ids.sort_by(|&a, &b| products[b].total_cmp(&products[a]).then(a.cmp(&b)));
    ids
}

/// Asserts that all numbers agree within 1e-5.
pub(super) fn assert_close(found: &[f64], wanted: &[f64]) {
    assert_eq!(found.len(), wanted.len());
    for (at, (found, wanted)) in found.iter().zip(wanted).enumerate() {
        assert!((found - wanted).abs() < 1e-5, "{at}: {found} {wanted}");
    }
}

/// Runs it with one thread and with three, asserts that the results are the same, and returns it.
pub(super) fn on_any_threads<T: PartialEq + std::fmt::Debug + Send>(
    what: impl Fn() -> T + Sync,
) -> T {
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.unwrap().install(&what)
    };
    let found = with(1);
    assert_eq!(found, with(3));
    found
}
