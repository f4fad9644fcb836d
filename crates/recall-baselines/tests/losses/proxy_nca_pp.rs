use recall_baselines::{ProxyNcaConfig, ProxyNcaPpConfig};

use crate::check::{Case, agrees, holds_up, in_double, same};
use crate::reference::Reference;
use crate::with_proxies::{begins_with, minds_its_batch, with_lengths, with_proxies};

#[test]
fn agrees_with_its_authors() {
    let reference = Reference::open("proxy_nca_pp");
    let case = reference.case(Some("proxies"));
    for (variant, settings) in reference.variants() {
        let length = settings["embedding_length"].as_f64().unwrap();
        let config = ProxyNcaPpConfig::new().with_temperature(1.0 / (length * length));
        let expected = reference.expected(&variant, Some("proxies"));
        agrees(&config.init().unwrap(), &case, &expected, &variant);
        assert_eq!(
            config == ProxyNcaPpConfig::new(),
            variant == "temperature1_9"
        );
    }
}

#[test]
fn holds_up_on_random_batches() {
    let loss = ProxyNcaPpConfig::new().init().unwrap();
    holds_up(&loss, |case| with_proxies(with_lengths(case, 0.5, 3.0), 1));
}

#[test]
fn it_is_proxy_nca_with_the_own_proxy_in_the_sum() {
    let case = with_proxies(with_lengths(Case::random(3, 20, 8, 4), 0.5, 3.0), 1);
    let config = ProxyNcaConfig::new().with_positive_in_sum(true);
    same(
        &in_double(&ProxyNcaPpConfig::new().init().unwrap(), &case),
        &in_double(&config.init().unwrap(), &case),
        1e-12,
        1e-12,
        "as Proxy-NCA",
    );
}

#[test]
fn minds_what_it_is_given() {
    let loss = ProxyNcaPpConfig::new().init().unwrap();
    minds_its_batch(&loss, 1);
    begins_with(&loss, 7, 0.125);
}

#[test]
fn settings_without_sense_are_refused_by_name() {
    let error = ProxyNcaPpConfig::new()
        .with_temperature(0.0)
        .init()
        .unwrap_err();
    assert!(error.to_string().starts_with("temperature = 0"), "{error}");
}
