use std::collections::BTreeSet;

use burn::tensor::{DType, Tensor};
use recall_baselines::{Batch, ContrastiveConfig, LossError, MetricLoss, Metrix, MetrixConfig};
use recall_loss::RecallBackend;

use crate::check::{
    Case, Expected, Matrix, OnFlex, Random, evaluated, has_the_gradient_of_its_value,
    ignores_rotations, in_double, on_flex, on_ndarray, rows_are_tensor_operations, same,
};
use crate::reference::Reference;

/// Given mixtures, and not those of a seed.
#[derive(Clone)]
struct Given {
    metrix: Metrix,
    triples: Vec<[usize; 3]>,
    lambdas: Vec<f64>,
    total: bool,
}

impl<B: RecallBackend> MetricLoss<B> for Given {
    fn evaluate(&self, batch: Batch<'_, B>) -> Result<Tensor<B, 1>, LossError> {
        match self.total {
            true => self.metrix.total(batch, &self.triples, &self.lambdas),
            false => (self.metrix).mixed(batch.embeddings, &self.triples, &self.lambdas),
        }
    }
}

#[test]
fn agrees_with_its_authors() {
    let reference = Reference::open("metrix");
    let case = reference.case(None);
    let order = Random::new(3).order(case.labels.len());
    let place = |row: usize| order.iter().position(|&old| old == row).unwrap();
    for (variant, settings) in reference.variants() {
        let number = |key: &str| settings[key].as_f64();
        let config = match variant.starts_with("contrastive") {
            true => MetrixConfig::contrastive().with_margin(number("neg_margin").unwrap()),
            false => MetrixConfig::multi_similarity()
                .with_alpha(number("alpha").unwrap())
                .with_beta(number("beta").unwrap())
                .with_base(number("base").unwrap()),
        };
        let weight = number("weight");
        let given = Given {
            metrix: config.with_weight(weight.unwrap_or(0.4)).init().unwrap(),
            triples: reference.tuples("triples"),
            lambdas: reference.floats(settings["lam"].as_str().unwrap()),
            total: weight.is_some(),
        };
        let shuffled = Given {
            triples: given.triples.iter().map(|t| t.map(place)).collect(),
            ..given.clone()
        };
        let expected = reference.expected(&variant, None);
        let grad = Matrix {
            values: expected.grad.clone(),
            dim: case.embeddings.dim,
        };
        let expected_shuffled = Expected {
            grad: grad.reordered(&order).values,
            ..expected.clone()
        };
        for (loss, case, expected) in [
            (&given, case.clone(), &expected),
            (&shuffled, case.reordered(&order), &expected_shuffled),
        ] {
            // Rounding of similarities is multiplied by β.
            let steep = if number("beta") > Some(60.0) {
                2.0
            } else {
                1.0
            };
            same(&in_double(loss, &case), expected, 1e-9, 1e-9, &variant);
            same(
                &on_flex(loss, &case),
                expected,
                1e-6,
                1e-5 * steep,
                &variant,
            );
            same(
                &on_ndarray(loss, &case),
                expected,
                1e-6,
                1e-5 * steep,
                &variant,
            );
        }
    }
}

fn both() -> [Metrix; 2] {
    [
        MetrixConfig::contrastive().with_margin(1.0),
        MetrixConfig::multi_similarity().with_one_lambda(false),
    ]
    .map(|config| config.init().unwrap())
}

#[test]
fn holds_up_on_random_batches() {
    for loss in both() {
        for seed in 0..6 {
            let case = Case::random(seed, 14 + 5 * seed as usize, 8, 4);
            has_the_gradient_of_its_value(&loss, &case);
            ignores_rotations(&loss, &case);
        }
        rows_are_tensor_operations(&loss, &Case::random(6, 90, 12, 7));
    }
}

#[test]
fn each_pair_is_mixed_once_with_an_item_of_another_class() {
    let case = Case::random(3, 40, 4, 5);
    let labels = &case.labels;
    let pairs = |i: usize| (0..40).filter(move |&j| j != i && labels[j] == labels[i]);
    let expected: usize = (0..40).map(|i| pairs(i).count()).sum();
    let mut sides = BTreeSet::new();
    for seed in 0..20 {
        let [one, each] = both();
        let (triples, lambdas) = each.draw(labels, seed).unwrap();
        assert_eq!((triples.len(), lambdas.len()), (expected, expected));
        assert!(lambdas.iter().all(|lambda| (0.0..=1.0).contains(lambda)));
        assert!(triples.iter().all(|&[a, _, n]| labels[a] != labels[n]));
        let of_anchors = triples[0][0] == triples[0][1];
        if of_anchors {
            assert!(triples.iter().all(|&[a, p, _]| a == p));
        } else {
            let found: BTreeSet<_> = triples.iter().map(|&[a, p, _]| (a, p)).collect();
            let all = (0..40).flat_map(|i| pairs(i).map(move |j| (i, j)));
            assert_eq!(found, all.collect());
        }
        sides.insert(of_anchors);
        let negatives: BTreeSet<_> = triples.iter().map(|triple| triple[2]).collect();
        assert!(negatives.len() > 20);
        assert_eq!(one.draw(labels, seed).unwrap().1.len(), 1);
        assert_eq!(each.draw(labels, seed).unwrap(), (triples, lambdas));
    }
    assert_eq!(sides.len(), 2);
}

