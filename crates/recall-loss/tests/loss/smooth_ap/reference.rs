use burn::tensor::Element;
use burn_flex::Flex;
use burn_ndarray::NdArray;
use recall_loss::{RecallBackend, SmoothAp, SmoothApConfig};

use crate::batches::{HostBatch, Outcome, host, relative_error, shuffled};
use crate::stored::Stored;

/// Each with its temperature, whether it includes the query, whether it counts lonely items.
const VARIANTS: [(&str, f64, bool, bool); 7] = [
    ("balanced_query_excluded", 0.01, false, false),
    ("balanced_query_included", 0.01, true, false),
    ("query_excluded_tau0.01", 0.01, false, false),
    ("query_excluded_tau0.05", 0.05, false, false),
    ("query_included_tau0.01", 0.01, true, false),
    ("query_included_tau0.05", 0.05, true, false),
    ("query_included_lonely_counted_tau0.01", 0.01, true, true),
];

struct Reference {
    name: &'static str,
    batch: HostBatch,
    loss: SmoothAp,
    expected: Outcome,
    /// Of each row, if it counts.
    average_precision: Vec<Option<f64>>,
}

impl Reference {
    fn all() -> impl Iterator<Item = Self> {
        let stored = Stored::open("smooth_ap");
        VARIANTS
            .into_iter()
            .map(move |(name, tau, query_included, count_lonely)| {
                let balanced = name.starts_with("balanced");
                let prefix = if balanced { "balanced_" } else { "" };
                let embeddings = format!("{prefix}embeddings");
                let batch = HostBatch {
                    values: stored.floats(&embeddings),
                    dim: stored.width(&embeddings),
                    labels: stored.integers(&format!("{prefix}labels")),
                };
                let mut average_precision = vec![None; batch.len()];
                let queries = stored.numbers(&format!("queries.{name}"));
                for (query, ap) in queries
                    .into_iter()
                    .zip(stored.floats(&format!("ap.{name}")))
                {
                    average_precision[query] = Some(ap);
                }
                Self {
                    name,
                    batch,
                    loss: SmoothApConfig::new()
                        .with_tau(tau)
                        .with_query_included(query_included)
                        .with_count_lonely(count_lonely)
                        .init()
                        .unwrap(),
                    expected: Outcome {
                        loss: stored.floats(&format!("loss.{name}"))[0],
                        grad: stored.floats(&format!("grad.{name}")),
                    },
                    average_precision,
                }
            })
    }

    /// The same batch in another order of rows.
    fn shuffled(&self, seed: u64) -> Self {
        let order = shuffled(self.batch.len(), seed);
        let grad = HostBatch {
            values: self.expected.grad.clone(),
            ..self.batch.clone()
        };
        Self {
            name: self.name,
            batch: self.batch.permuted(&order),
            loss: self.loss.clone(),
            expected: Outcome {
                loss: self.expected.loss,
                grad: grad.permuted(&order).values,
            },
            average_precision: order
                .iter()
                .map(|&row| self.average_precision[row])
                .collect(),
        }
    }

    fn check<B: RecallBackend>(&self, loss_bound: f64, grad_bound: f64) {
        let name = self.name;
        let elem = B::FloatElem::dtype().name();
        for (way, actual) in self.batch.by_all_ways::<B>(&self.loss, None) {
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
        let output = self.loss.value_and_grad(embeddings, labels, None).unwrap();
        let of_rows = self.average_precision.iter().enumerate();
        let (rows, expected): (Vec<_>, Vec<_>) =
            of_rows.filter_map(|(row, ap)| Some((row, (*ap)?))).unzip();
        assert_eq!(output.queries, rows);
        for (ap, expected) in host(output.recall).iter().zip(&expected) {
            assert!(
                (ap - expected).abs() <= 10.0 * loss_bound,
                "{name}: {ap} is not {expected}"
            );
        }
    }
}

#[test]
fn f32_backends_match_the_stored_outputs_in_any_order() {
    for reference in Reference::all() {
        for reference in [reference.shuffled(1), reference.shuffled(2), reference] {
            reference.check::<Flex>(1e-6, 1e-5);
            reference.check::<NdArray<f32>>(1e-6, 1e-5);
        }
    }
}

#[test]
fn f64_matches_to_rounding() {
    for reference in Reference::all() {
        for reference in [reference.shuffled(3), reference] {
            reference.check::<NdArray<f64>>(1e-9, 1e-9);
        }
    }
}
