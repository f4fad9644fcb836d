use burn::backend::Autodiff;
use burn::module::AutodiffModule;
use burn::tensor::Distribution;
use burn_flex::Flex;
use burn_ndarray::NdArray;

use super::*;

const ROWS: usize = 40;
const FEATURES: usize = 6;

/// Rows whose numbers depend on each other, far from zero and of different sizes.
fn rows() -> Vec<f32> {
    let mut drawn = (0_u32..).map(|at| {
        let mixed = at.wrapping_mul(2_654_435_761) ^ 0x5bd1_e995;
        let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(2_246_822_519);
        f64::from(mixed >> 8) / f64::from(1 << 24) - 0.5
    });
    let mut row = || {
        let free: Vec<f64> = drawn.by_ref().take(FEATURES).collect();
        (0..FEATURES).map(move |i| {
            let before = free[i.saturating_sub(1)];
            (1.0 + i as f64 + (1.0 + i as f64) * (free[i] + 0.5 * before)) as f32
        })
    };
    (0..ROWS)
        .flat_map(|_| row().collect::<Vec<f32>>())
        .collect()
}

fn statistics() -> FeatureStatistics {
    let mut statistics = FeatureStatistics::new(FEATURES, true);
    statistics.add(&rows()).unwrap();
    statistics
}

fn head<B: NnBackend>(start: Start, dim: usize, hidden: Option<usize>) -> FeatureHead<B> {
    let config = FeatureHeadConfig {
        features: FEATURES,
        dim,
        hidden,
        dropout: 0.0,
    };
    let device = B::Device::default();
    config.init(&device).started(start, &statistics()).unwrap()
}

fn tensor<B: Backend>(rows: &[f32]) -> Tensor<B, 2> {
    let data = TensorData::new(rows.to_vec(), [rows.len() / FEATURES, FEATURES]);
    Tensor::from_data(data, &B::Device::default())
}

fn numbers<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// What is scaled to unit length, of a linear head.
fn straight(head: &FeatureHead<Flex>, rows: &[f32]) -> Vec<f64> {
    let rows = tensor::<Flex>(rows) - head.mean.val().unsqueeze();
    numbers(head.linear.forward(rows * head.scale.val().unsqueeze()))
}

fn cosines(rows: &[f64], dim: usize) -> Vec<f64> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let each = || rows.chunks_exact(dim);
    each()
        .flat_map(|a| each().map(move |b| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()))
        .collect()
}

fn close(actual: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len());
    for (a, b) in actual.iter().zip(expected) {
        assert!((a - b).abs() <= tolerance, "{a} for {b}");
    }
}

#[test]
fn identity_keeps_the_cosines_of_the_rows_as_they_came() {
    let raw: Vec<f64> = rows().iter().map(|x| f64::from(*x)).collect();
    for dim in [FEATURES, FEATURES + 3] {
        let head = head::<Flex>(Start::Identity, dim, None);
        let embedded = numbers(head.embed_features(tensor(&rows())));
        close(&cosines(&embedded, dim), &cosines(&raw, FEATURES), 1e-6);
    }
    // Cut, it keeps those of the first numbers.
    let cut: Vec<f64> = raw
        .chunks_exact(FEATURES)
        .flat_map(|row| row[..2].to_vec())
        .collect();
    let embedded = numbers(head::<Flex>(Start::Identity, 2, None).embed_features(tensor(&rows())));
    close(&cosines(&embedded, 2), &cosines(&cut, 2), 1e-6);
}

#[test]
fn standard_gives_each_number_mean_zero_and_variance_one() {
    let straight = straight(&head::<Flex>(Start::Standard, FEATURES, None), &rows());
    for number in 0..FEATURES {
        let each = || straight[number..].iter().step_by(FEATURES);
        let mean = each().sum::<f64>() / ROWS as f64;
        let square = each().map(|x| x * x).sum::<f64>() / ROWS as f64;
        close(&[mean, square], &[0.0, 1.0], 1e-5);
    }
}

#[test]
fn pca_whitens_the_training_rows() {
    for dim in [3, FEATURES, FEATURES + 2] {
        let straight = straight(&head::<Flex>(Start::Pca, dim, None), &rows());
        for i in 0..dim {
            for j in 0..dim {
                let products = straight.chunks_exact(dim).map(|row| row[i] * row[j]);
                let covariance = products.sum::<f64>() / ROWS as f64;
                // Numbers beyond those of a row are padding.
                let expected = if i == j && i < FEATURES { 1.0 } else { 0.0 };
                close(&[covariance], &[expected], 2e-5);
            }
        }
    }
}

#[test]
fn principal_directions_are_sorted_and_their_signs_follow_from_the_rows() {
    let found = Principal::of(&statistics()).unwrap();
    assert_eq!(found.directions.len(), FEATURES);
    assert!(found.variances.is_sorted_by(|a, b| a >= b));
    let total: f64 = statistics().deviation().iter().map(|d| d * d).sum();
    close(&[found.variances.iter().sum()], &[total], 1e-9 * total);
    for direction in &found.directions {
        let by_size = |a: &&f64, b: &&f64| a.abs().total_cmp(&b.abs());
        assert!(direction.iter().max_by(by_size).unwrap() > &0.0);
    }
    // Three rows differ in two directions at most.
    let mut few = FeatureStatistics::new(FEATURES, true);
    few.add(&rows()[..3 * FEATURES]).unwrap();
    assert_eq!(Principal::of(&few).unwrap().directions.len(), 2);
}

