use burn::tensor::DType;
use recall_baselines::{FastApConfig, ListwiseApConfig, LossError};

use crate::check::{
    Case, InDouble, OnFlex, agrees, evaluated, holds_up, in_double, relative, same,
};
use crate::reference::Reference;

#[test]
fn agrees_with_its_authors() {
    let reference = Reference::open("fast_ap");
    let case = reference.case(None);
    for (variant, settings) in reference.variants() {
        let bins = settings["bins"].as_u64().unwrap() as usize;
        let loss = FastApConfig::new().with_bins(bins).init().unwrap();
        agrees(&loss, &case, &reference.expected(&variant, None), &variant);
        let embeddings = case.embeddings.tensor::<InDouble>(DType::F64);
        let found = loss.average_precisions(embeddings, &case.labels).unwrap();
        let queries: Vec<i64> = found.queries.iter().map(|&query| query as i64).collect();
        assert_eq!(queries, reference.integers(&format!("queries.{variant}")));
        let expected = reference.floats(&format!("ap.{variant}"));
        assert!(relative(&found.values, &expected) <= 1e-9, "{variant}");
        // The released gradient is a multiple of it, which grows with the batch.
        let factor = queries.len() as f64 / 2.0;
        let grad = in_double(&loss, &case).grad;
        let multiple: Vec<f64> = grad.iter().map(|grad| factor * grad).collect();
        let released = reference.floats(&format!("released_grad.{variant}"));
        assert!(relative(&multiple, &released) <= 1e-9, "{variant}");
    }
}

#[test]
fn holds_up_on_random_batches() {
    for bins in [1, 10, 40] {
        holds_up(
            &FastApConfig::new().with_bins(bins).init().unwrap(),
            |case| case,
        );
    }
}

#[test]
fn it_is_listwise_ap_without_the_query_and_with_a_bin_more() {
    let case = Case::random(2, 60, 8, 5);
    let fast = FastApConfig::new().init().unwrap();
    let listwise = ListwiseApConfig::new()
        .with_bins(11)
        .with_query_included(false);
    let expected = in_double(&listwise.init().unwrap(), &case);
    same(&in_double(&fast, &case), &expected, 1e-12, 1e-12, "FastAP");
}

#[test]
fn a_batch_without_positives_is_an_error() {
    let mut case = Case::random(0, 6, 4, 1);
    case.labels = (0..6).collect();
    let loss = FastApConfig::new().init().unwrap();
    let error = evaluated::<OnFlex>(&loss, &case, DType::F32).unwrap_err();
    assert!(matches!(error, LossError::Lacking { items: 6, .. }));
}

#[test]
fn settings_without_sense_are_refused_by_name() {
    let error = FastApConfig::new().with_bins(0).init().unwrap_err();
    assert!(error.to_string().starts_with("bins = 0"), "{error}");
}
