//! A batch divided among ranks: what each computes of its own queries adds up to the whole.

use std::ops::Range;

use burn::backend::Autodiff;
use burn::tensor::{Int, Tensor};
use burn_flex::Flex;
use burn_ndarray::NdArray;
use proptest::prelude::*;
use recall_loss::{
    LossAndGrad, LossError, Mixup, Objective, RecallAtKLossConfig, RecallBackend, SmoothApConfig,
    plain,
};

use crate::batches::{HostBatch, Loss, host, mixup_on_a_grid};
use crate::{kernels, oracle, smooth_ap};

type F64 = NdArray<f64>;

/// Where a batch is cut, in thousandths of it; neighbours may be equal.
pub fn cuts(most: usize) -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..=1000_usize, 0..=most).prop_map(|mut cuts| {
        cuts.sort_unstable();
        cuts
    })
}

/// The shares of `n` rows between the cuts.
pub fn ranges(cuts: &[usize], n: usize) -> Vec<Range<usize>> {
    let starts = [0].into_iter().chain(cuts.iter().map(|cut| cut * n / 1000));
    let ends = cuts.iter().map(|cut| cut * n / 1000).chain([n]);
    starts.zip(ends).map(|(start, end)| start..end).collect()
}

/// A loss, a gradient and the value of each query, of a whole batch or of a share.
#[derive(Debug, Default)]
pub struct Found {
    pub loss: f64,
    pub grad: Vec<f64>,
    pub values: Vec<(usize, f64)>,
}

impl Found {
    fn new<B: RecallBackend>(output: LossAndGrad<B>) -> Self {
        let values = host(output.recall);
        assert_eq!(values.len(), output.queries.len());
        Self {
            loss: host(output.loss)[0],
            grad: host(output.grad),
            values: output.queries.into_iter().zip(values).collect(),
        }
    }

    fn sum(shares: impl IntoIterator<Item = Self>) -> Self {
        let mut sum = Self::default();
        for share in shares {
            sum.loss += share.loss;
            sum.grad.resize(share.grad.len(), 0.0);
            for (sum, share) in sum.grad.iter_mut().zip(share.grad) {
                *sum += share;
            }
            sum.values.extend(share.values);
        }
        sum.values.sort_by_key(|&(query, _)| query);
        sum
    }

    /// What differs by more than a bound, of gradients beyond 1 by more than so much of the greatest.
    fn differs(&self, whole: &Self, bound: f64) -> Option<String> {
        let off = (self.loss - whole.loss).abs();
        if off > bound {
            return Some(format!("loss off by {off:e}"));
        }
        if self.values.len() != whole.values.len() {
            return Some("other queries".to_owned());
        }
        for ((query, value), (expected_query, expected)) in self.values.iter().zip(&whole.values) {
            if query != expected_query || (value - expected).abs() > bound {
                return Some(format!("query {expected_query}: {value} is not {expected}"));
            }
        }
        let greatest = whole
            .grad
            .iter()
            .fold(1.0, |most: f64, g| most.max(g.abs()));
        let differences = self
            .grad
            .iter()
            .zip(&whole.grad)
            .map(|(a, b)| (a - b).abs());
        let off = differences.fold(0.0, f64::max);
        (off > bound * greatest || self.grad.len() != whole.grad.len())
            .then(|| format!("gradient off by {off:e} of {greatest:e}"))
    }
}

/// One share, by what the backend brings.
pub fn share<B: RecallBackend>(
    loss: &impl Loss,
    batch: &HostBatch,
    mixup: Option<&Mixup>,
    rows: Range<usize>,
) -> Found {
    let (embeddings, labels) = batch.tensors::<B>();
    Found::new(
        loss.value_and_grad_of(rows, embeddings, labels, mixup)
            .unwrap(),
    )
}

/// The sum of shares, by what the backend brings.
fn shares<B: RecallBackend>(
    loss: &impl Loss,
    batch: &HostBatch,
    mixup: Option<&Mixup>,
    cuts: &[usize],
) -> Found {
    let ranges = ranges(cuts, batch.len()).into_iter();
    Found::sum(ranges.map(|rows| share::<B>(loss, batch, mixup, rows)))
}

