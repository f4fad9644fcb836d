use recall_baselines::{ContrastiveConfig, LossError};

use crate::check::{Case, OnFlex, agrees, evaluated, holds_up};
use crate::reference::Reference;

#[test]
fn agrees_with_its_authors() {
    let reference = Reference::open("contrastive");
    let case = reference.case(None);
    for (variant, settings) in reference.variants() {
        let number = |key: &str| settings[key].as_f64();
        let form = variant.split('_').next().unwrap();
        let config = match form {
            "squared" => ContrastiveConfig::squared().with_margin(number("margin").unwrap()),
            "hinges" => ContrastiveConfig::hinges()
                .with_margin(number("neg_margin").unwrap())
                .with_positive_margin(number("pos_margin").unwrap()),
            _ => ContrastiveConfig::cosine()
                .with_margin(number("margin").unwrap())
                .with_subtract_margin(settings["subtract_margin"].as_bool().unwrap()),
        };
        agrees(
            &config.init().unwrap(),
            &case,
            &reference.expected(&variant, None),
            &variant,
        );
    }
}

#[test]
fn holds_up_on_random_batches() {
    for config in [
        ContrastiveConfig::squared(),
        ContrastiveConfig::hinges().with_positive_margin(0.3),
        ContrastiveConfig::cosine()
            .with_margin(0.1)
            .with_subtract_margin(true),
    ] {
        holds_up(&config.init().unwrap(), |case| case);
    }
}

#[test]
fn a_batch_without_positives_is_an_error() {
    let mut case = Case::random(0, 6, 4, 1);
    case.labels = (0..6).collect();
    let loss = ContrastiveConfig::hinges().init().unwrap();
    let error = evaluated::<OnFlex>(&loss, &case, burn::tensor::DType::F32).unwrap_err();
    assert!(matches!(error, LossError::Lacking { items: 6, .. }));
}

#[test]
fn settings_without_sense_are_refused_by_name() {
    let error = ContrastiveConfig::squared()
        .with_margin(-1.0)
        .init()
        .unwrap_err();
    assert!(error.to_string().starts_with("margin = -1"), "{error}");
}
