use burn::backend::Autodiff;
use burn::tensor::{Int, Tensor};
use burn_flex::Flex;
use burn_ndarray::NdArray;
use proptest::prelude::*;
use recall_loss::{LossError, Mixup, RecallAtKLossConfig};

use crate::batches::{HostBatch, shuffled};
use crate::oracle;

type F64 = NdArray<f64>;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn order_of_the_batch_means_nothing(
        seed: u64, sizes in oracle::class_sizes(), config in oracle::configs(),
    ) {
        let batch = HostBatch::random(seed, &sizes, 6, 0.7);
        let order = shuffled(batch.len(), seed);
        let loss = config.init().unwrap();
        let straight = batch.by_formula::<F64>(&loss, None);
        let permuted = batch.permuted(&order).by_formula::<F64>(&loss, None);
        let grad = HostBatch { values: straight.grad, ..batch }.permuted(&order).values;
        prop_assert!((straight.loss - permuted.loss).abs() < 1e-12);
        prop_assert!(grad.iter().zip(&permuted.grad).all(|(a, b)| (a - b).abs() < 1e-10));
    }

    #[test]
    fn the_loss_lies_between_0_and_1(
        seed: u64, sizes in oracle::class_sizes(), config in oracle::configs(), mixed: bool,
        noise in 0.0..2.0_f64,
    ) {
        let config = config.with_query_in_rank(false).with_cap_at_k(true);
        let batch = HostBatch::random(seed, &sizes, 3, noise);
        let mixup = mixed.then(|| Mixup::all_pairs(&batch.labels, seed));
        let outcome = batch.by_formula::<Flex>(&config.init().unwrap(), mixup.as_ref());
        prop_assert!((-1e-6..=1.0 + 1e-6).contains(&outcome.loss), "{}", outcome.loss);
    }

    #[test]
    fn block_size_changes_nothing_but_rounding(
        seed: u64, sizes in oracle::class_sizes(), mixed: bool, block in 1..30_usize,
    ) {
        let batch = HostBatch::random(seed, &sizes, 6, 0.7);
        let mixup = mixed.then(|| Mixup::all_pairs(&batch.labels, seed));
        let of = |block| RecallAtKLossConfig::new().with_block_size(block).init().unwrap();
        let whole = batch.by_formula::<F64>(&of(10_000), mixup.as_ref());
        let blocked = batch.by_formula::<F64>(&of(block), mixup.as_ref());
        prop_assert!((whole.loss - blocked.loss).abs() < 1e-12);
        prop_assert!(whole.grad.iter().zip(&blocked.grad).all(|(a, b)| (a - b).abs() < 1e-10));
    }

    #[test]
    fn cold_temperatures_give_the_metric_itself(
        seed: u64, sizes in oracle::class_sizes(), mixed: bool, k in 1..9_usize,
    ) {
        let batch = HostBatch::random(seed, &sizes, 6, 0.9);
        let mixup = mixed.then(|| Mixup::all_pairs(&batch.labels, seed));
        // Two similarities closer than this would still be blurred; random ones are further apart.
        let cold = RecallAtKLossConfig::new()
            .with_ks(vec![k])
            .with_tau_rank(1e-9)
            .with_tau_k(vec![1e-3])
            .init()
            .unwrap();
        let expected = 1.0 - recall_at_k(k, &batch, mixup.as_ref());
        let actual = batch.by_formula::<F64>(&cold, mixup.as_ref()).loss;
        prop_assert!((actual - expected).abs() < 1e-6, "{actual} is not {expected}");
    }
}

/// The metric by sorting. A positive exactly at rank k counts half: the surrogate's σ(0), whatever
/// the temperature.
fn recall_at_k(k: usize, batch: &HostBatch, mixup: Option<&Mixup>) -> f64 {
    let (items, labels) = oracle::materialised(batch, mixup);
    let k = k.min(batch.len());
    let mut recalls = Vec::new();
    for q in 0..items.len() {
        let similarity =
            |x: usize| -> f64 { items[q].iter().zip(&items[x]).map(|(a, b)| a * b).sum() };
        let mut ranked: Vec<usize> = (0..items.len()).filter(|&x| x != q).collect();
        ranked.sort_by(|&a, &b| similarity(b).total_cmp(&similarity(a)));
        let relevant = |x: &usize| labels[*x] == labels[q];
        let positives = ranked.iter().filter(|x| relevant(x)).count();
        if positives == 0 {
            continue;
        }
        let before = ranked.iter().take(k - 1).filter(|x| relevant(x)).count() as f64;
        let at = ranked.get(k - 1).is_some_and(relevant);
        recalls.push((before + 0.5 * f64::from(at)) / k.min(positives) as f64);
    }
    recalls.iter().sum::<f64>() / recalls.len() as f64
}

