use burn::tensor::DType;
use recall_baselines::{LossError, ProxyNcaConfig};

use crate::check::{Case, OnFlex, agrees, evaluated, holds_up, in_double};
use crate::reference::Reference;
use crate::with_proxies::{begins_with, minds_its_batch, with_lengths, with_proxies};

#[test]
fn agrees_with_its_authors() {
    let reference = Reference::open("proxy_nca");
    let case = reference.case(Some("proxies"));
    for (variant, settings) in reference.variants() {
        let number = |key: &str| settings[key].as_f64().unwrap();
        let config = ProxyNcaConfig::new()
            .with_embedding_length(number("embedding_length"))
            .with_proxy_length(number("proxy_length"))
            .with_positive_in_sum(settings["positive_in_sum"].as_bool().unwrap())
            .with_smoothing(number("smoothing"));
        let expected = reference.expected(&variant, Some("proxies"));
        agrees(&config.init().unwrap(), &case, &expected, &variant);
        let named = match variant.as_str() {
            "length3" => ProxyNcaConfig::new(),
            "length1_positive_in_sum" => ProxyNcaConfig::short(),
            "length3_3_smoothed" => ProxyNcaConfig::smoothed(),
            "length1_8_smoothed" => ProxyNcaConfig::smoothed_long_proxies(),
            _ => config.clone(),
        };
        assert_eq!(config, named);
    }
}

#[test]
fn holds_up_on_random_batches() {
    for config in [
        ProxyNcaConfig::new().with_proxy_length(2.0),
        ProxyNcaConfig::short(),
        ProxyNcaConfig::smoothed(),
    ] {
        holds_up(&config.init().unwrap(), |case| {
            with_proxies(with_lengths(case, 0.5, 3.0), 1)
        });
    }
}

/// `−log(x / (1 − x))` of the softmax's `x`.
#[test]
fn without_the_own_proxy_in_the_sum_it_is_the_softmax_less_it() {
    let mut case = with_proxies(Case::random(4, 12, 8, 3), 1);
    case.embeddings.values.truncate(8);
    case.labels.truncate(1);
    let config = ProxyNcaConfig::new();
    let found = in_double(&config.init().unwrap(), &case).loss;
    let with = in_double(&config.with_positive_in_sum(true).init().unwrap(), &case).loss;
    let expected = with + (1.0 - (-with).exp()).ln();
    assert!((found - expected).abs() < 1e-9, "{found} is not {expected}");
}

#[test]
fn one_class_cannot_be_told_from_others() {
    let mut case = Case::random(4, 6, 4, 3).with_parameters([1, 4], 0.0, 1.0);
    case.labels.fill(0);
    for config in [ProxyNcaConfig::new(), ProxyNcaConfig::smoothed()] {
        let loss = config.init().unwrap();
        let error = evaluated::<OnFlex>(&loss, &case, DType::F32).unwrap_err();
        assert!(
            matches!(error, LossError::Lacking { items: 6, .. }),
            "{error}"
        );
    }
    let found = in_double(&ProxyNcaConfig::short().init().unwrap(), &case);
    assert_eq!(found.loss, 0.0);
    assert!(found.grad.iter().all(|&x| x == 0.0));
}

#[test]
fn minds_what_it_is_given() {
    for config in [ProxyNcaConfig::new(), ProxyNcaConfig::smoothed()] {
        let loss = config.init().unwrap();
        minds_its_batch(&loss, 1);
        begins_with(&loss, 7, 0.125);
    }
}

#[test]
fn settings_without_sense_are_refused_by_name() {
    for (config, name) in [
        (
            ProxyNcaConfig::new().with_embedding_length(0.0),
            "embedding_length = 0",
        ),
        (
            ProxyNcaConfig::new().with_proxy_length(-1.0),
            "proxy_length = -1",
        ),
        (
            ProxyNcaConfig::smoothed().with_smoothing(1.0),
            "smoothing = 1",
        ),
        (ProxyNcaConfig::new().with_smoothing(0.1), "smoothing = 0.1"),
    ] {
        let error = config.init().unwrap_err();
        assert!(error.to_string().starts_with(name), "{error}");
    }
}
