use burn::tensor::{DType, Tensor};
use recall_baselines::{
    Batch, ContrastiveConfig, LossError, MetricLoss, NormSoftmaxConfig, Parameters, ProxyNcaConfig,
    ProxySynthesis, ProxySynthesisConfig, SoftTripleConfig,
};
use recall_loss::RecallBackend;

use crate::check::{
    Case, OnFlex, evaluated, has_the_gradient_of_its_value, ignores_rotations, in_double, on_flex,
    on_ndarray, rows_are_tensor_operations, same,
};
use crate::reference::Reference;
use crate::with_proxies::{minds_its_batch, with_lengths, with_proxies};

/// The synthesis with a given λ.
struct Given<L>(ProxySynthesis<L>, f64);

impl<B: RecallBackend, L: MetricLoss<B>> MetricLoss<B> for Given<L> {
    fn parameters(&self, classes: usize, dim: usize) -> Option<Parameters> {
        self.0.parameters(classes, dim)
    }

    fn evaluate(&self, batch: Batch<'_, B>) -> Result<Tensor<B, 1>, LossError> {
        self.0.evaluate_with(batch, self.1)
    }
}

fn with_scale(scale: f64) -> recall_baselines::NormSoftmax {
    let config = NormSoftmaxConfig::new().with_temperature(1.0 / scale);
    config.init().unwrap()
}

fn proxy_nca(scale: f64) -> recall_baselines::ProxyNca {
    let config = ProxyNcaConfig::new()
        .with_positive_in_sum(true)
        .with_embedding_length(scale.sqrt())
        .with_proxy_length(scale.sqrt());
    config.init().unwrap()
}

/// Neighbours are part of the loss: rows cannot be shuffled.
#[test]
fn agrees_with_its_authors() {
    let reference = Reference::open("proxy_synthesis");
    let case = reference.case(Some("proxies"));
    let lambda = reference.floats("lam")[0];
    let variants = reference.variants();
    assert_eq!(variants.len(), 3);
    for (variant, settings) in variants {
        let scale = settings["scale"].as_f64().unwrap();
        let config = ProxySynthesisConfig::new().with_mu(settings["mu"].as_f64().unwrap());
        assert_eq!(config, ProxySynthesisConfig::new());
        let expected = reference.expected(&variant, Some("proxies"));
        let found = match variant.starts_with("norm_softmax") {
            true => {
                let loss = Given(config.init(with_scale(scale)).unwrap(), lambda);
                [
                    in_double(&loss, &case),
                    on_flex(&loss, &case),
                    on_ndarray(&loss, &case),
                ]
            }
            false => {
                let loss = Given(config.init(proxy_nca(scale)).unwrap(), lambda);
                [
                    in_double(&loss, &case),
                    on_flex(&loss, &case),
                    on_ndarray(&loss, &case),
                ]
            }
        };
        let [double, flex, ndarray] = &found;
        same(double, &expected, 1e-9, 1e-9, &variant);
        same(flex, &expected, 1e-6, 1e-5, &variant);
        same(ndarray, &expected, 1e-6, 1e-5, &variant);
    }
}

#[test]
fn holds_up_on_random_batches() {
    let config = ProxySynthesisConfig::new();
    for seed in 0..4 {
        let case = Case::random(seed, 14 + 5 * seed as usize, 8, 4);
        let case = with_proxies(with_lengths(case, 0.5, 3.0), 1);
        let nca = config.clone().with_mu(0.6).init(proxy_nca(4.0)).unwrap();
        has_the_gradient_of_its_value(&nca, &case);
        ignores_rotations(&nca, &case);
        let softmax = config.init(with_scale(12.0)).unwrap();
        has_the_gradient_of_its_value(&softmax, &case);
        ignores_rotations(&softmax, &case);
        rows_are_tensor_operations(&softmax, &case);
    }
}

#[test]
fn only_neighbours_of_two_classes_are_mixed() {
    let config = ProxySynthesisConfig::new();
    let loss = config.init(with_scale(23.0)).unwrap();
    assert_eq!(loss.mixed(&[0, 0, 1, 1, 2, 0]), [2, 4, 5]);
    assert_eq!(loss.mixed(&[1, 0, 0]), [0, 1]);
    let half = config.with_mu(0.5).init(with_scale(23.0)).unwrap();
    assert_eq!(half.mixed(&[2, 0, 1, 1, 2, 0, 1]), [0, 1, 2]);
}

