use burn::tensor::DType;
use recall_baselines::{LossError, MultiSimilarityConfig};

use crate::check::{Case, InDouble, OnFlex, agrees, evaluated, holds_up, in_double};
use crate::reference::Reference;

#[test]
fn agrees_with_its_authors() {
    let reference = Reference::open("multi_similarity");
    let case = reference.case(None);
    for (variant, settings) in reference.variants() {
        let number = |key: &str| settings[key].as_f64();
        let config = MultiSimilarityConfig::new()
            .with_alpha(number("alpha").unwrap())
            .with_beta(number("beta").unwrap())
            .with_base(number("base").unwrap())
            .with_epsilon(number("epsilon"));
        let loss = config.init().unwrap();
        agrees(&loss, &case, &reference.expected(&variant, None), &variant);
        let name = format!("positive_pairs.{variant}");
        if reference.has(&name) {
            let expected = [name, format!("negative_pairs.{variant}")].map(|name| {
                let mut pairs = reference.tuples::<2>(&name);
                pairs.sort_unstable();
                pairs
            });
            let sorted = |mut found: [Vec<[usize; 2]>; 2]| {
                found.iter_mut().for_each(|pairs| pairs.sort_unstable());
                found
            };
            let double = case.embeddings.tensor::<InDouble>(DType::F64);
            let single = case.embeddings.tensor::<OnFlex>(DType::F32);
            assert_eq!(sorted(loss.pairs(double, &case.labels).unwrap()), expected);
            assert_eq!(sorted(loss.pairs(single, &case.labels).unwrap()), expected);
        }
    }
}

#[test]
fn defaults_are_those_of_paper_and_code() {
    let paper = MultiSimilarityConfig::new();
    assert_eq!(
        (paper.alpha, paper.beta, paper.base, paper.epsilon),
        (2.0, 50.0, 1.0, Some(0.1))
    );
    let code = MultiSimilarityConfig::released_code();
    assert_eq!(
        (code.alpha, code.beta, code.base, code.epsilon),
        (2.0, 40.0, 0.5, Some(0.1))
    );
}

#[test]
fn holds_up_on_random_batches() {
    for config in [
        MultiSimilarityConfig::new(),
        MultiSimilarityConfig::released_code().with_epsilon(Some(0.02)),
        MultiSimilarityConfig::released_code().with_epsilon(None),
    ] {
        holds_up(&config.init().unwrap(), |case| case);
    }
}

#[test]
fn a_wide_epsilon_mines_all_pairs() {
    let case = Case::random(1, 20, 6, 1);
    let loss = |epsilon| {
        let config = MultiSimilarityConfig::released_code().with_epsilon(epsilon);
        in_double(&config.init().unwrap(), &case).loss
    };
    // Only a lonely item differs: without a positive it mines no negative.
    assert!(loss(Some(5.0)) < loss(None));
    let mut paired = case.clone();
    paired.labels = (0..20).map(|i| i / 2).collect();
    let loss = |epsilon| {
        let config = MultiSimilarityConfig::released_code().with_epsilon(epsilon);
        in_double(&config.init().unwrap(), &paired).loss
    };
    assert!((loss(Some(5.0)) - loss(None)).abs() < 1e-12);
}

#[test]
fn separated_classes_mine_nothing() {
    let mut case = Case::random(2, 4, 4, 1);
    case.embeddings.values = vec![
        1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0,
    ];
    case.labels = vec![0, 0, 1, 1];
    let loss = MultiSimilarityConfig::new().init().unwrap();
    for found in [
        in_double(&loss, &case),
        evaluated::<OnFlex>(&loss, &case, DType::F32).unwrap(),
    ] {
        assert_eq!(found.loss, 0.0);
        assert!(found.grad.iter().all(|&x| x == 0.0));
    }
}

#[test]
fn a_batch_without_positives_or_negatives_is_an_error() {
    let loss = MultiSimilarityConfig::new().init().unwrap();
    for labels in [vec![0, 1, 2, 3, 4, 5], vec![0; 6]] {
        let mut case = Case::random(0, 6, 4, 1);
        case.labels = labels;
        let error = evaluated::<OnFlex>(&loss, &case, DType::F32).unwrap_err();
        assert!(matches!(error, LossError::Lacking { items: 6, .. }));
    }
}

#[test]
fn settings_without_sense_are_refused_by_name() {
    let config = MultiSimilarityConfig::new();
    for (config, start) in [
        (config.clone().with_alpha(0.0), "alpha = 0"),
        (config.clone().with_beta(-1.0), "beta = -1"),
        (config.clone().with_base(f64::NAN), "base = NaN"),
        (config.with_epsilon(Some(-0.1)), "epsilon = -0.1"),
    ] {
        let error = config.init().unwrap_err();
        assert!(error.to_string().starts_with(start), "{error}");
    }
}
