use burn::tensor::{DType, Tensor, backend::AutodiffBackend};
use recall_baselines::{
    Batch, CosFaceConfig, InputMixupConfig, LossError, MetricLoss, Mixture, NormSoftmaxConfig,
    ProxyNcaPpConfig,
};
use recall_loss::RecallBackend;

use crate::check::{Case, InDouble, OnFlex, OnNdArray, relative};
use crate::reference::Reference;
use crate::with_proxies::with_proxies;

/// What a variant of the file comes to: loss, and gradients of inputs, weight and proxies.
fn mixed<B>(reference: &Reference, variant: &str, dtype: DType) -> [Vec<f64>; 4]
where
    B: AutodiffBackend + RecallBackend,
{
    let [inputs, weight, proxies] = ["inputs", "weight", "proxies"]
        .map(|name| reference.matrix(name).tensor::<B>(dtype).require_grad());
    let partners = reference.integers("permutation");
    let partners = partners.into_iter().map(|partner| partner as usize);
    let mixture = Mixture::new(reference.floats("lam")[0], partners.collect()).unwrap();
    let unit = |rows: Tensor<B, 2>| {
        let squares = (rows.clone() * rows.clone()).sum_dim(1);
        rows * squares.powf_scalar(-0.5)
    };
    let embeddings = match variant {
        "input" => unit(mixture.mix(inputs.clone()).unwrap().matmul(weight.clone())),
        _ => unit(
            mixture
                .mix(unit(inputs.clone().matmul(weight.clone())))
                .unwrap(),
        ),
    };
    let loss = NormSoftmaxConfig::new().init().unwrap();
    let value = mixture.loss(
        &loss,
        Batch {
            embeddings,
            labels: &reference.integers("labels"),
            parameters: Some(proxies.clone()),
            seed: 0,
        },
    );
    let value = value.unwrap();
    let gradients = value.backward();
    let grad = |of: &Tensor<B, 2>| {
        of.grad(&gradients)
            .unwrap()
            .into_data()
            .iter::<f64>()
            .collect()
    };
    [
        value.clone().into_data().iter::<f64>().collect(),
        grad(&inputs),
        grad(&weight),
        grad(&proxies),
    ]
}

#[test]
fn agrees_with_its_definition() {
    let reference = Reference::open("mixup");
    let variants = reference.variants();
    assert_eq!(variants.len(), 2);
    for (variant, settings) in variants {
        let temperature = settings["temperature"].as_f64();
        assert_eq!(temperature, Some(NormSoftmaxConfig::new().temperature));
        let names = ["loss", "grad_inputs", "grad_weight", "grad_proxies"];
        let expected = names.map(|name| reference.floats(&format!("{name}.{variant}")));
        for (found, bounds, how) in [
            (
                mixed::<InDouble>(&reference, &variant, DType::F64),
                [1e-9, 1e-9],
                "in f64",
            ),
            (
                mixed::<OnFlex>(&reference, &variant, DType::F32),
                [1e-6, 1e-5],
                "on flex",
            ),
            (
                mixed::<OnNdArray>(&reference, &variant, DType::F32),
                [1e-6, 1e-5],
                "on ndarray",
            ),
        ] {
            for ((found, expected), name) in found.iter().zip(&expected).zip(names) {
                let error = relative(found, expected);
                let bound = bounds[usize::from(name != "loss")];
                assert!(
                    error <= bound,
                    "{variant} {how}: {name} is off by {error:e}"
                );
            }
        }
    }
}

#[test]
fn it_lies_between_the_losses_of_both_labels() {
    let case = with_proxies(Case::random(2, 15, 6, 3), 1);
    let loss = CosFaceConfig::new().init().unwrap();
    let partners: Vec<usize> = (0..15).map(|row| (row + 4) % 15).collect();
    let others: Vec<i64> = partners.iter().map(|&row| case.labels[row]).collect();
    let batch = |labels| Batch {
        embeddings: case.embeddings.tensor::<InDouble>(DType::F64),
        labels,
        parameters: case.parameters.as_ref().map(|of| of.tensor(DType::F64)),
        seed: 0,
    };
    let number = |value: Tensor<InDouble, 1>| value.into_data().iter::<f64>().sum::<f64>();
    let own = number(loss.evaluate(batch(&case.labels)).unwrap());
    let other = number(loss.evaluate(batch(&others)).unwrap());
    for lambda in [0.0, 0.3, 1.0] {
        let mixture = Mixture::new(lambda, partners.clone()).unwrap();
        // A loss behind a pointer, as a trainer holds it.
        let boxed: Box<dyn MetricLoss<InDouble>> = Box::new(loss.clone());
        let found = number(mixture.loss(boxed.as_ref(), batch(&case.labels)).unwrap());
        let expected = lambda * own + (1.0 - lambda) * other;
        assert!((found - expected).abs() < 1e-12 * expected, "{lambda}");
    }
}

