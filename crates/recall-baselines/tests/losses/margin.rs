use burn::tensor::{DType, Tensor, backend::AutodiffBackend};
use recall_baselines::{
    Batch, LossError, Margin, MarginBoundary, MarginConfig, MetricLoss, Parameters, Trained,
};
use recall_loss::RecallBackend;

use crate::check::{
    Case, InDouble, Matrix, OnFlex, Random, evaluated, has_the_gradient_of_its_value,
    ignores_rotations, in_double, on_flex, relative, rows_are_tensor_operations, same,
};
use crate::reference::Reference;

/// The loss of given triplets.
struct Given {
    loss: Margin,
    triplets: Vec<[usize; 3]>,
}

impl Given {
    fn of(config: &MarginConfig, triplets: Vec<[usize; 3]>) -> Self {
        Self {
            loss: config.init().unwrap(),
            triplets,
        }
    }

    /// For a batch in another order.
    fn reordered(&self, order: &[usize]) -> Self {
        let place = |row: usize| order.iter().position(|&of| of == row).unwrap();
        Self {
            loss: self.loss.clone(),
            triplets: (self.triplets.iter().rev())
                .map(|triplet| triplet.map(place))
                .collect(),
        }
    }
}

impl<B: AutodiffBackend + RecallBackend> MetricLoss<B> for Given {
    fn evaluate(&self, batch: Batch<'_, B>) -> Result<Tensor<B, 1>, LossError> {
        self.loss.evaluate_triplets(batch, &self.triplets)
    }
}

fn drawn(loss: &Margin, case: &Case, seed: u64) -> Vec<[usize; 3]> {
    let embeddings = case.embeddings.tensor::<InDouble>(DType::F64);
    loss.triplets(embeddings, &case.labels, seed).unwrap()
}

fn probabilities(loss: &Margin, case: &Case) -> Vec<Vec<f64>> {
    let embeddings = case.embeddings.tensor::<InDouble>(DType::F64);
    loss.negative_probabilities(embeddings, &case.labels)
        .unwrap()
}

#[test]
fn agrees_with_pytorch_metric_learning_on_given_triplets() {
    let reference = Reference::open("margin");
    for (variant, settings) in reference.variants() {
        let config = MarginConfig::new()
            .with_alpha(settings["alpha"].as_f64().unwrap())
            .with_nu(settings["nu"].as_f64().unwrap());
        let mut case = reference.case(None);
        let mut expected = reference.expected(&variant, None);
        let config = match settings["beta"].as_f64() {
            Some(beta) => {
                case.parameters = Some(Matrix {
                    values: vec![beta],
                    dim: 1,
                });
                expected.grad_parameters = Some(reference.floats(&format!("grad_beta.{variant}")));
                config.with_boundary(MarginBoundary::Shared)
            }
            None => {
                case.parameters = Some(Matrix {
                    values: reference.floats("class_beta"),
                    dim: 1,
                });
                let grad = reference.floats(&format!("grad_class_beta.{variant}"));
                expected.grad_parameters = Some(grad);
                config
            }
        };
        let given = Given::of(&config, reference.tuples::<3>("triplets"));
        let order = Random::new(6).order(case.labels.len());
        let shuffled = case.reordered(&order);
        let mut expected_shuffled = expected.clone();
        expected_shuffled.grad = Matrix {
            values: expected.grad.clone(),
            dim: case.embeddings.dim,
        }
        .reordered(&order)
        .values;
        for (given, case, expected) in [
            (given.reordered(&order), shuffled, expected_shuffled),
            (given, case, expected),
        ] {
            same(&in_double(&given, &case), &expected, 1e-9, 1e-9, &variant);
            same(&on_flex(&given, &case), &expected, 1e-6, 1e-5, &variant);
            let on_ndarray = crate::check::on_ndarray(&given, &case);
            same(&on_ndarray, &expected, 1e-6, 1e-5, &variant);
            let batch = Batch {
                embeddings: case.embeddings.tensor::<InDouble>(DType::F64),
                labels: &case.labels,
                parameters: (case.parameters.as_ref()).map(|of| of.tensor(DType::F64)),
                seed: 0,
            };
            let violations = given.loss.violations(batch, &given.triplets).unwrap();
            let expected = reference.integers(&format!("violations.{variant}"));
            assert_eq!(violations as i64, expected[0]);
        }
    }
}

