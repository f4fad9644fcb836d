use burn_flex::Flex;
use burn_ndarray::NdArray;
use proptest::prelude::*;

use super::oracle;
use crate::batches::{HostBatch, mixup_on_a_grid};
use crate::kernels::{class_sizes, differs};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn kernels_equal_plain_operations(
        seed: u64, sizes in class_sizes(), config in oracle::configs(), mixed: bool,
        tau in prop::sample::select(vec![1e-3, 3e-3, 1e-2, 0.1, 1.0]), noise in 0.0..1.5_f64,
    ) {
        let loss = config.with_tau(tau).with_block_size(256).init().unwrap();
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
