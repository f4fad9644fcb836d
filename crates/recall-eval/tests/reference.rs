//! Against values computed by other programs: see `reference/README.md`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use recall_eval::revisited::{QueryTruth, Setup};
use recall_eval::{Embeddings, EmptyQueries, EvalError, Metric, Retrieval, evaluate, read_labels};
use safetensors::SafeTensors;
use serde_json::Value;

const TOLERANCE: f64 = 1e-6;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/reference")
        .join(name)
}

fn metadata(name: &str) -> HashMap<String, Value> {
    let bytes = std::fs::read(path(name)).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let strings = metadata.metadata().clone().unwrap();
    strings
        .into_iter()
        .map(|(key, text)| (key, serde_json::from_str(&text).unwrap()))
        .collect()
}

fn tensor(file: &str, name: &str) -> Embeddings {
    let bytes = std::fs::read(path(file)).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = file.tensor(name).unwrap();
    let values = tensor
        .data()
        .as_chunks::<4>()
        .0
        .iter()
        .map(|&word| f32::from_le_bytes(word));
    Embeddings::new(values.collect(), tensor.shape()[1]).unwrap()
}

fn assert_close(got: f64, want: &Value, what: &str) {
    let want = want.as_f64().unwrap();
    assert!(
        (got - want).abs() < TOLERANCE,
        "{what}: {got} instead of {want}"
    );
}

#[test]
fn metric_learning() {
    let file = path("metrics.safetensors");
    let embeddings = Embeddings::open(&file).unwrap();
    let labels = read_labels(&file).unwrap();
    let expected = metadata("metrics.safetensors");
    let ranks = Retrieval::each_against_rest(&embeddings, &labels)
        .unwrap()
        .ranks()
        .unwrap();

    let mut compared = 0;
    for (policy, empty) in [("skip", EmptyQueries::Skip), ("zero", EmptyQueries::Zero)] {
        let values = expected.iter().filter_map(|(key, value)| {
            let name = key.strip_suffix(policy)?.strip_suffix('/')?;
            Some((name.parse::<Metric>().unwrap(), value))
        });
        let values: Vec<(Metric, &Value)> = values.collect();
        let metrics: Vec<Metric> = values.iter().map(|(metric, _)| *metric).collect();
        let evaluation = evaluate(&ranks, &metrics, empty).unwrap();
        for (metric, want) in values {
            let got = evaluation.get(metric).unwrap();
            assert_close(got, want, &format!("{metric} {policy}"));
            compared += 1;
        }
        assert_eq!(Value::from(evaluation.queries), expected["num_items"]);
        assert_eq!(
            Value::from(evaluation.without_positives),
            expected["queries_without_positive"]
        );
    }
    // All but the two counts.
    assert_eq!(compared, expected.len() - 2);

    let refused = evaluate(&ranks, &[Metric::Map], EmptyQueries::Error);
    assert!(matches!(
        refused,
        Err(EvalError::WithoutPositives {
            count: 6,
            queries: 181,
            ..
        })
    ));
}

#[test]
fn revisited() {
    let queries = tensor("revisited.safetensors", "queries");
    let database = tensor("revisited.safetensors", "database");
    let metadata = metadata("revisited.safetensors");
    let truth: Vec<QueryTruth> = serde_json::from_value(metadata["ground_truth"].clone()).unwrap();

    for setup in Setup::ALL {
        let expected = &metadata["expected"][setup.to_string()];
        let ranks = setup
            .retrieval(&queries, &database, &truth)
            .unwrap()
            .ranks()
            .unwrap();

        let metrics = [
            Metric::MapTrapezoid,
            Metric::MpAt(1),
            Metric::MpAt(5),
            Metric::MpAt(10),
        ];
        let evaluation = evaluate(&ranks, &metrics, EmptyQueries::Skip).unwrap();
        for ((metric, got), name) in evaluation
            .values
            .iter()
            .zip(["map", "mp@1", "mp@5", "mp@10"])
        {
            assert_close(*got, &expected[name], &format!("{metric} {setup}"));
        }

        let each = expected["ap"].as_array().unwrap();
        assert_eq!(each.len(), ranks.queries());
        let left_out = each.iter().filter(|want| want.is_null()).count();
        assert_eq!(evaluation.without_positives, left_out);
        for (q, want) in each.iter().enumerate() {
            assert_eq!(want.is_null(), ranks.of(q).is_empty());
            if !want.is_null() {
                let got = Metric::MapTrapezoid.of(ranks.of(q));
                assert_close(got, want, &format!("{setup} query {q}"));
            }
        }
    }
}

#[test]
fn ground_truth_that_contradicts_itself() {
    let embeddings = Embeddings::new(vec![1.0; 8], 2).unwrap();
    let query = Embeddings::new(vec![1.0; 2], 2).unwrap();
    let truth = |easy: &[u32], hard: &[u32], junk: &[u32]| {
        vec![QueryTruth {
            easy: easy.into(),
            hard: hard.into(),
            junk: junk.into(),
        }]
    };
    let retrieval = |truth: &[QueryTruth]| Setup::Easy.retrieval(&query, &embeddings, truth);

    assert!(retrieval(&truth(&[0], &[1], &[2, 3])).is_ok());
    let error = retrieval(&truth(&[0], &[1], &[2, 1])).unwrap_err();
    assert!(
        matches!(error, EvalError::AmbiguousTruth { query: 0, id: 1 }),
        "{error}"
    );
    let error = retrieval(&truth(&[0], &[1], &[4])).unwrap_err();
    assert!(
        matches!(
            error,
            EvalError::UnknownItem {
                what: "junk",
                id: 4,
                ..
            }
        ),
        "{error}"
    );
    let error = retrieval(&[]).unwrap_err();
    assert!(
        matches!(
            error,
            EvalError::ListCount {
                lists: 0,
                queries: 1,
                ..
            }
        ),
        "{error}"
    );
    assert!("moderate".parse::<Setup>().is_err());
}
