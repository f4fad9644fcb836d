use burn::tensor::{DType, Tensor};
use recall_baselines::{Angular, AngularConfig, Batch, LossError, MetricLoss, NPairConfig};
use recall_loss::RecallBackend;

use crate::check::{
    Case, InDouble, OnFlex, agrees, evaluated, has_the_gradient_of_its_value, holds_up,
    ignores_rotations, in_double, on_flex, rows_are_tensor_operations,
};
use crate::n_pair::placed;
use crate::reference::Reference;

/// The loss of pairs that are given.
struct Given {
    loss: Angular,
    embeddings: Vec<f64>,
    pairs: Vec<[usize; 2]>,
}

impl<B: RecallBackend> MetricLoss<B> for Given {
    fn evaluate(&self, batch: Batch<'_, B>) -> Result<Tensor<B, 1>, LossError> {
        let pairs = placed(&self.embeddings, &self.pairs, &batch);
        self.loss.evaluate_pairs(batch.embeddings, &pairs)
    }
}

#[test]
fn agrees_with_its_authors() {
    let reference = Reference::open("angular");
    let case = reference.case(None);
    let long = Case {
        embeddings: reference.matrix("long_embeddings"),
        labels: reference.integers("long_labels"),
        ..case.clone()
    };
    for (variant, settings) in reference.variants() {
        let number = |key: &str| settings[key].as_f64().unwrap();
        let degrees = number("degrees");
        let expected = reference.expected(&variant, None);
        if variant.starts_with("all_pairs") {
            let loss = AngularConfig::all_pairs().with_degrees(degrees);
            agrees(&loss.init().unwrap(), &case, &expected, &variant);
            continue;
        }
        let (config, case, pairs) = match variant.as_str() {
            "with_n_pair" => (
                AngularConfig::n_pair()
                    .with_angular_weight(number("angular_weight"))
                    .with_l2(number("l2")),
                &long,
                "long_pairs",
            ),
            _ => (AngularConfig::pairs(), &case, "pairs"),
        };
        let loss = Given {
            loss: config.with_degrees(degrees).init().unwrap(),
            embeddings: case.embeddings.values.clone(),
            pairs: reference.tuples(pairs),
        };
        agrees(&loss, case, &expected, &variant);
    }
}

#[test]
fn all_pairs_hold_up_on_random_batches() {
    for degrees in [20.0, 40.0, 60.0] {
        let config = AngularConfig::all_pairs().with_degrees(degrees);
        holds_up(&config.init().unwrap(), |case| case);
    }
}

#[test]
fn drawn_pairs_hold_up_on_random_batches() {
    for config in [AngularConfig::pairs(), AngularConfig::n_pair()] {
        let loss = config.init().unwrap();
        for seed in 0..6 {
            let case = Case::random(seed, 14 + 5 * seed as usize, 8, 4);
            has_the_gradient_of_its_value(&loss, &case);
            ignores_rotations(&loss, &case);
            rows_are_tensor_operations(&loss, &case);
        }
    }
}

#[test]
fn pairs_of_two_classes_are_all_pairs_if_there_are_no_others() {
    // One pair of each class: all pairs have both items of the other class for negatives, so with equal items
    // the sums are twice as large.
    let mut case = Case::random(4, 4, 5, 1);
    case.labels = vec![0, 1, 0, 1];
    case.embeddings = case.embeddings.reordered(&[0, 1, 0, 1]);
    let drawn = AngularConfig::pairs().with_degrees(40.0).init().unwrap();
    let all = AngularConfig::all_pairs().init().unwrap();
    // f, of log(1 + e^f) and log(1 + 2 e^f), by both classes alike.
    let sum = in_double(&drawn, &case).loss.exp_m1();
    let expected = (2.0 * sum).ln_1p();
    for found in [on_flex(&all, &case), in_double(&all, &case)] {
        assert!((found.loss - expected).abs() <= 1e-5, "{}", found.loss);
    }
}

#[test]
fn without_weight_it_is_the_n_pair_loss() {
    let case = Case::random(4, 40, 5, 3);
    let loss = AngularConfig::n_pair()
        .with_angular_weight(0.0)
        .init()
        .unwrap();
    let n_pair = NPairConfig::new().init().unwrap();
    let (found, expected) = (in_double(&loss, &case), in_double(&n_pair, &case));
    crate::check::same(&found, &expected, 1e-12, 1e-12, "N-pair");
}

#[test]
fn a_batch_without_what_it_compares_is_an_error() {
    let mut case = Case::random(0, 6, 4, 1);
    for (config, labels) in [
        (AngularConfig::pairs(), [0, 1, 0, 0, 2, 3]),
        (AngularConfig::n_pair(), [0, 1, 0, 0, 2, 3]),
        (AngularConfig::all_pairs(), [0, 1, 4, 5, 2, 3]),
        (AngularConfig::all_pairs(), [0; 6]),
    ] {
        case.labels = labels.to_vec();
        let loss = config.init().unwrap();
        let error = evaluated::<OnFlex>(&loss, &case, DType::F32).unwrap_err();
        assert!(matches!(error, LossError::Lacking { items: 6, .. }));
    }
    let embeddings = case.embeddings.tensor::<InDouble>(DType::F64);
    let loss = AngularConfig::pairs().init().unwrap();
    let error = loss
        .evaluate_pairs(embeddings, &[[0, 1], [9, 2]])
        .unwrap_err();
    assert!(error.to_string().starts_with("pairs = [9, 2]"), "{error}");
}

#[test]
fn settings_without_sense_are_refused_by_name() {
    for (config, name) in [
        (AngularConfig::pairs().with_degrees(90.0), "degrees = 90"),
        (AngularConfig::n_pair().with_l2(-1.0), "l2 = -1"),
        (
            AngularConfig::n_pair().with_angular_weight(-1.0),
            "angular_weight = -1",
        ),
    ] {
        let error = config.init().unwrap_err();
        assert!(error.to_string().starts_with(name), "{error}");
    }
}