#[test]
fn residual_starts_as_the_linear_head() {
    for start in [Start::Random, Start::Identity, Start::Standard, Start::Pca] {
        let residual = head::<Flex>(start, 4, Some(5));
        let linear = FeatureHead {
            hidden: None,
            out: None,
            ..residual.clone()
        };
        let embedded = |head: FeatureHead<Flex>| numbers(head.embed_features(tensor(&rows())));
        assert_eq!(embedded(residual), embedded(linear), "{start}");
    }
}

#[test]
fn a_number_that_is_always_the_same_says_nothing() {
    let mut rows = rows();
    for row in rows.chunks_exact_mut(FEATURES) {
        row[2] = 0.1;
    }
    let mut statistics = FeatureStatistics::new(FEATURES, true);
    statistics.add(&rows).unwrap();
    for start in [Start::Random, Start::Standard, Start::Pca] {
        let head = head::<Flex>(Start::Random, FEATURES, None);
        let head = head.started(start, &statistics).unwrap();
        rows[2] = 0.1;
        let before = straight(&head, &rows[..FEATURES]);
        assert!(before.iter().all(|x| x.is_finite()));
        if start != Start::Pca {
            rows[2] = 7.0;
            assert_eq!(straight(&head, &rows[..FEATURES]), before);
        }
    }
}

#[test]
fn statistics_that_do_not_suit_are_refused_in_a_sentence() {
    let refused = |start, statistics: &FeatureStatistics| {
        let head = head::<Flex>(Start::Random, 4, None);
        head.started(start, statistics).unwrap_err().to_string()
    };
    let other = refused(Start::Random, &FeatureStatistics::new(FEATURES + 1, false));
    assert!(
        other.contains("rows of 7 features, and the head takes 6"),
        "{other}"
    );
    let none = refused(Start::Standard, &FeatureStatistics::new(FEATURES, false));
    assert!(none.contains("no rows"), "{none}");
    let mut same = FeatureStatistics::new(FEATURES, false);
    same.add(&[0.0; 2 * FEATURES]).unwrap();
    let without = refused(Start::Pca, &same);
    assert!(
        without.contains("need statistics with the covariance"),
        "{without}"
    );
    let zero = refused(Start::Identity, &same);
    assert!(zero.contains("all zero"), "{zero}");
    let mut same = FeatureStatistics::new(FEATURES, true);
    same.add(&[1.0; 2 * FEATURES]).unwrap();
    let alike = refused(Start::Pca, &same);
    assert!(alike.contains("all the same"), "{alike}");
}

/// `Σ e · slope` and its gradient with respect to every parameter that is trained, in f64.
#[test]
fn the_gradient_is_that_of_finite_differences() {
    type Plain = NdArray<f64>;
    type Graph = Autodiff<Plain>;
    let device = Default::default();
    let dim = 4;
    let mut head = head::<Graph>(Start::Pca, dim, Some(5));
    // Away from where it starts, or the hidden layer has no gradient.
    let out = head.out.as_mut().unwrap();
    out.weight = Param::from_tensor(Tensor::random(
        [5, dim],
        Distribution::Normal(0.0, 1.0),
        &device,
    ));
    let rows = rows()[..7 * FEATURES].to_vec();
    let slope = Tensor::<Plain, 2>::random([7, dim], Distribution::Normal(0.0, 1.0), &device);
    let value = |head: &FeatureHead<Plain>| -> f64 {
        let embedded = head.embed_features(tensor(&rows));
        numbers((embedded * slope.clone()).sum())[0]
    };
    let embedded = head.embed_features(tensor::<Graph>(&rows));
    let gradients = (embedded * Tensor::from_inner(slope.clone()))
        .sum()
        .backward();
    assert!(head.mean.grad(&gradients).is_none() && head.scale.grad(&gradients).is_none());

    // Each parameter, moved a little one number at a time.
    macro_rules! compare {
        ($head:ident => $parameter:expr) => {{
            let parameter = {
                let $head = &mut head;
                $parameter.clone()
            };
            let analytic = numbers(parameter.grad(&gradients).unwrap());
            for (at, analytic) in analytic.into_iter().enumerate() {
                let moved = |step: f64| {
                    let mut values = numbers(parameter.val());
                    values[at] += step;
                    let values = TensorData::new(values, parameter.dims());
                    let mut moved = head.valid();
                    let $head = &mut moved;
                    *$parameter = Param::from_tensor(Tensor::from_data(values, &device));
                    value(&moved)
                };
                let numeric = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                close(&[analytic], &[numeric], 1e-7);
            }
        }};
    }
    compare!(head => &mut head.linear.weight);
    compare!(head => head.linear.bias.as_mut().unwrap());
    compare!(head => &mut head.hidden.as_mut().unwrap().weight);
    compare!(head => head.hidden.as_mut().unwrap().bias.as_mut().unwrap());
    compare!(head => &mut head.out.as_mut().unwrap().weight);
}

#[test]
fn dropout_drops_in_training_alone() {
    type Graph = Autodiff<Flex>;
    let mut head = head::<Graph>(Start::Standard, FEATURES, None);
    head.dropout = DropoutConfig::new(0.5).init();
    let trained = numbers(head.embed_features(tensor::<Graph>(&rows())));
    let zeros = trained.iter().filter(|x| **x == 0.0).count();
    let share = zeros as f64 / (ROWS * FEATURES) as f64;
    assert!((0.3..0.7).contains(&share), "{share}");
    let judged = numbers(head.valid().embed_features(tensor::<Flex>(&rows())));
    assert!(judged.iter().all(|x| *x != 0.0));
}
