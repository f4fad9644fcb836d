//! The definition as loops over scalars in f64: slow, short and with nothing in common with the
//! crate's code.

use burn_ndarray::NdArray;
use proptest::prelude::*;
use recall_loss::{Mixup, RecallAtKLossConfig};

use crate::batches::{HostBatch, relative_error};

pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Real items, then virtual ones, with the class of each.
pub fn materialised(batch: &HostBatch, mixup: Option<&Mixup>) -> (Vec<Vec<f64>>, Vec<i64>) {
    let mut items: Vec<Vec<f64>> = (0..batch.len())
        .map(|row| batch.row(row).to_vec())
        .collect();
    let mut labels = batch.labels.clone();
    for (first, second, alpha) in mixup.iter().flat_map(|mixup| mixup.pairs()) {
        let mixed = batch.row(first).iter().zip(batch.row(second));
        items.push(mixed.map(|(a, b)| alpha * a + (1.0 - alpha) * b).collect());
        labels.push(batch.labels[first]);
    }
    (items, labels)
}

/// The loss, straight from its definition.
pub fn loss(config: &RecallAtKLossConfig, batch: &HostBatch, mixup: Option<&Mixup>) -> f64 {
    let (items, labels) = materialised(batch, mixup);
    let dot = |a: usize, b: usize| {
        items[a]
            .iter()
            .zip(&items[b])
            .map(|(x, y)| x * y)
            .sum::<f64>()
    };
    let all = 0..items.len();
    let mut losses = Vec::new();
    for q in all.clone() {
        let positives: Vec<_> = all
            .clone()
            .filter(|&x| x != q && labels[x] == labels[q])
            .collect();
        if positives.is_empty() {
            continue;
        }
        let ranks: Vec<f64> = positives
            .iter()
            .map(|&x| {
                let database = all
                    .clone()
                    .filter(|&z| z != x && (config.query_in_rank || z != q));
                let before = database.map(|z| sigmoid((dot(q, z) - dot(q, x)) / config.tau_rank));
                1.0 + before.sum::<f64>()
            })
            .collect();
        for (i, &k) in config.ks.iter().enumerate() {
            let tau = config.tau_k[i % config.tau_k.len()];
            let k = k.min(batch.len()) as f64;
            let mut count: f64 = ranks.iter().map(|rank| sigmoid((k - rank) / tau)).sum();
            if config.cap_at_k {
                count = count.min(k);
            }
            losses.push(1.0 - count / k.min(positives.len() as f64));
        }
    }
    losses.iter().sum::<f64>() / losses.len() as f64
}

/// Settings on both sides of every switch.
pub fn configs() -> impl Strategy<Value = RecallAtKLossConfig> {
    let ks = prop::sample::select(vec![
        (vec![1], vec![1.0]),
        (vec![4, 1, 2], vec![0.5]),
        (vec![1, 2, 4, 8, 16], vec![1.0]),
        (vec![2, 40], vec![0.7, 3.0]),
    ]);
    (
        ks,
        prop::sample::select(vec![0.01, 0.1, 1.0]),
        any::<bool>(),
        any::<bool>(),
        1..40_usize,
    )
        .prop_map(
            |((ks, tau_k), tau_rank, query_in_rank, cap_at_k, block_size)| {
                RecallAtKLossConfig::new()
                    .with_ks(ks)
                    .with_tau_k(tau_k)
                    .with_tau_rank(tau_rank)
                    .with_query_in_rank(query_in_rank)
                    .with_cap_at_k(cap_at_k)
                    .with_block_size(block_size)
            },
        )
}

/// Class sizes with at least one pair among them.
pub fn class_sizes() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(1..6_usize, 1..7).prop_filter("a class needs a pair", |sizes| {
        sizes.iter().any(|&size| size > 1)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn both_ways_follow_the_definition(
        seed: u64, sizes in class_sizes(), config in configs(), mixed: bool, noise in 0.0..1.5_f64,
    ) {
        let batch = HostBatch::random(seed, &sizes, 5, noise);
        let mixup = mixed.then(|| Mixup::all_pairs(&batch.labels, seed));
        let expected = loss(&config, &batch, mixup.as_ref());
        let made = config.init().unwrap();

        let autodiff = batch.by_autodiff::<NdArray<f64>>(&made, mixup.as_ref());
        let formula = batch.by_formula::<NdArray<f64>>(&made, mixup.as_ref());
        prop_assert!((autodiff.loss - expected).abs() < 1e-10);
        prop_assert!((formula.loss - expected).abs() < 1e-10);
        let size = autodiff.grad.iter().map(|g| g * g).sum::<f64>().sqrt();
        let error = relative_error(&formula.grad, &autodiff.grad) * size;
        prop_assert!(error < 1e-9 * size.max(1e-3), "{error:e} of {size:e}");
    }
}
