use burn::tensor::DType;
use recall_baselines::{HistogramConfig, LossError};

use crate::check::{
    Case, InDouble, OnFlex, agrees, evaluated, holds_up, in_double, on_flex, relative,
};
use crate::reference::Reference;

#[test]
fn agrees_with_its_authors() {
    let reference = Reference::open("histogram");
    let case = reference.case(None);
    for (variant, settings) in reference.variants() {
        let config = HistogramConfig::new().with_step(settings["step"].as_f64().unwrap());
        let loss = config.init().unwrap();
        agrees(&loss, &case, &reference.expected(&variant, None), &variant);
        let embeddings = case.embeddings.tensor::<InDouble>(DType::F64);
        let found = loss.histograms(embeddings, &case.labels).unwrap();
        for (found, name) in [(found.positives, "positive"), (found.negatives, "negative")] {
            let expected = reference.floats(&format!("{name}_histogram.{variant}"));
            assert!(relative(&found, &expected) <= 1e-9, "{variant}");
        }
    }
}

#[test]
fn holds_up_on_random_batches() {
    for step in [0.01, 0.1, 2.0] {
        holds_up(
            &HistogramConfig::new().with_step(step).init().unwrap(),
            |case| case,
        );
    }
}

#[test]
fn equal_rows_are_at_the_last_node() {
    // Two classes, each of one vector twice, and these opposite: no negative is as alike as a positive.
    let mut case = Case::random(3, 4, 4, 1);
    case.labels = vec![0, 1, 0, 1];
    case.embeddings = case.embeddings.reordered(&[0, 1, 0, 1]);
    for i in 0..4 {
        case.embeddings.values[4 + i] = -case.embeddings.values[i];
        case.embeddings.values[12 + i] = -case.embeddings.values[i];
    }
    let loss = HistogramConfig::new().init().unwrap();
    for found in [on_flex(&loss, &case), in_double(&loss, &case)] {
        assert!(found.loss.abs() <= 1e-6, "{}", found.loss);
    }
    // The other way round every negative is above every positive, or at the same node.
    case.labels = vec![0, 0, 1, 1];
    for found in [on_flex(&loss, &case), in_double(&loss, &case)] {
        assert!((found.loss - 1.0).abs() <= 1e-4, "{}", found.loss);
    }
}

#[test]
fn a_batch_without_what_it_compares_is_an_error() {
    let loss = HistogramConfig::new().init().unwrap();
    for labels in [vec![0, 1, 2, 3, 4, 5], vec![0; 6]] {
        let mut case = Case::random(0, 6, 4, 1);
        case.labels = labels;
        let error = evaluated::<OnFlex>(&loss, &case, DType::F32).unwrap_err();
        assert!(matches!(error, LossError::Lacking { items: 6, .. }));
    }
}

#[test]
fn settings_without_sense_are_refused_by_name() {
    for (step, message) in [(0.0, "step = 0"), (0.3, "step = 0.3"), (4.0, "step = 4")] {
        let error = HistogramConfig::new().with_step(step).init().unwrap_err();
        assert!(error.to_string().starts_with(message), "{error}");
    }
}