#[test]
fn negatives_are_as_likely_as_its_authors_have_them() {
    let reference = Reference::open("margin");
    let case = reference.case(None);
    for (name, cutoff, far) in [
        ("cutoff0.5", 0.5, None),
        ("cutoff0.5_far1.4", 0.5, Some(1.4)),
        ("cutoff0.9_far1.2", 0.9, Some(1.2)),
    ] {
        let config = MarginConfig::new().with_cutoff(cutoff).with_far(far);
        let loss = config.init().unwrap();
        let mut expected = reference.floats(&format!("negative_probability.{name}"));
        // The file has zeros for an anchor whose negatives are all too far.
        let n = case.labels.len();
        for (row, label) in expected.chunks_mut(n).zip(&case.labels) {
            if row.iter().all(|&p| p == 0.0) {
                let others: Vec<f64> = (case.labels.iter())
                    .map(|other| f64::from(other != label))
                    .collect();
                let count: f64 = others.iter().sum();
                row.iter_mut()
                    .zip(others)
                    .for_each(|(p, other)| *p = other / count);
            }
        }
        let found = probabilities(&loss, &case).concat();
        assert!(relative(&found, &expected) < 1e-9, "{name}");
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(*found > 0.0, *expected > 0.0, "{name}");
            assert!((found - expected).abs() <= 1e-9 * expected, "{name}");
        }
        let single = case.embeddings.tensor::<OnFlex>(DType::F32);
        let found = loss.negative_probabilities(single, &case.labels).unwrap();
        assert!(relative(&found.concat(), &expected) < 1e-5, "{name}");
    }
}

#[test]
fn defaults_are_the_authors() {
    let config = MarginConfig::new();
    assert_eq!(
        (config.alpha, config.beta, config.nu, config.cutoff),
        (0.2, 1.2, 0.0, 0.5)
    );
    let loss = config.init().unwrap();
    let parameters = MetricLoss::<OnFlex>::parameters(&loss, 7, 128);
    let expected = Parameters {
        shape: [7, 1],
        mean: 1.2,
        std: 0.0,
    };
    assert_eq!(parameters, Some(expected));
}

#[test]
fn each_positive_pair_draws_a_negative() {
    let loss = MarginConfig::new().init().unwrap();
    let case = Case::random(1, 40, 8, 5);
    let triplets = drawn(&loss, &case, 9);
    let pairs = (0..40).flat_map(|a| (0..40).map(move |p| (a, p)));
    let pairs: Vec<_> = pairs
        .filter(|&(a, p)| a != p && case.labels[a] == case.labels[p])
        .collect();
    let mut found: Vec<_> = triplets.iter().map(|&[a, p, _]| (a, p)).collect();
    found.sort_unstable();
    assert_eq!(found, pairs);
    let probabilities = probabilities(&loss, &case);
    assert!(triplets.iter().all(|&[a, _, n]| probabilities[a][n] > 0.0));
    assert_eq!(triplets, drawn(&loss, &case, 9));
    let single = case.embeddings.tensor::<OnFlex>(DType::F32);
    assert_eq!(triplets, loss.triplets(single, &case.labels, 9).unwrap());
    assert_ne!(triplets, drawn(&loss, &case, 10));
}

/// A thousand seeds draw what the probabilities say, each anchor by itself.
#[test]
fn negatives_are_drawn_as_often_as_likely() {
    let loss = MarginConfig::new().with_far(None).init().unwrap();
    let case = Case::random(3, 12, 5, 3);
    let probabilities = probabilities(&loss, &case);
    let mut counts = vec![vec![0.0; 12]; 12];
    let mut draws = [0.0; 12];
    for seed in 0..1000 {
        for [anchor, _, negative] in drawn(&loss, &case, seed) {
            counts[anchor][negative] += 1.0;
            draws[anchor] += 1.0;
        }
    }
    assert!(draws.iter().any(|&draws| draws > 0.0));
    for anchor in 0..12 {
        for other in 0..12 {
            let (p, n): (f64, f64) = (probabilities[anchor][other], draws[anchor]);
            let deviation = (n * p * (1.0 - p)).sqrt();
            let difference = (counts[anchor][other] - n * p).abs();
            assert!(difference <= 5.0 * deviation + 1e-9, "{anchor} {other}");
        }
    }
}

/// In high dimensions nearly all points are √2 apart: beyond the limit negatives are equally likely.
#[test]
fn negatives_that_are_all_too_far_are_equally_likely() {
    let loss = MarginConfig::new().init().unwrap();
    let mut case = Case::random(0, 4, 4, 1);
    case.embeddings.values = (0..16).map(|at| f64::from(at % 5 == 0)).collect();
    case.labels = vec![0, 0, 1, 2];
    for (row, expected) in probabilities(&loss, &case).into_iter().zip([
        [0.0, 0.0, 0.5, 0.5],
        [0.0, 0.0, 0.5, 0.5],
        [1.0 / 3.0, 1.0 / 3.0, 0.0, 1.0 / 3.0],
        [1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0, 0.0],
    ]) {
        assert_eq!(row, expected);
    }
}

