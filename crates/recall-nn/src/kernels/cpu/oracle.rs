//! What the tests of the kernels share: inputs, and how results are compared.

use std::f64::consts::PI;

/// Numbers that look random, mostly within ±3, and are the same for the same seed.
pub(super) fn random(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    // SplitMix64 (Steele, Lea and Flood, 2014).
    let mut uniform = move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    };
    (0..len)
        .map(|_| {
            let radius = (-2.0 * (1.0 - uniform()).ln()).sqrt();
            (radius * (2.0 * PI * uniform()).cos()) as f32
        })
        .collect()
}

pub(super) fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

/// No error is more than `tolerance` times the largest expected number.
#[track_caller]
pub(super) fn assert_close(actual: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len());
    let largest = expected
        .iter()
        .fold(0.0f64, |most, value| most.max(value.abs()));
    for (index, (&actual, &expected)) in actual.iter().zip(expected).enumerate() {
        let error = (f64::from(actual) - expected).abs();
        assert!(
            error <= tolerance * largest,
            "{actual} and not {expected} at {index}; the largest is {largest}"
        );
    }
}

/// The slope of `value` in each number of `at`, for comparison with a gradient.
pub(super) fn slopes(at: &[f64], value: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    const STEP: f64 = 1e-5;
    let mut moved = at.to_vec();
    (0..at.len())
        .map(|index| {
            moved[index] = at[index] + STEP;
            let above = value(&moved);
            moved[index] = at[index] - STEP;
            let below = value(&moved);
            moved[index] = at[index];
            (above - below) / (2.0 * STEP)
        })
        .collect()
}

/// The result is the same bits for any number of threads.
#[track_caller]
pub(super) fn assert_same_bits(compute: impl Fn() -> Vec<Vec<f32>> + Sync) {
    let in_pool = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let pool = pool.build().expect("a pool of threads");
        let results = pool.install(&compute);
        let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect();
        results.into_iter().map(bits).collect::<Vec<Vec<u32>>>()
    };
    let alone = in_pool(1);
    for threads in [2, 3, 8] {
        assert!(
            in_pool(threads) == alone,
            "other bits with {threads} threads"
        );
    }
}
