use burn::tensor::{Int, Tensor};
use burn_flex::Flex;
use burn_ndarray::NdArray;
use proptest::prelude::*;
use recall_loss::{LossError, Mixup, SmoothApConfig};

use super::oracle;
use crate::batches::{HostBatch, shuffled};
use crate::oracle::{class_sizes, materialised};

type F64 = NdArray<f64>;

/// The average precision of each query, by sorting.
fn sorted(config: &SmoothApConfig, batch: &HostBatch, mixup: Option<&Mixup>) -> Vec<f64> {
    let (items, labels) = materialised(batch, mixup);
    let mut found = Vec::new();
    for q in 0..items.len() {
        let similarity =
            |x: usize| -> f64 { items[q].iter().zip(&items[x]).map(|(a, b)| a * b).sum() };
        let mut ranked: Vec<usize> = (0..items.len())
            .filter(|&x| x != q || config.query_included)
            .collect();
        ranked.sort_by(|&a, &b| similarity(b).total_cmp(&similarity(a)));
        let ranks = (1..).zip(&ranked);
        let of_class = ranks.filter(|&(_, &x)| labels[x] == labels[q]);
        let precisions: Vec<f64> = (1..)
            .zip(of_class)
            .map(|(place, (rank, _))| f64::from(place) / f64::from(rank))
            .collect();
        let alone = labels.iter().filter(|&&label| label == labels[q]).count() == 1;
        if alone {
            found.extend(config.count_lonely.then_some(1.0));
        } else {
            found.push(precisions.iter().sum::<f64>() / precisions.len() as f64);
        }
    }
    found
}

