use burn::tensor::DType;
use recall_baselines::{ListwiseApConfig, LossError};

use crate::check::{
    Case, InDouble, OnFlex, agrees, evaluated, holds_up, in_double, on_flex, relative,
};
use crate::reference::Reference;

#[test]
fn agrees_with_its_authors() {
    let reference = Reference::open("listwise_ap");
    let case = reference.case(None);
    for (variant, settings) in reference.variants() {
        let number = |key: &str| settings[key].as_f64().unwrap();
        let loss = ListwiseApConfig::new()
            .with_bins(number("bins") as usize)
            .with_low(number("low"))
            .with_high(number("high"))
            .with_query_included(settings["query_included"].as_bool().unwrap())
            .init()
            .unwrap();
        agrees(&loss, &case, &reference.expected(&variant, None), &variant);
        let embeddings = case.embeddings.tensor::<InDouble>(DType::F64);
        let found = loss.average_precisions(embeddings, &case.labels).unwrap();
        let queries: Vec<i64> = found.queries.iter().map(|&query| query as i64).collect();
        assert_eq!(queries, reference.integers(&format!("queries.{variant}")));
        let expected = reference.floats(&format!("ap.{variant}"));
        assert!(relative(&found.values, &expected) <= 1e-9, "{variant}");
    }
}

#[test]
fn holds_up_on_random_batches() {
    for config in [
        ListwiseApConfig::new(),
        ListwiseApConfig::released(),
        ListwiseApConfig::new()
            .with_bins(2)
            .with_query_included(false),
        ListwiseApConfig::new().with_bins(300).with_high(0.5),
    ] {
        holds_up(&config.init().unwrap(), |case| case);
    }
}

#[test]
fn where_similarities_are_at_bins_it_is_the_average_precision() {
    // Corners of a cube: their similarities are the quarters from -1 to 1, with ties.
    let mut case = Case::random(11, 60, 8, 4);
    for value in &mut case.embeddings.values {
        *value = value.signum() / 8f64.sqrt();
    }
    let loss = ListwiseApConfig::new()
        .with_bins(9)
        .with_query_included(false)
        .init()
        .unwrap();
    let rows: Vec<&[f64]> = case.embeddings.values.chunks(8).collect();
    let precision = |query: usize| {
        let similarity = |other: usize| -> f64 {
            rows[query]
                .iter()
                .zip(rows[other])
                .map(|(a, b)| a * b)
                .sum()
        };
        let others = || (0..rows.len()).filter(|&other| other != query);
        let positives = || others().filter(|&other| case.labels[other] == case.labels[query]);
        let at_least = |least: f64| move |&other: &usize| similarity(other) > least - 0.1;
        let precisions = positives().map(|positive| {
            let least = similarity(positive);
            let above = positives().filter(at_least(least)).count();
            above as f64 / others().filter(at_least(least)).count() as f64
        });
        precisions.sum::<f64>() / positives().count() as f64
    };
    let embeddings = case.embeddings.tensor::<OnFlex>(DType::F32);
    let found = loss.average_precisions(embeddings, &case.labels).unwrap();
    assert!(found.queries.len() > 20);
    for (&query, &value) in found.queries.iter().zip(&found.values) {
        let expected = precision(query);
        assert!(
            (value - expected).abs() <= 1e-5,
            "{value} is not {expected}"
        );
    }
}

#[test]
fn a_query_in_its_list_is_a_constant() {
    // Two pairs, each of one vector twice: the nearest could not be nearer.
    let mut case = Case::random(3, 4, 4, 1);
    case.labels = vec![0, 1, 0, 1];
    case.embeddings = case.embeddings.reordered(&[0, 1, 0, 1]);
    let loss = ListwiseApConfig::new().with_bins(200).init().unwrap();
    for found in [on_flex(&loss, &case), in_double(&loss, &case)] {
        assert!(found.loss.abs() <= 1e-6, "{}", found.loss);
        assert!(found.grad.iter().all(|grad| grad.abs() <= 1e-6));
    }
}

#[test]
fn a_batch_without_positives_is_an_error() {
    let mut case = Case::random(0, 6, 4, 1);
    case.labels = (0..6).collect();
    let loss = ListwiseApConfig::new().init().unwrap();
    let error = evaluated::<OnFlex>(&loss, &case, DType::F32).unwrap_err();
    assert!(matches!(error, LossError::Lacking { items: 6, .. }));
    let embeddings = case.embeddings.tensor::<OnFlex>(DType::F32);
    let error = loss.average_precisions(embeddings, &[0, 0]).unwrap_err();
    assert!(matches!(error, LossError::LabelCount { labels: 2, .. }));
}

#[test]
fn settings_without_sense_are_refused_by_name() {
    for (config, name) in [
        (ListwiseApConfig::new().with_bins(1), "bins = 1"),
        (ListwiseApConfig::new().with_low(1.0), "low = 1"),
        (ListwiseApConfig::new().with_high(f64::NAN), "high = NaN"),
    ] {
        let error = config.init().unwrap_err();
        assert!(error.to_string().starts_with(name), "{error}");
    }
}
