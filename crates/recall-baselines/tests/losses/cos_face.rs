use recall_baselines::{CosFaceConfig, NormSoftmaxConfig};

use crate::check::{Case, agrees, holds_up, in_double, same};
use crate::reference::Reference;
use crate::with_proxies::{begins_with, minds_its_batch, with_lengths, with_proxies};

#[test]
fn agrees_with_its_authors() {
    let reference = Reference::open("cos_face");
    let case = reference.case(Some("proxies"));
    for (variant, settings) in reference.variants() {
        let config = CosFaceConfig::new()
            .with_scale(settings["s"].as_f64().unwrap())
            .with_margin(settings["m"].as_f64().unwrap());
        let expected = reference.expected(&variant, Some("proxies"));
        agrees(&config.init().unwrap(), &case, &expected, &variant);
    }
    let defaults = [CosFaceConfig::new(), CosFaceConfig::insightface()];
    assert_eq!(
        defaults.map(|config| (config.scale, config.margin)),
        [(64.0, 0.35), (64.0, 0.4)]
    );
}

#[test]
fn holds_up_on_random_batches() {
    let config = CosFaceConfig::new().with_scale(16.0).with_margin(0.2);
    holds_up(&config.init().unwrap(), |case| {
        with_proxies(with_lengths(case, 0.5, 3.0), 1)
    });
}

#[test]
fn without_margin_it_is_the_normalised_softmax() {
    let case = with_proxies(Case::random(3, 20, 8, 4), 1);
    let found = in_double(
        &CosFaceConfig::new().with_margin(0.0).init().unwrap(),
        &case,
    );
    let config = NormSoftmaxConfig::new().with_temperature(1.0 / 64.0);
    let expected = in_double(&config.init().unwrap(), &case);
    // Its rows are not normalised: only what is tangent to the sphere is the same.
    let mut tangent = expected.clone();
    for (grad, row) in (tangent.grad.chunks_mut(8)).zip(case.embeddings.values.chunks(8)) {
        let along: f64 = grad.iter().zip(row).map(|(g, x)| g * x).sum();
        grad.iter_mut().zip(row).for_each(|(g, x)| *g -= along * x);
    }
    same(&found, &tangent, 1e-10, 1e-10, "without margin");
}

#[test]
fn minds_what_it_is_given() {
    let loss = CosFaceConfig::new().init().unwrap();
    minds_its_batch(&loss, 1);
    begins_with(&loss, 7, 0.01);
}

#[test]
fn settings_without_sense_are_refused_by_name() {
    for (config, name) in [
        (CosFaceConfig::new().with_scale(0.0), "scale = 0"),
        (CosFaceConfig::new().with_margin(-0.1), "margin = -0.1"),
    ] {
        let error = config.init().unwrap_err();
        assert!(error.to_string().starts_with(name), "{error}");
    }
}
