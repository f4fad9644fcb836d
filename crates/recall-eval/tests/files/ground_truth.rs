//! Lists of what each query should find.

use recall_eval::{Embeddings, EvalError, GroundTruth, read_ground_truth};

use crate::made::Folder;

#[test]
fn a_ground_truth_of_every_kind() {
    let folder = Folder::new();
    let read = |text: &str| read_ground_truth(folder.file("gnd.json", text.as_bytes()));
    let lists = GroundTruth::Lists {
        positives: vec![vec![3, 1], vec![]],
        junk: vec![vec![0], vec![]],
    };
    for text in [
        r#"[{"positives": [3, 1], "junk": [0]}, {"positives": []}]"#,
        r#"[{"ok": [3, 1], "junk": [0], "bbx": [0.5, 1, 2, 3]}, {"ok": []}]"#,
        "\u{feff}[{\"ok\": [3, 1], \"junk\": [0]}, {\"ok\": []}]",
        r#"{"imlist": ["a"], "gnd": [{"ok": [3, 1], "junk": [0]}, {"ok": []}]}"#,
    ] {
        assert_eq!(read(text).unwrap(), lists, "{text}");
    }
    let graded = read(r#"[{"easy": [1], "hard": [], "junk": [2]}]"#).unwrap();
    assert_eq!(graded.queries(), 1);
    let one = |values: &[f32]| Embeddings::new(values.to_vec(), 1).unwrap();
    let (queries, gallery) = (one(&[1.0]), one(&[0.3, 0.2, 0.1]));
    let setups = graded.retrievals(&queries, &gallery).unwrap();
    let ranks: Vec<Vec<u32>> = setups
        .iter()
        .map(|(setup, retrieval)| {
            assert!(setup.is_some());
            retrieval.ranks().unwrap().of(0).to_vec()
        })
        .collect();
    assert_eq!(ranks, [vec![2], vec![2], vec![]]);

    let outside = read(r#"[{"positives": [3]}]"#).unwrap();
    let error = outside.retrievals(&queries, &gallery).unwrap_err();
    assert!(matches!(error, EvalError::UnknownItem { id: 3, .. }));
    assert!(matches!(
        lists.retrievals(&queries, &gallery).unwrap_err(),
        EvalError::ListCount {
            lists: 2,
            queries: 1,
            ..
        }
    ));
}

#[test]
fn files_that_are_no_ground_truth() {
    let folder = Folder::new();
    for (text, problem) in [
        ("", "no JSON"),
        ("[{", "no JSON"),
        ("[]", "it has no query"),
        (r#"{"gnd": []}"#, "it has no query"),
        ("[3]", "query 0 is no object"),
        (r#"[[[3], [1]]]"#, "query 0 is no object with named lists"),
        (r#"{"queries": []}"#, "no ground truth"),
        (
            r#"[{"positives": [-1]}]"#,
            "query 0 has something else than lists of ids",
        ),
        (
            r#"[{"ok": [1]}, {"ok": [0.5]}]"#,
            "query 1 has something else than lists of ids",
        ),
        (
            r#"[{"positives": [1, 2], "junk": [0, 2]}]"#,
            "item 2 is both in positives and in junk of query 0",
        ),
        (
            r#"[{"easy": [1], "hard": []}, {"easy": [], "hard": [4], "junk": [4]}]"#,
            "item 4 is both in hard and in junk of query 1",
        ),
        (
            r#"[{"positives": [1]}, {"junk": [1]}]"#,
            "query 1 does not have positives",
        ),
        (
            r#"[{"easy": [1], "hard": []}, {"positives": [1]}]"#,
            "query 1 does not have easy and hard",
        ),
        (
            r#"[{"junk": [1]}]"#,
            "query 0 has neither positives nor easy and hard",
        ),
        (
            r#"[{"positives": [1], "easy": []}]"#,
            "query 0 does not have positives",
        ),
    ] {
        let error = read_ground_truth(folder.file("gnd.json", text.as_bytes())).unwrap_err();
        let message = error.to_string();
        assert!(
            message.contains(problem) && message.contains("gnd.json"),
            "{text}: {message}"
        );
        assert!(!message.contains('\n'), "{message}");
    }
    let deep = "[".repeat(100_000);
    assert!(read_ground_truth(folder.file("gnd.json", deep.as_bytes())).is_err());
}
