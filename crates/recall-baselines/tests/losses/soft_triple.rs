use recall_baselines::{NormSoftmaxConfig, SoftTripleConfig};

use crate::check::{Case, agrees, holds_up, in_double, same};
use crate::reference::Reference;
use crate::with_proxies::{begins_with, minds_its_batch, with_proxies};

#[test]
fn agrees_with_its_authors() {
    let reference = Reference::open("soft_triple");
    let case = reference.case(Some("centres"));
    for (variant, settings) in reference.variants() {
        let number = |key: &str| settings[key].as_f64().unwrap();
        let config = SoftTripleConfig::new()
            .with_scale(number("la"))
            .with_gamma(number("gamma"))
            .with_delta(number("delta"))
            .with_tau(number("tau"))
            .with_centres(settings["centres_per_class"].as_u64().unwrap() as usize);
        let expected = reference.expected(&variant, Some("centres"));
        agrees(&config.init().unwrap(), &case, &expected, &variant);
        let default = SoftTripleConfig::new().with_centres(3);
        assert_eq!(config == default, variant == "default");
    }
}

#[test]
fn holds_up_on_random_batches() {
    for centres in [1, 2, 5] {
        let config = SoftTripleConfig::new()
            .with_centres(centres)
            .with_gamma(0.2)
            .with_delta(0.05);
        holds_up(&config.init().unwrap(), |case| with_proxies(case, centres));
    }
}

#[test]
fn with_one_centre_and_no_margin_it_is_the_normalised_softmax() {
    let case = with_proxies(Case::random(3, 20, 8, 4), 1);
    let config = SoftTripleConfig::new().with_centres(1).with_delta(0.0);
    same(
        &in_double(&config.init().unwrap(), &case),
        &in_double(&NormSoftmaxConfig::new().init().unwrap(), &case),
        1e-12,
        1e-12,
        "of one centre",
    );
}

/// Equal centres are as one, up to the distance between them, √10⁻⁵.
#[test]
fn equal_centres_are_as_one() {
    let one = with_proxies(Case::random(3, 20, 8, 4), 1);
    let mut three = one.clone();
    let proxies = one.parameters.as_ref().unwrap();
    let thrice: Vec<usize> = (0..3 * proxies.rows()).map(|row| row / 3).collect();
    three.parameters = Some(proxies.reordered(&thrice));
    let config = SoftTripleConfig::new();
    let found = in_double(&config.clone().with_centres(3).init().unwrap(), &three);
    let mut expected = in_double(&config.with_centres(1).init().unwrap(), &one);
    expected.loss += 0.5 * 0.2 * 1e-5f64.sqrt();
    expected.grad_parameters = None;
    same(&found, &expected, 1e-9, 1e-9, "of equal centres");
}

#[test]
fn sharp_softmaxes_stay_finite() {
    let case = with_proxies(Case::random(3, 20, 8, 4), 4);
    let config = SoftTripleConfig::new().with_centres(4).with_gamma(1e-3);
    let loss = config.init().unwrap();
    crate::check::rows_are_tensor_operations(&loss, &case);
}

#[test]
fn minds_what_it_is_given() {
    let loss = SoftTripleConfig::new().with_centres(3).init().unwrap();
    minds_its_batch(&loss, 3);
    begins_with(&loss, 21, 1.0 / 63.0f64.sqrt());
}

#[test]
fn settings_without_sense_are_refused_by_name() {
    for (config, name) in [
        (SoftTripleConfig::new().with_scale(0.0), "scale = 0"),
        (SoftTripleConfig::new().with_gamma(0.0), "gamma = 0"),
        (SoftTripleConfig::new().with_delta(f64::NAN), "delta = NaN"),
        (SoftTripleConfig::new().with_tau(-0.2), "tau = -0.2"),
        (SoftTripleConfig::new().with_centres(0), "centres = 0"),
    ] {
        let error = config.init().unwrap_err();
        assert!(error.to_string().starts_with(name), "{error}");
    }
}
