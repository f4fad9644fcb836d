use burn::tensor::DType;
use recall_baselines::{LiftedConfig, LossError};

use crate::check::{Case, OnFlex, agrees, evaluated, holds_up, in_double, on_flex};
use crate::reference::Reference;

/// Rows of other lengths than 1.
fn long(mut case: Case) -> Case {
    let dim = case.embeddings.dim;
    for (row, values) in case.embeddings.values.chunks_mut(dim).enumerate() {
        let length = 0.4 + (row % 7) as f64 / 3.0;
        values.iter_mut().for_each(|x| *x *= length);
    }
    case
}

#[test]
fn agrees_with_its_authors() {
    let reference = Reference::open("lifted");
    let case = reference.case(None);
    for (variant, settings) in reference.variants() {
        let config = match variant.starts_with("generalised") {
            true => LiftedConfig::generalised(),
            false => LiftedConfig::pairs(),
        };
        let config = config.with_margin(settings["margin"].as_f64().unwrap());
        let expected = reference.expected(&variant, None);
        agrees(&config.init().unwrap(), &case, &expected, &variant);
    }
}

#[test]
fn holds_up_on_random_batches() {
    for config in [
        LiftedConfig::pairs(),
        // So small that some terms are zero.
        LiftedConfig::pairs().with_margin(-2.2),
        LiftedConfig::generalised(),
        LiftedConfig::generalised().with_margin(-2.2),
    ] {
        holds_up(&config.init().unwrap(), long);
    }
}

#[test]
fn classes_far_apart_cost_nothing() {
    let mut case = Case::random(5, 20, 6, 3);
    for (row, label) in case.labels.iter().enumerate() {
        for value in &mut case.embeddings.values[row * 6..(row + 1) * 6] {
            // So far that exponentials of distances are no numbers of single precision.
            *value = *value * 0.1 + 200.0 * *label as f64;
        }
    }
    for config in [LiftedConfig::pairs(), LiftedConfig::generalised()] {
        let loss = config.init().unwrap();
        for found in [on_flex(&loss, &case), in_double(&loss, &case)] {
            assert_eq!(found.loss, 0.0);
            assert!(found.grad.iter().all(|&grad| grad == 0.0));
        }
    }
}

#[test]
fn long_rows_do_not_overflow() {
    let mut case = Case::random(5, 20, 6, 3);
    case.embeddings.values.iter_mut().for_each(|x| *x *= 300.0);
    for config in [LiftedConfig::pairs(), LiftedConfig::generalised()] {
        let loss = config.init().unwrap();
        let (found, expected) = (on_flex(&loss, &case), in_double(&loss, &case));
        crate::check::same(&found, &expected, 1e-5, 1e-4, "long rows");
        assert!(expected.loss > 10.0);
    }
}

#[test]
fn a_batch_without_what_it_compares_is_an_error() {
    let loss = LiftedConfig::pairs().init().unwrap();
    for labels in [vec![0, 1, 2, 3, 4, 5], vec![0; 6]] {
        let mut case = Case::random(0, 6, 4, 1);
        case.labels = labels;
        let error = evaluated::<OnFlex>(&loss, &case, DType::F32).unwrap_err();
        assert!(matches!(error, LossError::Lacking { items: 6, .. }));
    }
}

#[test]
fn settings_without_sense_are_refused_by_name() {
    let error = LiftedConfig::pairs()
        .with_margin(f64::NAN)
        .init()
        .unwrap_err();
    assert!(error.to_string().starts_with("margin = NaN"), "{error}");
}
