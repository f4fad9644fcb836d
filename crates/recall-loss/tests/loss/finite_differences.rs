use burn_ndarray::NdArray;
use proptest::prelude::*;
use recall_loss::{Mixup, RecallAtKLossConfig, SmoothApConfig};

use crate::batches::HostBatch;
use crate::{oracle, shares};

/// Central differences of the scalar definition.
fn differences(config: &RecallAtKLossConfig, batch: &HostBatch, mixup: Option<&Mixup>) -> Vec<f64> {
    let step = 1e-6;
    (0..batch.values.len())
        .map(|i| {
            let mut moved = batch.clone();
            moved.values[i] = batch.values[i] + step;
            let above = oracle::loss(config, &moved, mixup);
            moved.values[i] = batch.values[i] - step;
            (above - oracle::loss(config, &moved, mixup)) / (2.0 * step)
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_gradient_is_the_slope_of_the_loss(
        seed: u64, sizes in oracle::class_sizes(), query_in_rank: bool, mixed: bool,
    ) {
        // Cap off: at the cap the loss has a kink, which a difference straddles.
        let config = RecallAtKLossConfig::new()
            .with_ks(vec![1, 3])
            .with_tau_rank(0.1)
            .with_query_in_rank(query_in_rank)
            .with_cap_at_k(false);
        let batch = HostBatch::random(seed, &sizes, 4, 0.8);
        let mixup = mixed.then(|| Mixup::all_pairs(&batch.labels, seed));
        let expected = differences(&config, &batch, mixup.as_ref());
        let actual = batch.by_formula::<NdArray<f64>>(&config.init().unwrap(), mixup.as_ref());
        for (actual, expected) in actual.grad.iter().zip(&expected) {
            prop_assert!((actual - expected).abs() < 1e-7 * expected.abs().max(1.0));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_gradient_of_a_share_is_the_slope_of_its_loss(
        seed: u64, sizes in oracle::class_sizes(), smooth_ap: bool, mixed: bool,
        cuts in shares::cuts(2),
    ) {
        let batch = HostBatch::random(seed, &sizes, 4, 0.8);
        let mixup = mixed.then(|| Mixup::all_pairs(&batch.labels, seed));
        let recall_at_k = RecallAtKLossConfig::new()
            .with_ks(vec![1, 3])
            .with_tau_rank(0.1)
            .with_cap_at_k(false);
        for rows in shares::ranges(&cuts, batch.len()) {
            let of = |batch: &HostBatch| {
                let mixup = mixup.as_ref();
                if smooth_ap {
                    let loss = SmoothApConfig::new().with_tau(0.1).init().unwrap();
                    shares::share::<NdArray<f64>>(&loss, batch, mixup, rows.clone())
                } else {
                    let loss = recall_at_k.init().unwrap();
                    shares::share::<NdArray<f64>>(&loss, batch, mixup, rows.clone())
                }
            };
            let actual = of(&batch).grad;
            let step = 1e-6;
            for (i, actual) in actual.into_iter().enumerate() {
                let moved = |by: f64| {
                    let mut moved = batch.clone();
                    moved.values[i] += by;
                    of(&moved).loss
                };
                let expected = (moved(step) - moved(-step)) / (2.0 * step);
                prop_assert!((actual - expected).abs() < 1e-7 * expected.abs().max(1.0));
            }
        }
    }
}

#[test]
fn the_cap_stops_the_gradient_and_nothing_else() {
    // With a warm count even far positives are counted in part, which pushes the sum over k = 1.
    let config = RecallAtKLossConfig::new()
        .with_ks(vec![1, 8])
        .with_tau_k(vec![5.0])
        .with_tau_rank(0.2);
    let batch = HostBatch::random(3, &[6, 4], 6, 0.5);
    let expected = differences(&config, &batch, None);
    let uncapped = differences(&config.clone().with_cap_at_k(false), &batch, None);
    assert!(
        expected
            .iter()
            .zip(&uncapped)
            .any(|(a, b)| (a - b).abs() > 1e-3),
        "no cap in force"
    );
    let actual = batch.by_formula::<NdArray<f64>>(&config.init().unwrap(), None);
    for (actual, expected) in actual.grad.iter().zip(&expected) {
        assert!(
            (actual - expected).abs() < 1e-7,
            "{actual} is not {expected}"
        );
    }
}
