//! Ranking losses and histograms between queries and a memory.

use burn::tensor::{Tensor, TensorData};
use recall_baselines::{
    Batch, BlackboxApConfig, BlackboxRecallConfig, FastApConfig, HistogramConfig, ListwiseApConfig,
    LossError, MetricLoss, PairLoss, Places,
};
use recall_loss::RecallBackend;

use crate::check::{
    Case, InDouble, OnFlex, OnNdArray, has_the_gradient_of_its_value, in_double, on_flex,
    rows_are_tensor_operations, same,
};

trait Pairs: PairLoss<OnFlex> + PairLoss<OnNdArray> + PairLoss<InDouble> {}

impl<L: PairLoss<OnFlex> + PairLoss<OnNdArray> + PairLoss<InDouble>> Pairs for L {}

/// A batch compared with itself and with other items behind it.
struct WithMemory<L> {
    loss: L,
    memory: Case,
}

impl<B: RecallBackend, L: PairLoss<B>> MetricLoss<B> for WithMemory<L> {
    fn evaluate(&self, batch: Batch<'_, B>) -> Result<Tensor<B, 1>, LossError> {
        let memory = &self.memory;
        let data = TensorData::new(
            memory.embeddings.values.clone(),
            [memory.labels.len(), memory.embeddings.dim],
        );
        let options = (&batch.embeddings.device(), batch.embeddings.dtype());
        let kept = Tensor::from_data(data, options);
        let references = match memory.labels.is_empty() {
            true => batch.embeddings.clone(),
            false => Tensor::cat(vec![batch.embeddings.clone(), kept], 0),
        };
        let labels = [batch.labels, &memory.labels].concat();
        let own: Vec<Option<usize>> = (0..batch.labels.len()).map(Some).collect();
        let places = Places::between(batch.labels, &labels, &own);
        self.loss.between(batch.embeddings, references, &places)
    }
}

fn empty(mut case: Case) -> Case {
    case.labels.clear();
    case.embeddings.values.clear();
    case
}

/// `smooth` says whether the gradient is that of the value.
fn compares(loss: &(impl Pairs + Clone), smooth: bool) {
    let case = Case::random(1, 40, 8, 4);
    let alone = WithMemory {
        loss: loss.clone(),
        memory: empty(case.clone()),
    };
    let expected = in_double(loss, &case);
    same(
        &in_double(&alone, &case),
        &expected,
        1e-9,
        1e-9,
        "with itself",
    );
    same(
        &on_flex(&alone, &case),
        &expected,
        1e-5,
        1e-4,
        "with itself",
    );
    let memory = Case::random(2, 70, 8, 6);
    let more = WithMemory {
        loss: loss.clone(),
        memory,
    };
    assert!((in_double(&more, &case).loss - expected.loss).abs() > 1e-4);
    rows_are_tensor_operations(&more, &case);
    if smooth {
        has_the_gradient_of_its_value(&more, &case);
    }
}

#[test]
fn queries_can_be_compared_with_a_memory() {
    compares(&ListwiseApConfig::new().init().unwrap(), true);
    compares(
        &ListwiseApConfig::released()
            .with_query_included(false)
            .init()
            .unwrap(),
        true,
    );
    compares(&FastApConfig::new().init().unwrap(), true);
    compares(&HistogramConfig::new().with_step(0.1).init().unwrap(), true);
    compares(&BlackboxRecallConfig::new().init().unwrap(), false);
    compares(&BlackboxApConfig::new().init().unwrap(), false);
}
