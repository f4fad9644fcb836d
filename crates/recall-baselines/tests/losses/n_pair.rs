use std::collections::BTreeSet;

use burn::tensor::{DType, Tensor};
use recall_baselines::{Batch, LossError, MetricLoss, NPair, NPairConfig};
use recall_loss::RecallBackend;

use crate::check::{
    Case, InDouble, OnFlex, agrees, evaluated, has_the_gradient_of_its_value, ignores_rotations,
    in_double, relative, rows_are_tensor_operations,
};
use crate::reference::Reference;

/// The loss of pairs that are given, as the rows that they are, so that these may be in any order.
struct Given {
    loss: NPair,
    embeddings: Vec<f64>,
    pairs: Vec<[usize; 2]>,
}

impl<B: RecallBackend> MetricLoss<B> for Given {
    fn evaluate(&self, batch: Batch<'_, B>) -> Result<Tensor<B, 1>, LossError> {
        let pairs = placed(&self.embeddings, &self.pairs, &batch);
        self.loss.evaluate_pairs(batch.embeddings, &pairs)
    }
}

/// Pairs of rows of `embeddings` as pairs of the rows of a batch that has them in another order.
pub fn placed<B: RecallBackend>(
    embeddings: &[f64],
    pairs: &[[usize; 2]],
    batch: &Batch<'_, B>,
) -> Vec<[usize; 2]> {
    let dim = batch.embeddings.dims()[1];
    let found: Vec<f64> = batch.embeddings.to_data().iter::<f64>().collect();
    let place = |row: usize| {
        let expected = &embeddings[row * dim..(row + 1) * dim];
        let same = |found: &[f64]| relative(found, expected) < 1e-5;
        found.chunks(dim).position(same).unwrap()
    };
    pairs.iter().map(|pair| pair.map(place)).collect()
}

#[test]
fn agrees_with_its_authors() {
    let reference = Reference::open("n_pair");
    let case = reference.case(None);
    for (variant, settings) in reference.variants() {
        let config = NPairConfig::new().with_l2(settings["l2"].as_f64().unwrap());
        let loss = Given {
            loss: config.init().unwrap(),
            embeddings: case.embeddings.values.clone(),
            pairs: reference.tuples("pairs"),
        };
        agrees(&loss, &case, &reference.expected(&variant, None), &variant);
    }
}

#[test]
fn holds_up_on_random_batches() {
    for l2 in [0.0, 0.3] {
        let loss = NPairConfig::new().with_l2(l2).init().unwrap();
        for seed in 0..6 {
            let mut case = Case::random(seed, 14 + 5 * seed as usize, 8, 4);
            case.embeddings.values.iter_mut().for_each(|x| *x *= 2.5);
            has_the_gradient_of_its_value(&loss, &case);
            ignores_rotations(&loss, &case);
            rows_are_tensor_operations(&loss, &case);
        }
    }
}

#[test]
fn pairs_are_drawn_of_all_pairs_of_each_class() {
    let loss = NPairConfig::new().init().unwrap();
    let labels = [7, 3, 7, 5, 3, 7];
    let draws = (0..60).map(|seed| loss.pairs(&labels, seed).unwrap());
    let mut seen = [BTreeSet::new(), BTreeSet::new()];
    for pairs in draws {
        assert_eq!(pairs.len(), 2);
        for (pair, seen) in pairs.iter().zip(&mut seen) {
            seen.insert(*pair);
        }
    }
    // Lonely items are in none; an item is not its own positive.
    assert_eq!(seen[0], BTreeSet::from([[1, 4], [4, 1]]));
    let rows = [0, 2, 5];
    let others = |a| {
        rows.into_iter()
            .filter(move |&b| b != a)
            .map(move |b| [a, b])
    };
    assert_eq!(seen[1], rows.into_iter().flat_map(others).collect());
    assert_eq!(
        loss.pairs(&labels, 4).unwrap(),
        loss.pairs(&labels, 4).unwrap()
    );
}

#[test]
fn rows_without_length_cannot_tell_classes_apart() {
    let mut case = Case::random(1, 30, 6, 3);
    case.embeddings.values.fill(0.0);
    let loss = NPairConfig::new().init().unwrap();
    let pairs = loss.pairs(&case.labels, case.seed).unwrap().len();
    assert!(pairs > 3);
    let found = in_double(&loss, &case);
    assert!((found.loss - (pairs as f64).ln()).abs() <= 1e-12);
}

#[test]
fn pairs_that_are_none_are_errors() {
    let loss = NPairConfig::new().init().unwrap();
    let mut case = Case::random(0, 6, 4, 1);
    case.labels = vec![0, 1, 0, 0, 2, 3];
    let error = evaluated::<OnFlex>(&loss, &case, DType::F32).unwrap_err();
    assert!(matches!(error, LossError::Lacking { items: 6, .. }));
    let embeddings = case.embeddings.tensor::<InDouble>(DType::F64);
    let error = loss
        .evaluate_pairs(embeddings.clone(), &[[0, 1]])
        .unwrap_err();
    assert!(matches!(error, LossError::Lacking { items: 6, .. }));
    let error = loss
        .evaluate_pairs(embeddings, &[[0, 1], [2, 6]])
        .unwrap_err();
    assert!(error.to_string().starts_with("pairs = [2, 6]"), "{error}");
}

#[test]
fn settings_without_sense_are_refused_by_name() {
    let error = NPairConfig::new().with_l2(-0.1).init().unwrap_err();
    assert!(error.to_string().starts_with("l2 = -0.1"), "{error}");
}
