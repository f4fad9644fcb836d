use burn::tensor::Element;
use burn_flex::Flex;
use burn_ndarray::NdArray;
use recall_loss::{Mixup, RecallAtKLoss, RecallAtKLossConfig, RecallBackend};

use crate::batches::{HostBatch, Outcome, host, relative_error, shuffled};
use crate::stored::Stored;

const FILES: [&str; 8] = [
    "surrogate_single_k",
    "surrogate_spc3",
    "surrogate_spc4",
    "surrogate_spc4_n200",
    "surrogate_spc6_temps",
    "simix_spc3",
    "simix_spc4",
    "simix_spc6",
];

struct Reference {
    batch: HostBatch,
    loss: RecallAtKLoss,
    mixup: Option<Mixup>,
    expected: Outcome,
    /// Real queries, then virtual ones in the order of the mixup.
    query_loss: Vec<f64>,
}

impl Reference {
    fn open(name: &str) -> Self {
        let stored = Stored::open(name);
        let batch = HostBatch {
            values: stored.floats("embeddings"),
            dim: stored.setting("dim").parse().unwrap(),
            labels: stored.integers("labels"),
        };
        let mixup = (stored.setting("mixup") == "true").then(|| {
            Mixup::new(
                stored.numbers("mix_first"),
                stored.numbers("mix_second"),
                stored.floats("mix_alpha"),
            )
            .unwrap()
        });
        let query_loss = {
            let listed = stored.floats("query_loss");
            match &mixup {
                None => listed,
                Some(mixup) => in_item_order(&batch, mixup, &listed),
            }
        };
        Self {
            loss: RecallAtKLossConfig::released_code()
                .with_ks(serde_json::from_str(stored.setting("ks")).unwrap())
                .with_tau_k(serde_json::from_str(stored.setting("tau_k")).unwrap())
                .with_tau_rank(stored.setting("tau_rank").parse().unwrap())
                .with_query_in_rank(stored.setting("query_in_rank") == "true")
                .init()
                .unwrap(),
            expected: Outcome {
                loss: stored.floats("loss")[0],
                grad: stored.floats("grad"),
            },
            batch,
            mixup,
            query_loss,
        }
    }

    /// The same batch in another order of rows.
    fn shuffled(&self, seed: u64) -> Self {
        let order = shuffled(self.batch.len(), seed);
        let place = |row: usize| order.iter().position(|&old| old == row).unwrap();
        let mixup = self.mixup.as_ref().map(|mixup| {
            let pairs: Vec<_> = mixup.pairs().collect();
            Mixup::new(
                pairs.iter().map(|&(first, _, _)| place(first)).collect(),
                pairs.iter().map(|&(_, second, _)| place(second)).collect(),
                pairs.iter().map(|&(_, _, alpha)| alpha).collect(),
            )
            .unwrap()
        });
        let grad = HostBatch {
            values: self.expected.grad.clone(),
            ..self.batch.clone()
        };
        let real = order.iter().map(|&row| self.query_loss[row]);
        let virtuals = self.query_loss[self.batch.len()..].iter().copied();
        Self {
            batch: self.batch.permuted(&order),
            loss: self.loss.clone(),
            mixup,
            expected: Outcome {
                loss: self.expected.loss,
                grad: grad.permuted(&order).values,
            },
            query_loss: real.chain(virtuals).collect(),
        }
    }

    fn check<B: RecallBackend>(&self, name: &str, loss_bound: f64, grad_bound: f64) {
        let elem = B::FloatElem::dtype().name();
        let ways = self.batch.by_all_ways::<B>(&self.loss, self.mixup.as_ref());
        for (way, actual) in ways {
            let loss = (actual.loss / self.expected.loss - 1.0).abs();
            let grad = relative_error(&actual.grad, &self.expected.grad);
            assert!(
                loss <= loss_bound,
                "{name}, {way}, {elem}: loss off by {loss:e}"
            );
            assert!(
                grad <= grad_bound,
                "{name}, {way}, {elem}: gradient off by {grad:e}"
            );
        }

        let (embeddings, labels) = self.batch.tensors::<B>();
        let output = self
            .loss
            .value_and_grad(embeddings, labels, self.mixup.as_ref())
            .unwrap();
        assert_eq!(
            output.queries,
            (0..self.query_loss.len()).collect::<Vec<_>>()
        );
        for (recall, expected) in host(output.recall).iter().zip(&self.query_loss) {
            assert!(
                (1.0 - recall - expected).abs() <= 10.0 * loss_bound,
                "{name}: {recall}"
            );
        }
    }
}

/// The files list queries class by class, real ones first; we list all real ones, then all virtual.
fn in_item_order(batch: &HostBatch, mixup: &Mixup, stored: &[f64]) -> Vec<f64> {
    let mut order = Vec::new();
    let mut classes = batch.labels.clone();
    classes.dedup();
    for class in classes {
        order.extend((0..batch.len()).filter(|&row| batch.labels[row] == class));
        let pairs = mixup.pairs().enumerate();
        let of_class = pairs.filter(|(_, (first, _, _))| batch.labels[*first] == class);
        order.extend(of_class.map(|(pair, _)| batch.len() + pair));
    }
    let mut by_item = vec![f64::NAN; stored.len()];
    for (&item, &loss) in order.iter().zip(stored) {
        by_item[item] = loss;
    }
    by_item
}

#[test]
fn f32_backends_match_the_authors_code_in_any_order() {
    for name in FILES {
        let reference = Reference::open(name);
        for reference in [reference.shuffled(1), reference.shuffled(2), reference] {
            reference.check::<Flex>(name, 1e-5, 1e-4);
            reference.check::<NdArray<f32>>(name, 1e-5, 1e-4);
        }
    }
}

#[test]
fn f64_matches_to_rounding() {
    for name in FILES {
        let reference = Reference::open(name);
        for reference in [reference.shuffled(3), reference] {
            reference.check::<NdArray<f64>>(name, 1e-10, 1e-10);
        }
    }
}