#[test]
fn the_seed_of_a_batch_makes_its_mixtures() {
    let case = Case::random(3, 30, 8, 4);
    for loss in both() {
        let (triples, lambdas) = loss.draw(&case.labels, case.seed).unwrap();
        let given = Given {
            metrix: loss.clone(),
            triples,
            lambdas,
            total: true,
        };
        let (found, expected) = (on_flex(&loss, &case), on_flex(&given, &case));
        assert_eq!((found.loss, found.grad), (expected.loss, expected.grad));
        let other = Case {
            seed: 99,
            ..case.clone()
        };
        assert_ne!(on_flex(&loss, &other).loss, expected.loss);
    }
}

#[test]
fn without_weight_it_is_the_loss_that_is_mixed() {
    let config = MetrixConfig::contrastive().with_weight(0.0);
    let contrastive = ContrastiveConfig::hinges().with_margin(0.5);
    let case = Case::random(5, 30, 4, 5);
    let expected = in_double(&contrastive.init().unwrap(), &case);
    let found = in_double(&config.init().unwrap(), &case);
    same(&found, &expected, 1e-12, 1e-12, "weight 0");
}

#[test]
fn mixtures_that_are_positives_are_the_positive_part() {
    let case = Case::random(6, 30, 4, 5);
    let metrix = MetrixConfig::contrastive().init().unwrap();
    let seed = (0..).find(|&seed| {
        let (triples, _) = metrix.draw(&case.labels, seed).unwrap();
        triples[0][0] != triples[0][1]
    });
    let (triples, _) = metrix.draw(&case.labels, seed.unwrap()).unwrap();
    let all = Given {
        metrix,
        triples,
        lambdas: vec![1.0],
        total: false,
    };
    // Without a margin for negatives the hinges pull positives only.
    let positive = ContrastiveConfig::hinges().with_margin(0.0).init().unwrap();
    let (found, expected) = (in_double(&all, &case), in_double(&positive, &case));
    assert!((found.loss - expected.loss).abs() < 1e-12);
}

#[test]
fn very_steep_weights_stay_finite() {
    let config = MetrixConfig::multi_similarity()
        .with_alpha(400.0)
        .with_beta(400.0);
    let case = Case::random(6, 30, 4, 5);
    let loss = config.init().unwrap();
    rows_are_tensor_operations(&loss, &case);
}

#[test]
fn a_batch_without_what_is_mixed_is_an_error() {
    let mut case = Case::random(0, 6, 4, 1);
    for labels in [vec![0, 1, 2, 3, 4, 5], vec![3; 6]] {
        case.labels = labels;
        for loss in both() {
            let error = evaluated::<OnFlex>(&loss, &case, DType::F32).unwrap_err();
            assert!(matches!(error, LossError::Lacking { items: 6, .. }));
        }
    }
}

#[test]
fn mixtures_of_another_batch_are_refused() {
    let case = Case::random(0, 6, 4, 3);
    let refused = |triples: &[[usize; 3]], lambdas: &[f64]| {
        let loss = Given {
            metrix: MetrixConfig::contrastive().init().unwrap(),
            triples: triples.to_vec(),
            lambdas: lambdas.to_vec(),
            total: false,
        };
        evaluated::<OnFlex>(&loss, &case, DType::F32)
            .unwrap_err()
            .to_string()
    };
    assert!(refused(&[[0, 1, 6]], &[0.5]).contains("row 6"));
    assert!(refused(&[[0, 1, 2]], &[0.5, 0.5]).contains("2 weights for 1"));
    assert!(refused(&[[0, 1, 2]], &[1.5]).contains("weight 1.5"));
}

#[test]
fn settings_without_sense_are_refused_by_name() {
    let refusal = |config: MetrixConfig| config.init().unwrap_err().to_string();
    let config = MetrixConfig::contrastive;
    assert!(refusal(config().with_weight(-1.0)).starts_with("weight = -1"));
    assert!(refusal(config().with_concentration(0.0)).starts_with("concentration = 0"));
    assert!(refusal(config().with_margin(-0.5)).starts_with("margin = -0.5"));
    assert!(refusal(config().with_alpha(0.0)).starts_with("alpha = 0"));
    assert!(refusal(config().with_beta(f64::NAN)).starts_with("beta = NaN"));
    assert!(refusal(config().with_base(f64::INFINITY)).starts_with("base = inf"));
}
