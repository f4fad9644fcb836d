use recall_baselines::ProxyAnchorConfig;

use crate::check::{Case, Matrix, agrees, holds_up, in_double, on_flex, on_ndarray, relative};
use crate::reference::Reference;
use crate::with_proxies::{begins_with, minds_its_batch, with_lengths, with_proxies};

#[test]
fn agrees_with_its_authors() {
    let reference = Reference::open("proxy_anchor");
    let case = reference.case(Some("proxies"));
    for (variant, settings) in reference.variants() {
        let config = ProxyAnchorConfig::new()
            .with_alpha(settings["alpha"].as_f64().unwrap())
            .with_delta(settings["delta"].as_f64().unwrap());
        let expected = reference.expected(&variant, Some("proxies"));
        agrees(&config.init().unwrap(), &case, &expected, &variant);
        assert_eq!(
            config == ProxyAnchorConfig::new(),
            variant == "alpha32_delta0.1"
        );
    }
}

#[test]
fn holds_up_on_random_batches() {
    for delta in [0.1, -0.3] {
        let config = ProxyAnchorConfig::new().with_alpha(9.0).with_delta(delta);
        holds_up(&config.init().unwrap(), |case| {
            with_proxies(with_lengths(case, 0.5, 3.0), 1)
        });
    }
}

/// Exponents of ±1,000: `log(1 + e^x)` is `x` then, or 0.
#[test]
fn nothing_overflows() {
    let case = Case {
        embeddings: Matrix {
            values: vec![1.0, 0.0, 0.0, 2.0],
            dim: 2,
        },
        labels: vec![0, 1],
        parameters: Some(Matrix {
            values: vec![-1.0, 0.0, 0.0, 5.0],
            dim: 2,
        }),
        seed: 0,
    };
    let config = ProxyAnchorConfig::new().with_alpha(1000.0).with_delta(0.25);
    let loss = config.init().unwrap();
    // Cosines: −1 and 0 with the first proxy, 0 and 1 with the second.
    let expected = (1250.0 + 0.0) / 2.0 + (250.0 + 250.0) / 2.0;
    for found in [
        in_double(&loss, &case),
        on_flex(&loss, &case),
        on_ndarray(&loss, &case),
    ] {
        assert!((found.loss - expected).abs() < 1e-3, "{}", found.loss);
        // Slopes are −500 and 500 for the first proxy, 500 and 0 for the second; the second row has length 2.
        let expected = [0.0, 500.0, -250.0, 0.0];
        assert!(relative(&found.grad, &expected) < 1e-5, "{:?}", found.grad);
    }
}

/// Terms far below 1 keep their digits.
#[test]
fn what_is_nearly_satisfied_has_a_small_loss() {
    let case = Case {
        embeddings: Matrix {
            values: vec![1.0, 0.0, -1.0, 0.0],
            dim: 2,
        },
        labels: vec![0, 1],
        parameters: Some(Matrix {
            values: vec![1.0, 0.0, -1.0, 0.0],
            dim: 2,
        }),
        seed: 0,
    };
    let loss = ProxyAnchorConfig::new().init().unwrap();
    let expected = 2.0 * (-32.0f64 * 0.9).exp();
    for found in [on_flex(&loss, &case), on_ndarray(&loss, &case)] {
        assert!(
            (found.loss / expected - 1.0).abs() < 1e-5,
            "{} is not {expected}",
            found.loss
        );
    }
}

#[test]
fn a_batch_of_one_class_is_drawn_and_pushed() {
    let mut case = with_proxies(Case::random(5, 6, 4, 2), 1);
    case.labels.fill(1);
    let loss = ProxyAnchorConfig::new().init().unwrap();
    let (found, expected) = (on_flex(&loss, &case), in_double(&loss, &case));
    assert!(expected.loss > 0.0);
    crate::check::same(&found, &expected, 1e-5, 1e-4, "of one class");
}

#[test]
fn minds_what_it_is_given() {
    let loss = ProxyAnchorConfig::new().init().unwrap();
    minds_its_batch(&loss, 1);
    begins_with(&loss, 7, (2.0f64 / 7.0).sqrt());
}

#[test]
fn settings_without_sense_are_refused_by_name() {
    for (config, name) in [
        (ProxyAnchorConfig::new().with_alpha(-1.0), "alpha = -1"),
        (
            ProxyAnchorConfig::new().with_delta(f64::INFINITY),
            "delta = inf",
        ),
    ] {
        let error = config.init().unwrap_err();
        assert!(error.to_string().starts_with(name), "{error}");
    }
}
