use burn::tensor::DType;
use recall_baselines::{InfoNceConfig, LossError, SupConConfig};

use crate::check::{Case, OnFlex, agrees, evaluated, holds_up, in_double, on_flex};
use crate::reference::Reference;

#[test]
fn agrees_with_its_authors() {
    let reference = Reference::open("sup_con");
    let case = reference.case(None);
    let mut seen = 0;
    for (variant, settings) in reference.variants() {
        let temperature = settings["temperature"].as_f64().unwrap();
        if !variant.starts_with("supcon") {
            continue;
        }
        seen += 1;
        let config = match settings["base_temperature"].as_f64() {
            Some(base) => SupConConfig::released_code().with_base_temperature(Some(base)),
            None => SupConConfig::new(),
        };
        let loss = config.with_temperature(temperature).init().unwrap();
        agrees(&loss, &case, &reference.expected(&variant, None), &variant);
    }
    assert_eq!(seen, 3);
}

#[test]
fn info_nce_agrees_with_pytorch_metric_learning() {
    let reference = Reference::open("sup_con");
    let case = reference.case(None);
    for variant in ["infonce_0.07", "infonce_0.2"] {
        let temperature = variant.rsplit('_').next().unwrap().parse().unwrap();
        let loss = InfoNceConfig::new()
            .with_temperature(temperature)
            .init()
            .unwrap();
        agrees(&loss, &case, &reference.expected(variant, None), variant);
    }
}

#[test]
fn hold_up_on_random_batches() {
    for config in [
        SupConConfig::new(),
        SupConConfig::released_code().with_temperature(0.3),
    ] {
        holds_up(&config.init().unwrap(), |case| case);
    }
    holds_up(&InfoNceConfig::new().init().unwrap(), |case| case);
}

/// With one positive of each item both sums are the same.
#[test]
fn pairs_make_them_one_loss() {
    let mut case = Case::random(4, 16, 6, 1);
    case.labels = (0..16).map(|i| i / 2).collect();
    let sup_con = SupConConfig::new().init().unwrap();
    let info_nce = InfoNceConfig::new().with_temperature(0.1).init().unwrap();
    let (a, b) = (in_double(&sup_con, &case), in_double(&info_nce, &case));
    assert!((a.loss - b.loss).abs() < 1e-12);
    let (a, b) = (on_flex(&sup_con, &case), on_flex(&info_nce, &case));
    assert!((a.loss - b.loss).abs() < 1e-6);
}

/// A batch of one item repeated is told apart by nothing: the loss is the logarithm of the number of others.
#[test]
fn identical_items_cost_the_logarithm_of_their_number() {
    let mut case = Case::random(5, 7, 3, 1);
    case.embeddings.values = [0.0, 0.6, 0.8].repeat(7);
    case.labels = vec![0, 0, 1, 1, 1, 2, 2];
    let loss = SupConConfig::new().init().unwrap();
    assert!((in_double(&loss, &case).loss - 6f64.ln()).abs() < 1e-12);
    assert!((on_flex(&loss, &case).loss - 6f64.ln()).abs() < 1e-6);
}

#[test]
fn a_batch_without_what_they_need_is_an_error() {
    let sup_con = SupConConfig::new().init().unwrap();
    let info_nce = InfoNceConfig::new().init().unwrap();
    let mut case = Case::random(0, 6, 4, 1);
    case.labels = (0..6).collect();
    let lacks = |error: LossError| assert!(matches!(error, LossError::Lacking { items: 6, .. }));
    lacks(evaluated::<OnFlex>(&sup_con, &case, DType::F32).unwrap_err());
    lacks(evaluated::<OnFlex>(&info_nce, &case, DType::F32).unwrap_err());
    case.labels = vec![0; 6];
    lacks(evaluated::<OnFlex>(&info_nce, &case, DType::F32).unwrap_err());
    assert!(on_flex(&sup_con, &case).loss > 0.0);
}

#[test]
fn settings_without_sense_are_refused_by_name() {
    let error = SupConConfig::new()
        .with_temperature(0.0)
        .init()
        .unwrap_err();
    assert!(error.to_string().starts_with("temperature = 0"), "{error}");
    let error = SupConConfig::released_code()
        .with_base_temperature(Some(-1.0))
        .init()
        .unwrap_err();
    assert!(
        error.to_string().starts_with("base_temperature = -1"),
        "{error}"
    );
    let error = InfoNceConfig::new()
        .with_temperature(f64::INFINITY)
        .init()
        .unwrap_err();
    assert!(
        error.to_string().starts_with("temperature = inf"),
        "{error}"
    );
}