#[test]
fn holds_up_on_random_batches() {
    for boundary in [
        MarginBoundary::Fixed,
        MarginBoundary::Shared,
        MarginBoundary::PerClass,
    ] {
        let config = MarginConfig::new().with_boundary(boundary).with_nu(0.05);
        let prepare = |case: Case| {
            let classes = case.classes();
            match boundary {
                MarginBoundary::Fixed => case,
                MarginBoundary::Shared => case.with_parameters([1, 1], 1.1, 0.0),
                MarginBoundary::PerClass => case.with_parameters([classes, 1], 1.1, 0.2),
            }
        };
        let loss = config.init().unwrap();
        for seed in 0..6 {
            let case = prepare(Case::random(seed, 14 + 5 * seed as usize, 8, 4));
            let given = Given::of(&config, drawn(&loss, &case, seed));
            // What is drawn is what is evaluated.
            let expected = in_double(&given, &case);
            let evaluated = in_double(
                &loss,
                &Case {
                    seed,
                    ..case.clone()
                },
            );
            same(&evaluated, &expected, 1e-12, 1e-12, "drawn");
            has_the_gradient_of_its_value(&given, &case);
            let order = Random::new(seed + 2).order(case.labels.len());
            let mut expected = expected;
            expected.grad = Matrix {
                values: expected.grad,
                dim: case.embeddings.dim,
            }
            .reordered(&order)
            .values;
            let shuffled = in_double(&given.reordered(&order), &case.reordered(&order));
            same(&shuffled, &expected, 1e-9, 1e-8, "in another order");
            if boundary == MarginBoundary::Fixed {
                ignores_rotations(&given, &case);
            }
            rows_are_tensor_operations(&given, &case);
        }
    }
}

/// Without hinges nothing is to be learned, not even that boundaries cost something.
#[test]
fn separated_classes_cost_nothing() {
    let config = MarginConfig::new()
        .with_beta(0.5)
        .with_boundary(MarginBoundary::Shared)
        .with_nu(0.1);
    let loss = config.init().unwrap();
    let mut case = Case::random(2, 4, 2, 1).with_parameters([1, 1], 0.5, 0.0);
    case.embeddings.values = vec![1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0];
    case.labels = vec![0, 0, 1, 1];
    for found in [in_double(&loss, &case), on_flex(&loss, &case)] {
        assert_eq!(found.loss, 0.0);
        assert!(found.grad.iter().all(|&x| x == 0.0));
        assert_eq!(found.grad_parameters, Some(vec![0.0]));
    }
}

#[test]
fn its_boundaries_begin_at_beta() {
    let loss = MarginConfig::new().init().unwrap();
    let trained = Trained::<OnFlex, _>::init(loss, 3, 8, &Default::default());
    let values = trained.parameters.val().into_data();
    assert_eq!(values.shape, [3, 1].into());
    assert!(values.iter::<f32>().all(|x| x == 1.2));
}

#[test]
fn what_does_not_fit_is_an_error() {
    let loss = MarginConfig::new().init().unwrap();
    let case = Case::random(0, 8, 4, 2);
    let error = |loss: &dyn MetricLoss<OnFlex>, case: &Case| {
        let embeddings = case.embeddings.tensor::<OnFlex>(DType::F32);
        let batch = Batch {
            embeddings,
            labels: &case.labels,
            parameters: case.parameters.as_ref().map(|of| of.tensor(DType::F32)),
            seed: 0,
        };
        loss.evaluate(batch).unwrap_err()
    };
    assert!(matches!(
        error(&loss, &case),
        LossError::Parameters { expected: [_, 1], got, .. } if got.is_empty()
    ));
    let few = case.clone().with_parameters([1, 1], 1.2, 0.0);
    assert!(matches!(
        error(&loss, &few),
        LossError::Label { classes: 1, .. }
    ));
    let wide = case.clone().with_parameters([9, 2], 1.2, 0.0);
    assert!(matches!(
        error(&loss, &wide),
        LossError::Parameters { got, .. } if got == [9, 2]
    ));
    let case = case.with_parameters([9, 1], 1.2, 0.0);
    let given = |triplets| Given::of(&MarginConfig::new(), triplets);
    assert!(matches!(
        error(&given(vec![]), &case),
        LossError::Lacking { items: 8, .. }
    ));
    let message = error(&given(vec![[0, 1, 8]]), &case).to_string();
    assert!(message.starts_with("triplets = [0, 1, 8]"), "{message}");
    for labels in [(0..8).collect(), vec![0; 8]] {
        let case = Case {
            labels,
            ..case.clone()
        };
        let error = evaluated::<OnFlex>(&loss, &case, DType::F32).unwrap_err();
        assert!(matches!(error, LossError::Lacking { items: 8, .. }));
    }
}

#[test]
fn settings_without_sense_are_refused_by_name() {
    let config = MarginConfig::new();
    for (config, start) in [
        (config.clone().with_alpha(-0.1), "alpha = -0.1"),
        (config.clone().with_beta(f64::NAN), "beta = NaN"),
        (config.clone().with_nu(-1.0), "nu = -1"),
        (config.clone().with_cutoff(0.0), "cutoff = 0"),
        (config.clone().with_cutoff(2.0), "cutoff = 2"),
        (config.with_far(Some(0.5)), "far = 0.5"),
    ] {
        let error = config.init().unwrap_err();
        assert!(error.to_string().starts_with(start), "{error}");
    }
}