/// The sum of shares, by plain tensor operations.
fn plain_shares<B: RecallBackend>(
    loss: &impl Loss,
    batch: &HostBatch,
    mixup: Option<&Mixup>,
    cuts: &[usize],
) -> Found {
    let whole = loss.batch(&batch.labels, mixup);
    let ranges = ranges(cuts, batch.len()).into_iter();
    Found::sum(ranges.map(|rows| {
        let (embeddings, _) = batch.tensors::<B>();
        let share = whole.clone().share(rows).unwrap();
        let (recall, grad) = plain::recall_and_grad(embeddings.clone(), &share);
        Found::new(LossAndGrad {
            loss: plain::loss(embeddings, &share),
            grad,
            recall,
            queries: share.queries(),
        })
    }))
}

fn whole<B: RecallBackend>(loss: &impl Loss, batch: &HostBatch, mixup: Option<&Mixup>) -> Found {
    let (embeddings, labels) = batch.tensors::<B>();
    Found::new(loss.value_and_grad(embeddings, labels, mixup).unwrap())
}

/// What is wrong with the sum of shares on any backend of the host, in f32.
fn fault(
    loss: &impl Loss,
    batch: &HostBatch,
    mixup: Option<&Mixup>,
    cuts: &[usize],
) -> Option<String> {
    let expected = whole::<Flex>(loss, batch, mixup);
    let found = shares::<Flex>(loss, batch, mixup, cuts);
    if let Some(fault) = found.differs(&expected, 1e-6) {
        return Some(format!("flex: {fault}"));
    }
    let found = shares::<NdArray<f32>>(loss, batch, mixup, cuts);
    let fault = found.differs(&expected, 1e-6);
    fault.map(|fault| format!("ndarray: {fault}"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn shares_of_recall_at_k_add_up(
        seed: u64, sizes in kernels::class_sizes(), config in oracle::configs(), mixed: bool,
        noise in 0.0..1.5_f64, cuts in cuts(6),
    ) {
        let loss = config.init().unwrap();
        let batch = HostBatch::random(seed, &sizes, 6, noise).on_a_grid();
        let mixed = mixed && sizes.iter().all(|&size| size < 20);
        let mixup = mixed.then(|| mixup_on_a_grid(&batch.labels, seed));
        let fault = fault(&loss, &batch, mixup.as_ref(), &cuts);
        prop_assert!(fault.is_none(), "{}", fault.unwrap_or_default());
    }

    #[test]
    fn shares_of_smooth_ap_add_up(
        seed: u64, sizes in kernels::class_sizes(), config in smooth_ap::configs(), mixed: bool,
        noise in 0.0..1.5_f64, cuts in cuts(6),
    ) {
        let loss = config.init().unwrap();
        let batch = HostBatch::random(seed, &sizes, 6, noise).on_a_grid();
        let mixed = mixed && sizes.iter().all(|&size| size < 20);
        let mixup = mixed.then(|| mixup_on_a_grid(&batch.labels, seed));
        let fault = fault(&loss, &batch, mixup.as_ref(), &cuts);
        prop_assert!(fault.is_none(), "{}", fault.unwrap_or_default());
    }

    #[test]
    fn shares_by_plain_operations_add_up_to_rounding(
        seed: u64, sizes in oracle::class_sizes(), config in oracle::configs(),
        other in smooth_ap::configs(), mixed: bool, cuts in cuts(6),
    ) {
        let batch = HostBatch::random(seed, &sizes, 6, 0.8);
        let mixup = mixed.then(|| Mixup::all_pairs(&batch.labels, seed));
        let (mixup, batch) = (mixup.as_ref(), &batch);

        let loss = config.init().unwrap();
        let expected = whole::<F64>(&loss, batch, mixup);
        let fault = plain_shares::<F64>(&loss, batch, mixup, &cuts).differs(&expected, 1e-12);
        prop_assert!(fault.is_none(), "{}", fault.unwrap_or_default());
        let fault = shares::<F64>(&loss, batch, mixup, &cuts).differs(&expected, 1e-12);
        prop_assert!(fault.is_none(), "{}", fault.unwrap_or_default());

        let loss = other.init().unwrap();
        let expected = whole::<F64>(&loss, batch, mixup);
        let fault = plain_shares::<F64>(&loss, batch, mixup, &cuts).differs(&expected, 1e-12);
        prop_assert!(fault.is_none(), "{}", fault.unwrap_or_default());
    }

    #[test]
    fn plain_shares_in_f32_add_up(
        seed: u64, sizes in oracle::class_sizes(), config in oracle::configs(), mixed: bool,
        cuts in cuts(6),
    ) {
        let batch = HostBatch::random(seed, &sizes, 6, 0.8).on_a_grid();
        let mixup = mixed.then(|| mixup_on_a_grid(&batch.labels, seed));
        let loss = config.init().unwrap();
        let expected = whole::<Flex>(&loss, &batch, mixup.as_ref());
        let found = plain_shares::<Flex>(&loss, &batch, mixup.as_ref(), &cuts);
        let fault = found.differs(&expected, 1e-6);
        prop_assert!(fault.is_none(), "{}", fault.unwrap_or_default());
    }

    #[test]
    fn autodiff_of_a_share_is_its_gradient(
        seed: u64, sizes in oracle::class_sizes(), config in oracle::configs(), mixed: bool,
        cuts in cuts(2),
    ) {
        let batch = HostBatch::random(seed, &sizes, 5, 0.8);
        let mixup = mixed.then(|| Mixup::all_pairs(&batch.labels, seed));
        let loss = config.init().unwrap();
        for rows in ranges(&cuts, batch.len()) {
            let found = share::<F64>(&loss, &batch, mixup.as_ref(), rows.clone());
            let part = loss.batch(&batch.labels, mixup.as_ref()).unwrap().share(rows).unwrap();
            if part.query_count() == 0 {
                prop_assert!(found.loss == 0.0 && found.grad.iter().all(|&g| g == 0.0));
                continue;
            }
            let (embeddings, _) = batch.tensors::<Autodiff<F64>>();
            let embeddings = embeddings.require_grad();
            let value = plain::loss(embeddings.clone(), &part);
            let grads = value.backward();
            let expected = Found {
                loss: host(value.inner())[0],
                grad: host(embeddings.grad(&grads).unwrap()),
                values: found.values.clone(),
            };
            let fault = found.differs(&expected, 1e-10);
            prop_assert!(fault.is_none(), "{}", fault.unwrap_or_default());
        }
    }
}

/// Every loss of a batch that its kernels treat in a way of its own.
fn adds_up(batch: &HostBatch, mixup: Option<&Mixup>, cuts: &[usize]) {
    let recall_at_k = RecallAtKLossConfig::new()
        .with_ks(vec![1, 16, 400])
        .with_tau_k(vec![50.0]);
    assert_eq!(
        fault(&recall_at_k.init().unwrap(), batch, mixup, cuts),
        None
    );
    let smooth_ap = SmoothApConfig::new().init().unwrap();
    assert_eq!(fault(&smooth_ap, batch, mixup, cuts), None);
}

#[test]
fn classes_that_exceed_a_block_with_their_mixtures() {
    let batch = HostBatch::random(5, &[30, 3, 2, 28, 1, 4, 26], 8, 0.6).on_a_grid();
    let mixup = mixup_on_a_grid(&batch.labels, 5);
    adds_up(&batch, Some(&mixup), &[200, 500, 900]);
}

#[test]
fn mixtures_of_a_row_with_itself_and_of_some_classes_alone() {
    let batch = HostBatch::random(6, &[300, 5, 4, 2], 8, 0.6).on_a_grid();
    let class = |label: i64| -> Vec<usize> {
        let rows = 0..batch.len();
        rows.filter(|&row| batch.labels[row] == label).collect()
    };
    // Labels of classes are 3 i − 4.
    let (five, two) = (class(-1), class(5));
    let mixup = Mixup::new(
        vec![five[0], five[4], two[1]],
        vec![five[0], five[1], two[0]],
        vec![0.25, 0.5, 0.75],
    );
    adds_up(&batch, Some(&mixup.unwrap()), &[100, 100, 700]);
}

#[test]
fn a_share_too_large_to_keep_its_products() {
    let batch = HostBatch::random(3, &[2; 2950], 3, 0.2).on_a_grid();
    adds_up(&batch, None, &[600]);
}

#[test]
fn all_rows_are_no_share_but_the_whole() {
    let batch = HostBatch::random(7, &[4; 100], 8, 0.8);
    let loss = RecallAtKLossConfig::new().init().unwrap();
    let found = share::<Flex>(&loss, &batch, None, 0..batch.len());
    let expected = whole::<Flex>(&loss, &batch, None);
    assert_eq!(found.loss.to_bits(), expected.loss.to_bits());
    assert_eq!(found.grad, expected.grad);
    let found = Objective::from(&loss);
    let (embeddings, labels) = batch.tensors::<Flex>();
    let found = found.value_and_grad_of(30..90, embeddings, labels, None);
    let expected = share::<Flex>(&loss, &batch, None, 30..90);
    assert_eq!(host(found.unwrap().grad), expected.grad);
}

#[test]
fn threads_change_no_bit_of_a_share() {
    let batch = HostBatch::random(7, &[4; 300], 24, 0.8);
    let mixup = Mixup::all_pairs(&batch.labels, 7);
    let loss = RecallAtKLossConfig::new().init().unwrap();
    let found = [1, 2, 5].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let share = || share::<Flex>(&loss, &batch, Some(&mixup), 200..900);
        pool.unwrap().install(share)
    });
    for other in &found[1..] {
        assert_eq!(other.loss.to_bits(), found[0].loss.to_bits());
        assert_eq!(other.grad, found[0].grad);
    }
}