#[test]
fn of_one_class_nothing_is_made() {
    let mut case = with_proxies(Case::random(3, 9, 6, 3), 1);
    case.labels.fill(1);
    let config = ProxySynthesisConfig::new();
    let found = in_double(&config.init(proxy_nca(12.0)).unwrap(), &case);
    let expected = in_double(&proxy_nca(12.0), &case);
    same(&found, &expected, 1e-12, 1e-12, "of one class");
}

/// With λ = 1 each mixed row is there twice, the second time with a copy of its proxy as another class.
#[test]
fn with_the_whole_of_each_row_proxies_are_doubled() {
    let case = with_proxies(Case::random(3, 9, 6, 1), 1);
    let config = ProxySynthesisConfig::new();
    let loss = config.init(with_scale(9.0)).unwrap();
    let mixed = loss.mixed(&case.labels);
    let mut doubled = case.clone();
    let proxies = doubled.parameters.as_mut().unwrap();
    let first = proxies.rows() as i64;
    for (label, row) in (first..).zip(mixed) {
        let embedding = case.embeddings.reordered(&[row]).values;
        doubled.embeddings.values.extend(embedding);
        let proxy = proxies.reordered(&[case.labels[row] as usize]).values;
        proxies.values.extend(proxy);
        doubled.labels.push(label);
    }
    let found = in_double(&Given(loss, 1.0), &case).loss;
    let expected = in_double(&with_scale(9.0), &doubled).loss;
    assert!(
        (found - expected).abs() < 1e-12 * expected,
        "{found} is not {expected}"
    );
}

#[test]
fn what_is_drawn_follows_from_the_seed() {
    let config = ProxySynthesisConfig::new();
    let loss = config.init(with_scale(23.0)).unwrap();
    let mut case = with_proxies(Case::random(3, 9, 6, 3), 1);
    case.seed = 5;
    let lambda = loss.lambda(5).unwrap();
    assert_ne!(lambda, loss.lambda(6).unwrap());
    let found = on_flex(&loss, &case).loss;
    assert_eq!(found, on_flex(&Given(loss.clone(), lambda), &case).loss);
    case.seed = 6;
    assert_ne!(found, on_flex(&loss, &case).loss);
}

#[test]
fn minds_what_it_is_given() {
    let config = ProxySynthesisConfig::new();
    minds_its_batch(&config.init(proxy_nca(12.0)).unwrap(), 1);
    let case = with_proxies(Case::random(3, 9, 6, 3), 2);
    // Pairs have no proxies at all.
    let around = ContrastiveConfig::cosine().init().unwrap();
    let error = evaluated::<OnFlex>(&config.init(around).unwrap(), &case, DType::F32).unwrap_err();
    assert!(matches!(error, LossError::Mixture(_)), "{error}");
    let around = SoftTripleConfig::new().with_centres(2).init().unwrap();
    let loss = config.init(around).unwrap();
    let error = evaluated::<OnFlex>(&loss, &case, DType::F32).unwrap_err();
    assert!(matches!(error, LossError::Mixture(_)), "{error}");
}

#[test]
fn settings_without_sense_are_refused_by_name() {
    for (config, name) in [
        (ProxySynthesisConfig::new().with_alpha(0.0), "alpha = 0"),
        (ProxySynthesisConfig::new().with_mu(1.5), "mu = 1.5"),
    ] {
        let error = config.init(with_scale(23.0)).unwrap_err();
        assert!(error.to_string().starts_with(name), "{error}");
    }
    let config = ProxySynthesisConfig::new();
    let loss = Given(config.init(with_scale(23.0)).unwrap(), -0.5);
    let case = with_proxies(Case::random(3, 9, 6, 3), 1);
    let error = evaluated::<OnFlex>(&loss, &case, DType::F32).unwrap_err();
    assert!(error.to_string().starts_with("lambda = -0.5"), "{error}");
}