#[test]
fn equal_similarities_and_saturated_ones_stay_finite() {
    let device = Default::default();
    let loss = RecallAtKLossConfig::new()
        .with_tau_rank(1e-3)
        .init()
        .unwrap();
    let labels = || Tensor::<Flex, 1, Int>::from_ints([0, 0, 1, 1], &device);
    let same = Tensor::<Flex, 2>::from_floats([[1.0, 0.0]; 4], &device);
    let separated =
        Tensor::<Flex, 2>::from_floats([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], &device);
    for embeddings in [same, separated] {
        let output = loss.value_and_grad(embeddings, labels(), None).unwrap();
        let values = output.grad.into_data();
        assert!(values.iter::<f32>().all(f32::is_finite), "{values:?}");
        assert!(output.loss.into_scalar().is_finite());
    }
}

#[test]
fn a_query_in_its_own_ranking_leaves_the_known_floor() {
    // Separated classes of 4, with an order among the positives: their ranks are 1, 2, 3, or, behind the
    // query itself, 2, 3, 4. The soft counts of these ranks, by hand:
    let floor = |ranks: [f64; 3]| {
        let recall = |k: f64| {
            let count: f64 = ranks
                .iter()
                .map(|rank| 1.0 / (1.0 + (rank - k).exp()))
                .sum();
            count.min(k) / k.min(3.0)
        };
        // Of 8 items, 16 counts as 8.
        1.0 - [1.0, 2.0, 4.0, 8.0, 8.0].map(recall).iter().sum::<f64>() / 5.0
    };
    let apart = HostBatch::random(1, &[4, 4], 16, 1e-2);
    let loss = |batch: &HostBatch, config: RecallAtKLossConfig| {
        batch.by_formula::<F64>(&config.init().unwrap(), None).loss
    };
    // A temperature at which each comparison is as good as a step.
    let sharp = |config: RecallAtKLossConfig| loss(&apart, config.with_tau_rank(1e-8));
    let released = sharp(RecallAtKLossConfig::released_code());
    assert!(
        (released - floor([2.0, 3.0, 4.0])).abs() < 1e-6,
        "{released}"
    );
    assert!((released - 0.29).abs() < 0.01, "{released}");
    let paper = sharp(RecallAtKLossConfig::new());
    assert!((paper - floor([1.0, 2.0, 3.0])).abs() < 1e-6, "{paper}");

    // Where a class is one point, each of its items is half before each other, the query as well.
    let values = (0..8)
        .flat_map(|row| if row < 4 { [1.0, 0.0] } else { [0.0, 1.0] })
        .collect();
    let collapsed = HostBatch {
        values,
        dim: 2,
        labels: vec![0, 0, 0, 0, 1, 1, 1, 1],
    };
    let released = loss(&collapsed, RecallAtKLossConfig::released_code());
    assert!((released - floor([2.5; 3])).abs() < 1e-6, "{released}");
}

#[test]
fn broken_batches_are_refused_by_name() {
    let device = Default::default();
    let loss = RecallAtKLossConfig::new().init().unwrap();
    let embeddings = Tensor::<Flex, 2>::from_floats([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]], &device);
    let labels = |values: &[i32]| Tensor::<Flex, 1, Int>::from_ints(values, &device);

    let refusal = |embeddings: &Tensor<Flex, 2>, values: &[i32]| {
        loss.value_and_grad(embeddings.clone(), labels(values), None)
            .unwrap_err()
    };
    assert_eq!(
        refusal(&embeddings, &[0, 0]),
        LossError::LabelCount {
            labels: 2,
            embeddings: 3
        }
    );
    assert_eq!(
        refusal(&embeddings, &[0, 1, 2]),
        LossError::NoPositives { items: 3 }
    );
    for broken in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e20] {
        let embeddings =
            Tensor::<Flex, 2>::from_floats([[1.0, 0.0], [0.0, broken], [0.6, 0.8]], &device);
        assert_eq!(
            refusal(&embeddings, &[0, 0, 1]),
            LossError::NonFinite { row: 1 }
        );
        let tracked = Tensor::<Autodiff<Flex>, 2>::from_inner(embeddings).require_grad();
        let labels = Tensor::from_inner(labels(&[0, 0, 1]));
        assert_eq!(
            loss.forward(tracked, labels).unwrap_err(),
            LossError::NonFinite { row: 1 }
        );
    }

    let foreign = Mixup::new(vec![0], vec![2], vec![0.5]).unwrap();
    let error = loss
        .forward_mixed(embeddings, labels(&[0, 0, 1]), &foreign)
        .unwrap_err();
    assert_eq!(
        error,
        LossError::MixupClasses {
            pair: 0,
            first: 0,
            second: 2
        }
    );
}