/// The smallest difference between two similarities of one query.
fn separation(batch: &HostBatch, mixup: Option<&Mixup>) -> f64 {
    let (items, _) = materialised(batch, mixup);
    let mut least = f64::INFINITY;
    for query in &items {
        let product = |x: &Vec<f64>| query.iter().zip(x).map(|(a, b)| a * b).sum::<f64>();
        let mut similarities: Vec<f64> = items.iter().map(product).collect();
        similarities.sort_by(f64::total_cmp);
        for pair in similarities.windows(2) {
            least = least.min(pair[1] - pair[0]);
        }
    }
    least
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn order_of_the_batch_means_nothing(
        seed: u64, sizes in class_sizes(), config in oracle::configs(),
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
    fn rotations_change_nothing_and_turn_the_gradient(
        seed: u64, sizes in class_sizes(), config in oracle::configs(), mixed: bool,
        angle in 0.0..6.3_f64,
    ) {
        let batch = HostBatch::random(seed, &sizes, 5, 0.7);
        let mixup = mixed.then(|| Mixup::all_pairs(&batch.labels, seed));
        let turned = |batch: &HostBatch| {
            let mut batch = batch.clone();
            for row in batch.values.chunks_exact_mut(5) {
                for (i, j) in [(0, 1), (1, 2), (2, 3), (3, 4), (4, 0)] {
                    let (a, b) = (row[i], row[j]);
                    row[i] = angle.cos() * a - angle.sin() * b;
                    row[j] = angle.sin() * a + angle.cos() * b;
                }
            }
            batch
        };
        let loss = config.init().unwrap();
        let straight = batch.by_formula::<F64>(&loss, mixup.as_ref());
        let after = turned(&batch).by_formula::<F64>(&loss, mixup.as_ref());
        let grad = turned(&HostBatch { values: straight.grad, ..batch }).values;
        prop_assert!((straight.loss - after.loss).abs() < 1e-11);
        prop_assert!(grad.iter().zip(&after.grad).all(|(a, b)| (a - b).abs() < 1e-9));
    }

    #[test]
    fn the_loss_and_each_precision_lie_between_0_and_1(
        seed: u64, sizes in class_sizes(), config in oracle::configs(), mixed: bool,
        noise in 0.0..2.0_f64,
    ) {
        let batch = HostBatch::random(seed, &sizes, 3, noise);
        let mixup = mixed.then(|| Mixup::all_pairs(&batch.labels, seed));
        let (embeddings, labels) = batch.tensors::<Flex>();
        let found = config.init().unwrap().value_and_grad(embeddings, labels, mixup.as_ref());
        let found = found.unwrap();
        prop_assert_eq!(found.queries.len(), found.recall.dims()[0]);
        let values = found.recall.into_data();
        let lies_between = |value: f32| (-1e-6..=1.0 + 1e-6).contains(&value);
        prop_assert!(values.iter::<f32>().all(lies_between), "{values:?}");
        prop_assert!(lies_between(found.loss.into_scalar()));
    }

    #[test]
    fn block_size_changes_nothing_but_rounding(
        seed: u64, sizes in class_sizes(), config in oracle::configs(), mixed: bool,
    ) {
        let batch = HostBatch::random(seed, &sizes, 6, 0.7);
        let mixup = mixed.then(|| Mixup::all_pairs(&batch.labels, seed));
        let whole = config.clone().with_block_size(10_000).init().unwrap();
        let whole = batch.by_formula::<F64>(&whole, mixup.as_ref());
        let blocked = batch.by_formula::<F64>(&config.init().unwrap(), mixup.as_ref());
        prop_assert!((whole.loss - blocked.loss).abs() < 1e-12);
        prop_assert!(whole.grad.iter().zip(&blocked.grad).all(|(a, b)| (a - b).abs() < 1e-10));
    }

    #[test]
    fn cold_temperatures_give_the_metric_itself(
        seed: u64, sizes in class_sizes(), config in oracle::configs(), mixed: bool,
    ) {
        let batch = HostBatch::random(seed, &sizes, 6, 0.9);
        let mixup = mixed.then(|| Mixup::all_pairs(&batch.labels, seed));
        // Closer ones are still blurred.
        prop_assume!(separation(&batch, mixup.as_ref()) > 3e-5);
        let expected = sorted(&config, &batch, mixup.as_ref());
        let steps = oracle::average_precisions(&config, &batch, mixup.as_ref(), |difference| {
            f64::from(difference > 0.0)
        });
        prop_assert!(expected.iter().zip(&steps).all(|(a, b)| (a - b).abs() < 1e-12));
        let cold = config.with_tau(1e-6).init().unwrap();
        let actual = batch.by_formula::<F64>(&cold, mixup.as_ref()).loss;
        let expected = oracle::one_less_mean(&expected);
        prop_assert!((actual - expected).abs() < 1e-11, "{actual} is not {expected}");
    }

    #[test]
    fn lonely_items_dilute_the_loss_and_the_gradient_alike(
        seed: u64, sizes in class_sizes(), config in oracle::configs(),
    ) {
        let batch = HostBatch::random(seed, &sizes, 6, 0.7);
        let lonely = sizes.iter().filter(|&&size| size == 1).count();
        let share = 1.0 - lonely as f64 / batch.len() as f64;
        let of = |counted| {
            let loss = config.clone().with_count_lonely(counted).init().unwrap();
            batch.by_formula::<Flex>(&loss, None)
        };
        let (without, with) = (of(false), of(true));
        prop_assert!((without.loss * share - with.loss).abs() < 1e-6);
        // Of the whole gradient: a number of it may be a small difference of large ones.
        let length = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
        let pairs = without.grad.iter().zip(&with.grad);
        let off = length(&mut pairs.map(|(a, b)| a * share - b));
        let size = length(&mut without.grad.iter().copied());
        prop_assert!(off <= 1e-5 * size.max(1e-3), "{off} of {size}");
    }
}

#[test]
fn broken_batches_are_refused_by_name() {
    let device = Default::default();
    let embeddings = Tensor::<Flex, 2>::from_floats([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]], &device);
    let labels = |values: &[i32]| Tensor::<Flex, 1, Int>::from_ints(values, &device);
    for count_lonely in [false, true] {
        let config = SmoothApConfig::new().with_count_lonely(count_lonely);
        let loss = config.init().unwrap();
        let refusal = |embeddings: &Tensor<Flex, 2>, values: &[i32]| {
            let found = loss.value_and_grad(embeddings.clone(), labels(values), None);
            found.unwrap_err()
        };
        let error = refusal(&embeddings, &[0, 1, 2]);
        assert_eq!(error, LossError::NoPositives { items: 3 });
        let count = LossError::LabelCount {
            labels: 2,
            embeddings: 3,
        };
        assert_eq!(refusal(&embeddings, &[0, 0]), count);
        for broken in [f32::NAN, f32::INFINITY, 1e20] {
            let rows = [[1.0, 0.0], [0.0, broken], [0.6, 0.8]];
            let error = refusal(&Tensor::from_floats(rows, &device), &[0, 0, 1]);
            assert_eq!(error, LossError::NonFinite { row: 1 });
        }
    }
    let foreign = Mixup::new(vec![0], vec![2], vec![0.5]).unwrap();
    let loss = SmoothApConfig::new().init().unwrap();
    let error = loss.forward_mixed(embeddings, labels(&[0, 0, 1]), &foreign);
    let classes = LossError::MixupClasses {
        pair: 0,
        first: 0,
        second: 2,
    };
    assert_eq!(error.unwrap_err(), classes);
}