/// Losses that compare items with the same proxies for either label do it once.
#[test]
fn both_labels_at_once_are_both_losses() {
    let case = with_proxies(Case::random(3, 21, 6, 3), 1);
    let partners: Vec<usize> = (0..21).map(|row| (row * 4 + 1) % 21).collect();
    let others: Vec<i64> = partners.iter().map(|&row| case.labels[row]).collect();
    let losses: [Box<dyn MetricLoss<OnFlex>>; 2] = [
        Box::new(NormSoftmaxConfig::new().init().unwrap()),
        Box::new(ProxyNcaPpConfig::new().init().unwrap()),
    ];
    for loss in losses {
        let leaves = || {
            let proxies = case.parameters.as_ref().unwrap();
            [&case.embeddings, proxies].map(|of| of.tensor::<OnFlex>(DType::F32).require_grad())
        };
        let batch = |[embeddings, proxies]: &[Tensor<OnFlex, 2>; 2], labels| Batch {
            embeddings: embeddings.clone(),
            labels,
            parameters: Some(proxies.clone()),
            seed: 0,
        };
        let numbers = |value: Tensor<OnFlex, 1>, leaves: [Tensor<OnFlex, 2>; 2]| {
            let gradients = value.backward();
            let slopes = leaves.map(|leaf| leaf.grad(&gradients).unwrap().into_data());
            let slopes = slopes
                .iter()
                .flat_map(|of| of.iter::<f64>().collect::<Vec<_>>());
            let value = value.into_data();
            value.iter::<f64>().chain(slopes).collect::<Vec<f64>>()
        };
        for lambda in [0.0, 0.3, 1.0] {
            let mixture = Mixture::new(lambda, partners.clone()).unwrap();
            let rows = leaves();
            let found = mixture.loss(loss.as_ref(), batch(&rows, &case.labels));
            let found = numbers(found.unwrap(), rows);
            let rows = leaves();
            let own = loss.evaluate(batch(&rows, &case.labels)).unwrap();
            let other = loss.evaluate(batch(&rows, &others)).unwrap();
            let both = own.mul_scalar(lambda) + other.mul_scalar(1.0 - lambda);
            assert!(relative(&found, &numbers(both, rows)) < 1e-6, "{lambda}");
        }
        let wrong = vec![99; 21];
        let refused = loss.evaluate_mixed(batch(&leaves(), &case.labels), &wrong, 0.5);
        assert!(matches!(refused, Err(LossError::Label { .. })));
    }
}

#[test]
fn feature_maps_are_mixed_along_their_first_axis() {
    let maps = Tensor::<OnFlex, 4>::from_floats(
        [
            [[[1.0, 2.0]], [[3.0, 4.0]]],
            [[[10.0, 20.0]], [[30.0, 40.0]]],
        ],
        &Default::default(),
    );
    let mixture = Mixture::new(0.75, vec![1, 0]).unwrap();
    let found = mixture.mix(maps).unwrap();
    assert_eq!(found.dims(), [2, 2, 1, 2]);
    let found: Vec<f32> = found.into_data().iter::<f32>().collect();
    assert_eq!(found, [3.25, 6.5, 9.75, 13.0, 7.75, 15.5, 23.25, 31.0]);
}

#[test]
fn what_is_drawn_follows_from_the_seed() {
    let mixup = InputMixupConfig::manifold().init().unwrap();
    let draw = |seed| mixup.draw(40, seed).unwrap();
    assert_eq!(draw(7), draw(7));
    assert_ne!(draw(7).lambda(), draw(8).lambda());
    assert_ne!(draw(7).partners(), draw(8).partners());
    let mut partners = draw(7).partners().to_vec();
    partners.sort_unstable();
    assert_eq!(partners, (0..40).collect::<Vec<_>>());
    let mean = (0..2000).map(|seed| draw(seed).lambda()).sum::<f64>() / 2000.0;
    // Its standard deviation is √(1/20/2000).
    assert!((mean - 0.5).abs() < 0.025, "{mean}");
}

#[test]
fn what_does_not_fit_is_refused() {
    let mixture = Mixture::new(0.5, vec![1, 0, 2]).unwrap();
    let error = mixture
        .mix(Tensor::<OnFlex, 2>::zeros([4, 2], &Default::default()))
        .unwrap_err();
    assert!(
        error.to_string().starts_with("4 items for a mixture of 3"),
        "{error}"
    );
    let case = with_proxies(Case::random(2, 4, 6, 2), 1);
    let loss = NormSoftmaxConfig::new().init().unwrap();
    let error = mixture.loss(
        &loss,
        Batch {
            embeddings: case.embeddings.tensor::<OnFlex>(DType::F32),
            labels: &case.labels,
            parameters: case.parameters.as_ref().map(|of| of.tensor(DType::F32)),
            seed: 0,
        },
    );
    assert!(matches!(error.unwrap_err(), LossError::Mixture(_)));
    let error = Mixture::new(0.5, vec![1, 2]).unwrap_err();
    assert!(matches!(error, LossError::Mixture(_)), "{error}");
    let error = Mixture::new(1.5, vec![0]).unwrap_err();
    assert!(error.to_string().starts_with("lambda = 1.5"), "{error}");
    let error = InputMixupConfig::new().with_alpha(0.0).init().unwrap_err();
    assert!(error.to_string().starts_with("alpha = 0"), "{error}");
}
