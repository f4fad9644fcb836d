//! A seed means the same weights on every backend.

use burn::backend::Autodiff;
use burn_flex::Flex;
use burn_ndarray::NdArray;
use recall_engine::{Engine, EngineBackend, EngineConfig, OnDevice};

use crate::support::alone;

fn weights<B: EngineBackend>(config: &EngineConfig) -> String {
    let device = Default::default();
    let engine = OnDevice::<B, _>::of_config(config, &device).unwrap();
    engine.weights_hash()
}

#[test]
fn a_seed_means_the_same_weights_on_every_backend() {
    let _alone = alone();
    let mut config = EngineConfig::default();
    (config.model.widths, config.model.grid, config.image) = (vec![3, 4], 2, [8, 8]);
    let flex = weights::<Autodiff<Flex>>(&config);
    assert_eq!(weights::<Autodiff<NdArray>>(&config), flex);
    // What another one draws, or drew before, changes nothing.
    assert_eq!(weights::<Autodiff<Flex>>(&config), flex);
    config.seed += 1;
    assert_ne!(weights::<Autodiff<Flex>>(&config), flex);
}
