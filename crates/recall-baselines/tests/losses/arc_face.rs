use recall_baselines::{ArcFaceConfig, CosFaceConfig};

use crate::check::{Case, Matrix, agrees, holds_up, in_double, on_flex, on_ndarray, same};
use crate::reference::Reference;
use crate::with_proxies::{begins_with, minds_its_batch, with_lengths, with_proxies};

#[test]
fn agrees_with_its_authors() {
    let reference = Reference::open("arc_face");
    let case = reference.case(Some("proxies"));
    for (variant, settings) in reference.variants() {
        let config = ArcFaceConfig::new()
            .with_scale(settings["s"].as_f64().unwrap())
            .with_margin(settings["m"].as_f64().unwrap())
            .with_fallback(settings["fallback"].as_bool().unwrap())
            .with_straight_through(settings["straight_through"].as_bool().unwrap());
        let expected = reference.expected(&variant, Some("proxies"));
        agrees(&config.init().unwrap(), &case, &expected, &variant);
        if variant == "s64_m0.5" {
            assert_eq!(config, ArcFaceConfig::new());
        }
        if variant == "s64_m0.5_straight_through" {
            assert_eq!(config, ArcFaceConfig::insightface());
        }
    }
}

#[test]
fn holds_up_on_random_batches() {
    for fallback in [true, false] {
        let config = ArcFaceConfig::new()
            .with_scale(16.0)
            .with_margin(0.4)
            .with_fallback(fallback);
        holds_up(&config.init().unwrap(), |case| {
            with_proxies(with_lengths(case, 0.5, 3.0), 1)
        });
    }
}

#[test]
fn without_margin_it_is_cos_face() {
    let case = with_proxies(Case::random(3, 20, 8, 4), 1);
    for config in [ArcFaceConfig::new(), ArcFaceConfig::insightface()] {
        let found = in_double(&config.with_margin(0.0).init().unwrap(), &case);
        let config = CosFaceConfig::new().with_margin(0.0);
        let expected = in_double(&config.init().unwrap(), &case);
        same(&found, &expected, 1e-10, 1e-10, "without margin");
    }
}

/// Two rows on their proxies and two opposite: cosines of ±1, some beyond by rounding.
#[test]
fn cosines_of_one_do_no_harm() {
    let proxies: Vec<f64> = (1..=21).map(|i| f64::from(i).sin() + 0.3).collect();
    let (first, second) = (&proxies[..7], &proxies[7..14]);
    let times = |row: &[f64], factor: f64| -> Vec<f64> { row.iter().map(|x| factor * x).collect() };
    let case = Case {
        embeddings: Matrix {
            values: [
                times(first, 0.7),
                times(second, 3.1),
                times(first, -1.3),
                times(second, -0.9),
            ]
            .concat(),
            dim: 7,
        },
        labels: vec![0, 1, 0, 1],
        parameters: Some(Matrix {
            values: proxies.clone(),
            dim: 7,
        }),
        seed: 0,
    };
    for config in [
        ArcFaceConfig::new(),
        ArcFaceConfig::new().with_fallback(false),
        ArcFaceConfig::insightface(),
    ] {
        let loss = config.init().unwrap();
        for found in [
            in_double(&loss, &case),
            on_flex(&loss, &case),
            on_ndarray(&loss, &case),
        ] {
            let numbers = found
                .grad
                .iter()
                .chain(found.grad_parameters.iter().flatten());
            assert!(
                numbers.chain([&found.loss]).all(|x| x.abs() < 1e4),
                "{config:?}"
            );
        }
    }
}

#[test]
fn minds_what_it_is_given() {
    let loss = ArcFaceConfig::new().init().unwrap();
    minds_its_batch(&loss, 1);
    begins_with(&loss, 7, 0.01);
}

#[test]
fn settings_without_sense_are_refused_by_name() {
    for (config, name) in [
        (ArcFaceConfig::new().with_scale(f64::NAN), "scale = NaN"),
        (ArcFaceConfig::new().with_margin(28.6), "margin = 28.6"),
        (ArcFaceConfig::new().with_margin(-0.5), "margin = -0.5"),
    ] {
        let error = config.init().unwrap_err();
        assert!(error.to_string().starts_with(name), "{error}");
    }
}
