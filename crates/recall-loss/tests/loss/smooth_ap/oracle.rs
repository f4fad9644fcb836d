//! The definition as loops over scalars in f64.

use burn_ndarray::NdArray;
use proptest::prelude::*;
use recall_loss::{Mixup, SmoothApConfig};

use crate::batches::{HostBatch, relative_error};
use crate::oracle::{class_sizes, materialised, sigmoid};

/// The average precision of each query, straight from its definition; `before` says how much an item
/// precedes another by the difference of their similarities.
pub fn average_precisions(
    config: &SmoothApConfig,
    batch: &HostBatch,
    mixup: Option<&Mixup>,
    before: impl Fn(f64) -> f64,
) -> Vec<f64> {
    let (items, labels) = materialised(batch, mixup);
    let all = || 0..items.len();
    let mut found = Vec::new();
    for q in all() {
        let similarity =
            |x: usize| -> f64 { items[q].iter().zip(&items[x]).map(|(a, b)| a * b).sum() };
        let list: Vec<usize> = all().filter(|&j| config.query_included || j != q).collect();
        let relevant = |&j: &usize| labels[j] == labels[q];
        let positives: Vec<usize> = list.iter().copied().filter(relevant).collect();
        if all().filter(relevant).count() == 1 {
            found.extend(config.count_lonely.then_some(1.0));
            continue;
        }
        let rank = |i: usize, items: &[usize]| -> f64 {
            let others = items.iter().filter(|&&j| j != i);
            1.0 + others
                .map(|&j| before(similarity(j) - similarity(i)))
                .sum::<f64>()
        };
        let precision = |&i: &usize| rank(i, &positives) / rank(i, &list);
        found.push(positives.iter().map(precision).sum::<f64>() / positives.len() as f64);
    }
    found
}

/// The loss, straight from its definition.
pub fn loss(config: &SmoothApConfig, batch: &HostBatch, mixup: Option<&Mixup>) -> f64 {
    one_less_mean(&average_precisions(config, batch, mixup, |difference| {
        sigmoid(difference / config.tau)
    }))
}

pub fn one_less_mean(values: &[f64]) -> f64 {
    1.0 - values.iter().sum::<f64>() / values.len() as f64
}

/// Settings on both sides of every switch.
pub fn configs() -> impl Strategy<Value = SmoothApConfig> {
    let taus = prop::sample::select(vec![0.01, 0.1, 1.0]);
    (taus, any::<bool>(), any::<bool>(), 1..40_usize).prop_map(
        |(tau, query_included, count_lonely, block_size)| {
            SmoothApConfig::new()
                .with_tau(tau)
                .with_query_included(query_included)
                .with_count_lonely(count_lonely)
                .with_block_size(block_size)
        },
    )
}

/// Central differences of the scalar definition.
fn differences(config: &SmoothApConfig, batch: &HostBatch, mixup: Option<&Mixup>) -> Vec<f64> {
    let step = 1e-6;
    (0..batch.values.len())
        .map(|i| {
            let mut moved = batch.clone();
            moved.values[i] = batch.values[i] + step;
            let above = loss(config, &moved, mixup);
            moved.values[i] = batch.values[i] - step;
            (above - loss(config, &moved, mixup)) / (2.0 * step)
        })
        .collect()
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_gradient_is_the_slope_of_the_loss(
        seed: u64, sizes in class_sizes(), config in configs(), mixed: bool,
    ) {
        let config = config.with_tau(0.1);
        let batch = HostBatch::random(seed, &sizes, 4, 0.8);
        let mixup = mixed.then(|| Mixup::all_pairs(&batch.labels, seed));
        let expected = differences(&config, &batch, mixup.as_ref());
        let actual = batch.by_formula::<NdArray<f64>>(&config.init().unwrap(), mixup.as_ref());
        for (actual, expected) in actual.grad.iter().zip(&expected) {
            prop_assert!((actual - expected).abs() < 1e-7 * expected.abs().max(1.0));
        }
    }
}
