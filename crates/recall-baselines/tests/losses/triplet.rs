use std::collections::BTreeSet;

use burn::tensor::DType;
use recall_baselines::{LossError, Triplet, TripletConfig, TripletMining, TripletReduction};

use crate::check::{
    Case, InDouble, OnFlex, agrees, evaluated, has_the_gradient_of_its_value, ignores_rotations,
    ignores_the_order, in_double, on_flex, rows_are_tensor_operations,
};
use crate::reference::Reference;

fn all_forms() -> Vec<TripletConfig> {
    vec![
        TripletConfig::facenet(),
        TripletConfig::tensorflow_addons(),
        TripletConfig::semihard_window(),
        TripletConfig::hard_window(),
        TripletConfig::batch_hard(),
        TripletConfig::batch_hard_soft(),
        TripletConfig::all(),
    ]
}

fn mined(loss: &Triplet, case: &Case) -> BTreeSet<[usize; 3]> {
    let embeddings = case.embeddings.tensor::<InDouble>(DType::F64);
    let in_double = loss.triplets(embeddings, &case.labels).unwrap();
    let embeddings = case.embeddings.tensor::<OnFlex>(DType::F32);
    let in_single = loss.triplets(embeddings, &case.labels).unwrap();
    let count = in_double.len();
    let set: BTreeSet<[usize; 3]> = in_double.into_iter().collect();
    assert_eq!(set.len(), count);
    assert_eq!(set, in_single.into_iter().collect());
    set
}

#[test]
fn agrees_with_pytorch_metric_learning_and_tensorflow() {
    let reference = Reference::open("triplet");
    let case = reference.case(None);
    for (variant, settings) in reference.variants() {
        let config = match variant.as_str() {
            "semihard_nearest" => TripletConfig::facenet(),
            "semihard_nearest_euclidean" => TripletConfig::tensorflow_addons(),
            "semihard_window" => TripletConfig::semihard_window(),
            "hard_window" => TripletConfig::hard_window(),
            "batch_hard" => TripletConfig::batch_hard(),
            "batch_hard_soft" => TripletConfig::batch_hard_soft(),
            "all" => TripletConfig::all(),
            other => panic!("{other}"),
        };
        // The constructors are what the file says.
        assert_eq!(config.squared, settings["distance"] == "squared Euclidean");
        assert_eq!(config.soft, settings["soft"].as_bool().unwrap());
        if let Some(margin) = settings["margin"].as_f64() {
            assert_eq!(config.margin, margin);
        }
        let non_zero = settings["reduction"] == "mean of the non-zero";
        assert_eq!(config.reduction == TripletReduction::NonZero, non_zero);

        let loss = config.init().unwrap();
        agrees(&loss, &case, &reference.expected(&variant, None), &variant);
        let found = mined(&loss, &case);
        match reference.has(&format!("triplets.{variant}")) {
            true => {
                let expected = reference.tuples::<3>(&format!("triplets.{variant}"));
                assert_eq!(found, expected.into_iter().collect(), "{variant}");
            }
            // Of all triplets the file counts those that are not zero.
            false => assert!(found.len() >= settings["triplets"].as_u64().unwrap() as usize),
        }
    }
}

/// All distances of a case, as the loss of a configuration has them.
fn distances(config: &TripletConfig, case: &Case) -> Vec<Vec<f64>> {
    let rows: Vec<&[f64]> = case.embeddings.values.chunks(case.embeddings.dim).collect();
    let distance = |a: &[f64], b: &[f64]| {
        let square: f64 = a.iter().zip(b).map(|(x, y)| (x - y).powi(2)).sum();
        match config.squared {
            true => square,
            false => square.sqrt(),
        }
    };
    let row = |a: &&[f64]| rows.iter().map(|b| distance(a, b)).collect();
    rows.iter().map(row).collect()
}

/// Whether the set of triplets stays the same when embeddings move a little. Where it does not, values jump.
fn is_away_from_edges(config: &TripletConfig, case: &Case) -> bool {
    let distances = distances(config, case);
    let n = case.labels.len();
    let triplets = (0..n * n * n).map(|at| [at / n / n, at / n % n, at % n]);
    triplets
        .filter(|&[a, p, n]| {
            a != p && case.labels[a] == case.labels[p] && case.labels[a] != case.labels[n]
        })
        .map(|[a, p, n]| distances[a][n] - distances[a][p])
        .all(|gap| gap.abs() > 1e-5 && (gap - config.margin).abs() > 1e-5)
}

#[test]
fn holds_up_on_random_batches() {
    let more = [
        TripletConfig::facenet().with_reduction(TripletReduction::NonZero),
        TripletConfig::all()
            .with_squared(false)
            .with_reduction(TripletReduction::Mean),
        TripletConfig::semihard_window().with_squared(true),
        TripletConfig::hard_window().with_squared(true),
        TripletConfig::facenet().with_soft(true),
    ];
    for config in all_forms().into_iter().chain(more) {
        let loss = config.init().unwrap();
        let cases = (0..8).map(|seed| Case::random(seed, 14 + 4 * seed as usize, 8, 4));
        let cases: Vec<Case> = cases
            .filter(|case| is_away_from_edges(&config, case))
            .collect();
        assert!(cases.len() >= 4, "{config:?}");
        for case in &cases {
            has_the_gradient_of_its_value(&loss, case);
            ignores_the_order(&loss, case);
            ignores_rotations(&loss, case);
        }
        for seed in 6..8 {
            rows_are_tensor_operations(&loss, &Case::random(seed, 90, 12, 7));
        }
    }
}

