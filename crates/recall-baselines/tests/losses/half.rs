//! Losses that count, in half precision.

use burn::tensor::DType;
use recall_baselines::{
    BlackboxApConfig, BlackboxRecallConfig, FastApConfig, HistogramConfig, ListwiseApConfig,
};

use crate::check::{Case, Loss, OnFlex, evaluated, in_double, relative};

fn counts(loss: &impl Loss) {
    // More pairs than half precision has numbers for.
    let mut case = Case::random(3, 300, 16, 5);
    let rounded = case.embeddings.tensor::<OnFlex>(DType::F16).into_data();
    case.embeddings.values = rounded.iter::<f64>().collect();
    let found = evaluated::<OnFlex>(loss, &case, DType::F16).unwrap();
    let expected = in_double(loss, &case);
    let error = (found.loss - expected.loss).abs() / expected.loss;
    assert!(error <= 3e-3, "{} is not {}", found.loss, expected.loss);
    let error = relative(&found.grad, &expected.grad);
    assert!(error <= 5e-3, "the gradient is off by {error}");
}

#[test]
fn half_precision_counts_all_items() {
    counts(&ListwiseApConfig::new().init().unwrap());
    counts(&FastApConfig::new().init().unwrap());
    counts(&HistogramConfig::new().with_step(0.1).init().unwrap());
    counts(&BlackboxRecallConfig::new().init().unwrap());
    counts(&BlackboxApConfig::new().init().unwrap());
}
