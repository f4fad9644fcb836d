//! Losses over pairs compare queries with other items than those of their batch.

use burn::tensor::{DType, Tensor, backend::AutodiffBackend};
use recall_baselines::{
    ContrastiveConfig, InfoNceConfig, MultiSimilarityConfig, PairLoss, Places, SupConConfig,
    TripletConfig,
};
use recall_loss::RecallBackend;

use crate::check::{Case, Expected, InDouble, Loss, OnFlex, OnNdArray, in_double, same};

trait Pairs: Loss + PairLoss<OnFlex> + PairLoss<OnNdArray> + PairLoss<InDouble> {}

impl<L: Loss + PairLoss<OnFlex> + PairLoss<OnNdArray> + PairLoss<InDouble>> Pairs for L {}

/// The first `queries` items of a case compared with all of them.
fn evaluated<B: AutodiffBackend + RecallBackend>(
    loss: &impl PairLoss<B>,
    case: &Case,
    queries: usize,
    dtype: DType,
) -> Expected {
    let all = case.embeddings.tensor::<B>(dtype);
    let [count, dim] = all.dims();
    let asked = all
        .clone()
        .slice([0..queries, 0..dim])
        .detach()
        .require_grad();
    let all = all.require_grad();
    let own: Vec<Option<usize>> = (0..queries).map(Some).collect();
    let places = Places::between(&case.labels[..queries], &case.labels, &own);
    let value = loss.between(asked.clone(), all.clone(), &places).unwrap();
    let gradients = value.backward();
    let grad = |of: &Tensor<B, 2>| of.grad(&gradients).unwrap().into_data();
    let on_queries = grad(&asked);
    let on_all = grad(&all);
    let mut both: Vec<f64> = on_all.iter::<f64>().collect();
    if queries == count {
        // As one tensor for both sides gets them.
        let on_queries = on_queries.iter::<f64>();
        both.iter_mut()
            .zip(on_queries)
            .for_each(|(sum, x)| *sum += x);
    } else {
        both.extend(on_queries.iter::<f64>());
    }
    Expected {
        loss: value.into_data().iter::<f64>().sum(),
        grad: both,
        grad_parameters: None,
    }
}

fn compares(loss: &impl Pairs) {
    for seed in 0..3 {
        let case = Case::random(seed, 30, 8, 5);
        let whole = evaluated::<InDouble>(loss, &case, 30, DType::F64);
        same(&whole, &in_double(loss, &case), 1e-9, 1e-9, "with itself");
        let part = evaluated::<InDouble>(loss, &case, 20, DType::F64);
        let on_flex = evaluated::<OnFlex>(loss, &case, 20, DType::F32);
        same(&on_flex, &part, 1e-5, 1e-4, "on flex");
        let on_ndarray = evaluated::<OnNdArray>(loss, &case, 20, DType::F32);
        same(&on_ndarray, &part, 1e-5, 1e-4, "on ndarray");
    }
}

#[test]
fn queries_are_compared_with_other_items() {
    compares(&ContrastiveConfig::cosine().init().unwrap());
    compares(&MultiSimilarityConfig::new().init().unwrap());
    compares(&SupConConfig::new().init().unwrap());
    compares(&InfoNceConfig::new().init().unwrap());
    for config in [
        TripletConfig::facenet(),
        TripletConfig::semihard_window(),
        TripletConfig::batch_hard_soft(),
        TripletConfig::all(),
    ] {
        compares(&config.init().unwrap());
    }
}
