//! What the tests of losses over proxies share.

use burn::tensor::DType;
use recall_baselines::{LossError, MetricLoss};

use crate::check::{Case, Loss, OnFlex, Random, evaluated};

/// A case with `each` vectors of each class, and of one that has no items.
pub fn with_proxies(case: Case, each: usize) -> Case {
    let shape = [(case.classes() + 1) * each, case.embeddings.dim];
    case.with_parameters(shape, 0.0, 1.0)
}

/// A case whose rows have lengths from `low` to `high`.
pub fn with_lengths(mut case: Case, low: f64, high: f64) -> Case {
    let mut random = Random::new(case.seed ^ 0x1e9);
    for row in case.embeddings.values.chunks_mut(case.embeddings.dim) {
        let length = low + (high - low) * random.uniform();
        row.iter_mut().for_each(|x| *x *= length);
    }
    case
}

/// Proxies that are missing or too few, labels without a proxy, and empty batches are errors; rows and proxies of
/// zeros have finite gradients.
#[track_caller]
pub fn minds_its_batch(loss: &impl Loss, each: usize) {
    let on_flex = |case: &Case| evaluated::<OnFlex>(loss, case, DType::F32);
    let case = with_proxies(Case::random(1, 12, 6, 3), each);

    let mut without = case.clone();
    without.parameters = None;
    let error = on_flex(&without).unwrap_err();
    let rows = case.classes() * each;
    let LossError::Parameters { expected, got, .. } = error else {
        panic!("{error}")
    };
    assert_eq!((expected, got), ([rows, 6], Vec::new()));

    let mut labelled = case.clone();
    labelled.labels[7] = case.classes() as i64 + 1;
    let error = on_flex(&labelled).unwrap_err();
    assert!(matches!(error, LossError::Label { row: 7, .. }), "{error}");

    let mut short = case.clone();
    short.labels.pop();
    let error = on_flex(&short).unwrap_err();
    assert!(matches!(error, LossError::LabelCount { .. }), "{error}");

    let mut empty = case.clone();
    empty.labels.clear();
    empty.embeddings.values.clear();
    let error = on_flex(&empty).unwrap_err();
    assert!(
        matches!(error, LossError::Lacking { items: 0, .. }),
        "{error}"
    );

    let mut zeros = case.clone();
    zeros.embeddings.values[..6].fill(0.0);
    zeros.parameters.as_mut().unwrap().values[..6].fill(0.0);
    for found in [
        on_flex(&zeros).unwrap(),
        crate::check::in_double(loss, &zeros),
    ] {
        let numbers = found
            .grad
            .iter()
            .chain(found.grad_parameters.iter().flatten());
        assert!(numbers.chain([&found.loss]).all(|x| x.is_finite()));
    }
}

/// Asserts shape and standard deviation of fresh parameters of 7 classes and 5 dimensions.
#[track_caller]
pub fn begins_with(loss: &impl MetricLoss<OnFlex>, rows: usize, std: f64) {
    let parameters = loss.parameters(7, 5).unwrap();
    assert_eq!((parameters.shape, parameters.mean), ([rows, 5], 0.0));
    assert!((parameters.std - std).abs() < 1e-12, "{}", parameters.std);
}