/// More positives than are compared one by one.
#[test]
fn large_classes_are_tensor_operations_too() {
    let mut case = Case::random(0, 90, 12, 3);
    let label = |i: i64| if i < 5 { i } else { i * i % 3 };
    case.labels = (0..90).map(label).collect();
    for config in all_forms() {
        rows_are_tensor_operations(&config.init().unwrap(), &case);
    }
}

/// The loss is the mean over the triplets that the miner lists, one by one.
#[test]
fn is_the_mean_over_its_triplets() {
    for seed in 0..3 {
        let case = Case::random(seed, 40, 6, 24);
        for config in all_forms() {
            let loss = config.init().unwrap();
            let distances = distances(&config, &case);
            let terms: Vec<f64> = mined(&loss, &case)
                .into_iter()
                .map(|[a, p, n]| {
                    let gap = distances[a][p] - distances[a][n];
                    match config.soft {
                        true => gap.exp().ln_1p(),
                        false => (gap + config.margin).max(0.0),
                    }
                })
                .collect();
            let count = match config.reduction {
                TripletReduction::Mean => terms.len(),
                TripletReduction::NonZero => terms.iter().filter(|&&term| term > 0.0).count(),
            };
            let expected = terms.iter().sum::<f64>() / count.max(1) as f64;
            let found = in_double(&loss, &case).loss;
            assert!((found - expected).abs() < 1e-9, "{config:?}");
            let found = on_flex(&loss, &case).loss;
            assert!((found - expected).abs() < 1e-5, "{config:?}");
        }
    }
}

/// Hard and semi-hard triplets are those of all that are not zero.
#[test]
fn windows_divide_what_is_not_zero() {
    let case = Case::random(5, 40, 6, 6);
    let all = TripletConfig::all().with_squared(false).init().unwrap();
    let semihard = mined(&TripletConfig::semihard_window().init().unwrap(), &case);
    let hard = mined(&TripletConfig::hard_window().init().unwrap(), &case);
    assert!(!hard.is_empty() && hard.is_disjoint(&semihard));
    let sum = |config: TripletConfig, count: usize| {
        in_double(&config.init().unwrap(), &case).loss * count as f64
    };
    let parts = sum(TripletConfig::semihard_window(), semihard.len())
        + sum(TripletConfig::hard_window(), hard.len());
    let whole = in_double(&all, &case).loss * (semihard.len() + hard.len()) as f64;
    assert!((whole - parts).abs() < 1e-9 * whole);
}

#[test]
fn separated_classes_cost_nothing() {
    let mut case = Case::random(2, 4, 4, 1);
    case.embeddings.values = vec![
        1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0,
    ];
    case.labels = vec![0, 0, 1, 1];
    for config in all_forms() {
        if config.soft {
            continue;
        }
        let loss = config.init().unwrap();
        for found in [
            in_double(&loss, &case),
            evaluated::<OnFlex>(&loss, &case, DType::F32).unwrap(),
        ] {
            assert_eq!(found.loss, 0.0, "{config:?}");
            assert!(found.grad.iter().all(|&x| x == 0.0), "{config:?}");
        }
    }
}

/// At distance 0 a derivative is 0, not infinite.
#[test]
fn identical_items_cost_the_margin() {
    let mut case = Case::random(4, 9, 4, 3);
    case.embeddings.values = [0.0, 1.0, 0.0, 0.0].repeat(9);
    for config in all_forms() {
        let expected = match (config.mining, config.soft) {
            (TripletMining::SemihardWindow, _) => 0.0,
            (_, true) => 2f64.ln(),
            _ => config.margin,
        };
        let loss = config.init().unwrap();
        for found in [in_double(&loss, &case), on_flex(&loss, &case)] {
            assert!((found.loss - expected).abs() < 1e-6, "{config:?}");
            assert!(found.grad.iter().all(|&x| x == 0.0), "{config:?}");
        }
    }
}

#[test]
fn a_batch_without_triplets_is_an_error() {
    let loss = TripletConfig::batch_hard().init().unwrap();
    for labels in [(0..6).collect(), vec![0; 6]] {
        let mut case = Case::random(0, 6, 4, 1);
        case.labels = labels;
        let error = evaluated::<OnFlex>(&loss, &case, DType::F32).unwrap_err();
        assert!(matches!(error, LossError::Lacking { items: 6, .. }));
        let embeddings = case.embeddings.tensor::<OnFlex>(DType::F32);
        let error = loss.triplets(embeddings, &case.labels).unwrap_err();
        assert!(matches!(error, LossError::Lacking { items: 6, .. }));
    }
}

#[test]
fn settings_without_sense_are_refused_by_name() {
    for (config, start) in [
        (TripletConfig::facenet().with_margin(-0.1), "margin = -0.1"),
        (
            TripletConfig::new(TripletMining::HardWindow).with_soft(true),
            "soft = true",
        ),
    ] {
        let error = config.init().unwrap_err();
        assert!(error.to_string().starts_with(start), "{error}");
    }
}
