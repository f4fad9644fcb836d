//! What the backends compute against plain tensor operations in f64.

use burn::backend::Autodiff;
use burn_flex::Flex;
use burn_ndarray::NdArray;
use proptest::prelude::*;
use recall_loss::{Mixup, RecallAtKLossConfig, RecallBackend, SmoothApConfig};

use crate::batches::{HostBatch, Loss, Outcome, host, mixup_on_a_grid, relative_error};
use crate::oracle;

type F64 = NdArray<f64>;

/// Class sizes of small and large batches: alone, in pairs, and up to more than a vector or a tile
/// holds.
pub fn class_sizes() -> impl Strategy<Value = Vec<usize>> {
    let few = prop::collection::vec(1..6_usize, 1..60);
    let many = prop::collection::vec(1..5_usize, 100..250);
    let large = prop::collection::vec(prop::sample::select(vec![1, 2, 17, 64, 300]), 1..5);
    prop_oneof![3 => few, 1 => many, 1 => large].prop_filter("a class needs a pair", |sizes| {
        sizes.iter().any(|&size| size > 1)
    })
}

/// What is wrong with the backend's loss and gradient, if anything. A gradient shorter than `floor`,
/// what saturation leaves, is below what f32 can resolve beside one that is not: it may be off by a
/// ten-thousandth of that.
pub fn differs<B: RecallBackend>(
    loss: &impl Loss,
    batch: &HostBatch,
    mixup: Option<&Mixup>,
    floor: f64,
) -> Option<String> {
    let exact = batch.by_plain_formula::<F64>(loss, mixup);
    let ways: [(&str, Outcome); 2] = [
        ("formula", batch.by_formula::<B>(loss, mixup)),
        (
            "registered gradient",
            batch.by_registered_gradient::<B>(loss, mixup),
        ),
    ];
    let (embeddings, labels) = batch.tensors::<B>();
    let value = loss.forward(embeddings, labels, mixup);
    // Without a gradient, the very same value.
    if host(value.unwrap())[0] != ways[0].1.loss {
        return Some("the value alone differs".to_owned());
    }
    ways.into_iter().find_map(|(way, actual)| {
        let size = exact.grad.iter().map(|g| g * g).sum::<f64>().sqrt();
        let error = relative_error(&actual.grad, &exact.grad) * size.max(f64::MIN_POSITIVE);
        let bound = 1e-4 * size.max(floor);
        let off = (actual.loss - exact.loss).abs();
        // A small loss is 1 less a mean near 1, of numbers right to 6·10⁻⁸.
        (off > 1e-5 * exact.loss.abs().max(5e-2) || error > bound || !error.is_finite()).then(
            || {
                format!(
                    "{way}: loss off by {off:e} of {}, gradient by {error:e} of {size:e}",
                    exact.loss
                )
            },
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn kernels_equal_plain_operations(
        seed: u64, sizes in class_sizes(), config in oracle::configs(), mixed: bool,
        tau in prop::sample::select(vec![1e-3, 3e-3, 1e-2, 0.1, 1.0]), noise in 0.0..1.5_f64,
    ) {
        let loss = config.with_tau_rank(tau).with_block_size(256).init().unwrap();
        let batch = HostBatch::random(seed, &sizes, 6, noise).on_a_grid();
        let mixed = mixed && sizes.iter().all(|&size| size < 20);
        let mixup = mixed.then(|| mixup_on_a_grid(&batch.labels, seed));
        let floor = (3e-5 / tau).min(1e-2);
        let fault = differs::<Flex>(&loss, &batch, mixup.as_ref(), floor);
        prop_assert!(fault.is_none(), "flex, {}", fault.unwrap_or_default());
        let fault = differs::<NdArray<f32>>(&loss, &batch, mixup.as_ref(), floor);
        prop_assert!(fault.is_none(), "ndarray, {}", fault.unwrap_or_default());
    }
}

/// Temperatures at both ends for every batch below, and every loss.
fn at_both_ends(batch: &HostBatch) {
    let mixup = mixup_on_a_grid(&batch.labels, 5);
    for mixup in [None, Some(&mixup)] {
        for tau in [1e-3, 1e-2, 1.0] {
            for query_in_rank in [false, true] {
                let config = RecallAtKLossConfig::new()
                    .with_tau_rank(tau)
                    .with_query_in_rank(query_in_rank);
                let fault = differs::<Flex>(&config.init().unwrap(), batch, mixup, 3e-5 / tau);
                assert_eq!(fault, None, "Recall@k, τ = {tau}");
                let config = SmoothApConfig::new()
                    .with_tau(tau)
                    .with_query_included(query_in_rank);
                let fault = differs::<Flex>(&config.init().unwrap(), batch, mixup, 3e-5 / tau);
                assert_eq!(fault, None, "Smooth-AP, τ = {tau}");
            }
        }
    }
}

#[test]
fn everything_saturated() {
    let axes = |row: usize| (0..16).map(move |axis| f64::from(axis == row % 16));
    at_both_ends(&HostBatch {
        values: (0..64).flat_map(axes).collect(),
        dim: 16,
        labels: (0..64).map(|row| row % 16).collect(),
    });
}

#[test]
fn all_similarities_equal() {
    at_both_ends(&HostBatch {
        values: vec![0.5; 4 * 600],
        dim: 4,
        labels: (0..600).map(|row| row % 150).collect(),
    });
}

#[test]
fn positives_further_apart_than_one_exponential_reaches() {
    // Similarities of the positives from −1 to 1: at τ = 0.001 some 2,900 powers of two.
    let angles = (0..40).map(|i| std::f64::consts::PI * f64::from(i) / 39.0);
    let batch = HostBatch {
        values: angles
            .flat_map(|angle| [angle.cos(), angle.sin()])
            .collect(),
        dim: 2,
        labels: (0..40).map(|i| i % 2).collect(),
    };
    at_both_ends(&batch.on_a_grid());
}

#[test]
fn a_batch_too_large_to_keep_its_products() {
    let batch = HostBatch::random(3, &[2; 2950], 3, 0.2).on_a_grid();
    let config = RecallAtKLossConfig::new()
        .with_ks(vec![1, 16, 400])
        .with_tau_k(vec![50.0]);
    let fault = differs::<Flex>(&config.init().unwrap(), &batch, None, 0.0);
    assert_eq!(fault, None);
    let fault = differs::<Flex>(&SmoothApConfig::new().init().unwrap(), &batch, None, 0.0);
    assert_eq!(fault, None);
}

/// The loss of a batch with some mixup, on as many threads as you like.
fn on_any_threads(loss: &(impl Loss + Sync)) {
    let batch = HostBatch::random(7, &[4; 300], 24, 0.8);
    let mixup = Mixup::all_pairs(&batch.labels, 7);
    let outcomes = [1, 2, 5].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| batch.by_formula::<Flex>(loss, Some(&mixup)))
    });
    for outcome in &outcomes[1..] {
        assert_eq!(outcome.loss.to_bits(), outcomes[0].loss.to_bits());
        assert_eq!(outcome.grad, outcomes[0].grad);
    }
}

#[test]
fn threads_change_no_bit() {
    on_any_threads(&RecallAtKLossConfig::new().init().unwrap());
    on_any_threads(&SmoothApConfig::new().init().unwrap());
    on_any_threads(&SmoothApConfig::released_code().init().unwrap());
}

#[test]
fn backends_of_the_host_say_so() {
    assert!(Flex::on_host() && NdArray::<f32>::on_host() && Autodiff::<Flex>::on_host());
}