#[test]
fn a_share_without_queries_is_0() {
    let batch = HostBatch {
        values: vec![1.0, 0.0, 0.0, 1.0, 0.8, 0.6],
        dim: 2,
        labels: vec![0, 1, 0],
    };
    let loss = RecallAtKLossConfig::new().init().unwrap();
    // No row, and one that is alone in its class.
    for rows in [0..0, 3..3, 1..2] {
        for found in [
            share::<Flex>(&loss, &batch, None, rows.clone()),
            share::<NdArray<f32>>(&loss, &batch, None, rows.clone()),
            share::<F64>(&loss, &batch, None, rows.clone()),
        ] {
            assert_eq!((found.loss, found.grad), (0.0, vec![0.0; 6]));
            assert!(found.values.is_empty());
        }
    }
    // Counted, such a row is a query of value 1.
    let counted = SmoothApConfig::new()
        .with_count_lonely(true)
        .init()
        .unwrap();
    let found = share::<Flex>(&counted, &batch, None, 1..2);
    assert_eq!((found.loss, found.grad), (0.0, vec![0.0; 6]));
    assert_eq!(found.values, [(1, 1.0)]);
}

#[test]
#[expect(clippy::reversed_empty_ranges, reason = "what is refused")]
fn ranges_of_no_rows_are_refused_by_name() {
    let device = Default::default();
    let labels = || Tensor::<Flex, 1, Int>::from_ints([0, 0, 1], &device);
    let embeddings = Tensor::<Flex, 2>::from_floats([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]], &device);
    let recall_at_k = RecallAtKLossConfig::new().init().unwrap();
    let smooth_ap = SmoothApConfig::new().init().unwrap();
    for rows in [0..4, 4..4, 2..1] {
        let expected = LossError::ShareRows {
            rows: rows.clone(),
            items: 3,
        };
        let found = recall_at_k.value_and_grad_of(rows.clone(), embeddings.clone(), labels(), None);
        assert_eq!(found.unwrap_err(), expected);
        let found = smooth_ap.value_and_grad_of(rows, embeddings.clone(), labels(), None);
        assert_eq!(found.unwrap_err(), expected);
    }
}
