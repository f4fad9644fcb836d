use recall_baselines::SphereFaceConfig;

use crate::check::{Case, Matrix, agrees, holds_up, in_double, same};
use crate::reference::Reference;
use crate::with_proxies::{begins_with, minds_its_batch, with_lengths, with_proxies};

#[test]
fn agrees_with_its_authors() {
    let reference = Reference::open("sphere_face");
    let case = reference.case(Some("proxies"));
    for (variant, settings) in reference.variants() {
        let config = SphereFaceConfig::new()
            .with_multiplier(settings["m"].as_u64().unwrap() as usize)
            .with_lambda(settings["lam"].as_f64().unwrap());
        let expected = reference.expected(&variant, Some("proxies"));
        agrees(&config.init().unwrap(), &case, &expected, &variant);
        assert_eq!(config == SphereFaceConfig::new(), variant == "m4_lambda5");
    }
}

#[test]
fn holds_up_on_random_batches() {
    for (multiplier, lambda) in [(1, 0.0), (2, 0.0), (4, 5.0), (5, 1.0)] {
        let config = SphereFaceConfig::new()
            .with_multiplier(multiplier)
            .with_lambda(lambda);
        holds_up(&config.init().unwrap(), |case| {
            with_proxies(with_lengths(case, 1.0, 4.0), 1)
        });
    }
}

#[test]
fn with_multiplier_one_there_is_no_margin() {
    let case = with_proxies(with_lengths(Case::random(3, 20, 8, 4), 1.0, 4.0), 1);
    let of = |lambda| {
        let config = SphereFaceConfig::new()
            .with_multiplier(1)
            .with_lambda(lambda);
        in_double(&config.init().unwrap(), &case)
    };
    same(&of(0.0), &of(7.0), 1e-12, 1e-12, "without margin");
}

/// With a second proxy orthogonal to the plane of the row the loss is `log(1 + e^(−|x| φ))`.
#[test]
fn the_target_falls_with_the_angle_from_one_to_minus_seven() {
    let loss = SphereFaceConfig::new().with_lambda(0.0).init().unwrap();
    let target = |angle: f64| {
        let case = Case {
            embeddings: Matrix {
                values: vec![angle.cos(), angle.sin(), 0.0],
                dim: 3,
            },
            labels: vec![0],
            parameters: Some(Matrix {
                values: vec![1.0, 0.0, 0.0, 0.0, 0.0, 1.0],
                dim: 3,
            }),
            seed: 0,
        };
        -in_double(&loss, &case).loss.exp_m1().ln()
    };
    let steps = 64;
    let angle = |step: usize| std::f64::consts::PI * step as f64 / steps as f64;
    assert!((target(0.0) - 1.0).abs() < 1e-9);
    assert!((target(angle(steps)) + 7.0).abs() < 1e-9);
    for step in 0..=steps {
        let times = (4.0 * angle(step) / std::f64::consts::PI + 1e-12).floor();
        let sign = if times % 2.0 == 0.0 { 1.0 } else { -1.0 };
        let expected = sign * (4.0 * angle(step)).cos() - 2.0 * times;
        let found = target(angle(step));
        assert!(
            (found - expected).abs() < 1e-7,
            "{step}: {found} is not {expected}"
        );
        assert!(step == 0 || found < target(angle(step - 1)), "{step}");
    }
}

#[test]
fn lambda_falls_to_five() {
    assert_eq!(SphereFaceConfig::lambda_at(0), 1000.0);
    assert!((SphereFaceConfig::lambda_at(100) - 1000.0 / 13.0).abs() < 1e-12);
    assert_eq!(SphereFaceConfig::lambda_at(1_000_000), 5.0);
    let loss = SphereFaceConfig::new().init().unwrap().at(100);
    let config = SphereFaceConfig::new().with_lambda(SphereFaceConfig::lambda_at(100));
    assert_eq!(loss, config.init().unwrap());
}

#[test]
fn minds_what_it_is_given() {
    let loss = SphereFaceConfig::new().init().unwrap();
    minds_its_batch(&loss, 1);
    begins_with(&loss, 7, 1.0 / 5.0f64.sqrt());
}

#[test]
fn settings_without_sense_are_refused_by_name() {
    for (config, name) in [
        (SphereFaceConfig::new().with_multiplier(0), "multiplier = 0"),
        (
            SphereFaceConfig::new().with_multiplier(17),
            "multiplier = 17",
        ),
        (SphereFaceConfig::new().with_lambda(-1.0), "lambda = -1"),
    ] {
        let error = config.init().unwrap_err();
        assert!(error.to_string().starts_with(name), "{error}");
    }
}
